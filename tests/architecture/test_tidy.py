"""Rules of the house that no linter knows."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "src").rglob("*.py"))
SCRIPTS = sorted(path for path in (ROOT / "bin").iterdir() if path.is_file())
LINES_MAX = 300
SCRIPT_LINES_MAX = 40
NAMES_FOR_NOTHING = {"utils", "helpers", "common", "core", "misc"}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_modules_hold_one_idea(module: Path):
    """No module is longer than 300 lines, and each says on top what it is for."""
    text = module.read_text()
    assert len(text.splitlines()) <= LINES_MAX
    assert not text.strip() or text.lstrip().startswith(('"""', "#!")), "no docstring on top"


def test_names_say_what_is_inside():
    """No folder or module has a name that could hold anything."""
    parts = {part for path in MODULES for part in path.relative_to(ROOT / "src").parts}
    assert not {part.removesuffix(".py") for part in parts} & NAMES_FOR_NOTHING


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_thin_and_explain_themselves(script: Path):
    """Each script is executable, under 40 lines, and answers --help."""
    text = script.read_text()
    assert len(text.splitlines()) <= SCRIPT_LINES_MAX
    assert script.stat().st_mode & 0o111
    assert "--help" in text


def test_locks_name_no_registry():
    """The locks pin every package by hash and hold no address."""
    for lock in (ROOT / "requirements").glob("*.txt"):
        text = lock.read_text()
        assert "://" not in text
        pins = [line for line in text.splitlines() if "==" in line and not line.startswith(" ")]
        assert pins
        assert all(line.rstrip().endswith("\\") for line in pins), "a pin without hashes"
