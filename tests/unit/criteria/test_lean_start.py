"""Large libraries are imported on first use, never when the service starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SRC = Path(__file__).parents[3] / "src"
LARGE = {
    "markupever",
    "nltk",
    "pgparse",
    "numpy",
    "py3langid",
    "sacrebleu",
    "sqlglot",
}
PROGRAM = """
import sys
from assay.evaluation.sandbox import pool
from assay.criteria.deterministic import formats, language, readability, retrieval, similarity
from assay.criteria.deterministic import text_similarity, tools
print(*sorted(set(sys.modules)))
"""


def test_importing_the_criteria_imports_no_large_library():
    """They take up to a second and 100 MB each; only a worker that needs one imports it."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(run.stdout.split())
    assert "assay.criteria.deterministic.ngram_metrics" in imported
    assert not imported & LARGE
