"""The import contracts hold, and each of them can fail."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# One seeded violation for each contract: a module, and the import that it must not have.
VIOLATIONS = {
    "Layers": ("src/assay/evaluation/seeded.py", "import assay.api"),
    "Layers (surfaces)": ("src/assay/openai_evals/seeded.py", "import assay.api"),
    "Layers (siblings)": ("src/assay/routing/seeded.py", "import assay.providers"),
    "Layers (exhaustive)": ("src/assay/helpers/__init__.py", ""),
    "Only bootstrap": ("src/assay/api/seeded.py", "import assay.store"),
    "Redis is reached": ("src/assay/batches/seeded.py", "import assay.redis"),
    "Work does not know": ("src/assay/batches/seeded.py", "import assay.telemetry"),
    "Settings are read": ("src/assay/providers/seeded.py", "import assay.settings"),
    "The core is free": ("src/assay/domain/seeded.py", "import redis"),
    "Calibration is arithmetic": ("src/assay/calibration/seeded.py", "import assay.domain"),
    "The console reaches": ("src/assay/console/seeded.py", "import assay.records"),
    "The plumbing of HTTP": ("src/assay/http/seeded.py", "import assay.domain.evaluation"),
    "The client runs": ("src/assay/client/seeded.py", "import fastapi"),
    "The client's two forms": (
        "src/assay/client/asynchronous/seeded.py",
        "import assay.client.synchronous",
    ),
    "Providers do not know": ("src/assay/providers/openai.py", "import assay.providers.gemini"),
}


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [command, "--no-logo", "--no-cache", "--config", root / "pyproject.toml"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the sources and of the contracts."""
    shutil.copytree(ROOT / "src", tmp_path / "src")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_sources_keep_every_contract():
    """The tree as it stands breaks no contract."""
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("contract", VIOLATIONS)
def test_each_contract_fails_on_a_violation(copy: Path, contract: str):
    """A seeded violation breaks the contract that forbids it, by name."""
    file, line = VIOLATIONS[contract]
    (copy / file).parent.mkdir(exist_ok=True)
    with (copy / file).open("a") as module:
        module.write(f"\n{line}\n")
    result = lint_imports(copy)
    assert result.returncode != 0
    name = contract.split(" (", maxsplit=1)[0]
    broken = [row for row in result.stdout.splitlines() if row.startswith(name)]
    assert any("BROKEN" in row for row in broken) or "helpers" in result.stdout, result.stdout
