"""The architecture page shows the house as the contracts state it, and names files that exist."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
FOLDERS = "api|batches|bootstrap|criteria|domain|evaluation|http|judging|prompts|providers|redis|"
FOLDERS += "resilience|routing|screening|store|telemetry|verdicts"


def test_the_picture_is_the_one_that_the_contracts_give():
    """A layer, room or rule that changes without the page fails here; bin/house draws it again."""
    command = [sys.executable, ROOT / "docs" / "house.py", "--check"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_every_file_on_the_walks_exists():
    """A module that is moved or renamed shows on the page."""
    named = set(re.findall(rf"`((?:{FOLDERS})/[\w/]+\.(?:py|lua|toml))`", PAGE))
    assert len(named) > 30
    assert {path for path in named if not (ROOT / "src" / "assay" / path).exists()} == set()
