"""Rules of the code base that no linter knows; each is also shown failing on a seeded violation."""

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"
MODULES = sorted(SRC.rglob("*.py"))
SCRIPTS = sorted(path for path in (ROOT / "bin").iterdir() if path.is_file())
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50
"""From `def` to the last line, docstring included; nested functions count on their own as well."""
SCRIPT_LINES_MAX = 40
FILES_OF_A_PREFIX_MAX = 2
MEANINGLESS_NAMES = {"utils", "helpers", "common", "core", "misc"}


def module_name(module: Path) -> str:
    return str(module.relative_to(SRC)) if module.is_relative_to(SRC) else module.name


def long_functions(module: Path) -> list[str]:
    """The functions of a module that are too long, with their lengths."""
    functions = (
        node
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    lengths = [(found.name, found.end_lineno - found.lineno + 1) for found in functions]
    return [f"{name}: {lines}" for name, lines in lengths if lines > FUNCTION_LINES_MAX]


def classes_of_one_name(modules: Iterable[Path]) -> dict[str, list[str]]:
    """The names of public classes that several modules define, with these modules."""
    modules_by_class: dict[str, list[str]] = defaultdict(list)
    for module in modules:
        for node in ast.parse(module.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                modules_by_class[node.name].append(module_name(module))
    return {name: found for name, found in modules_by_class.items() if len(found) > 1}


def folders_of_one_prefix(modules: Iterable[Path]) -> Iterator[str]:
    """The folders in which too many files share their first word: they want to be a package."""
    files: dict[tuple[Path, str], set[str]] = defaultdict(set)
    for module in modules:
        if not module.stem.startswith("_"):
            prefix = module.stem.split("_", maxsplit=1)[0]
            files[module.parent, prefix].add(module.stem)
    for (folder, prefix), stems in files.items():
        if len(stems) > FILES_OF_A_PREFIX_MAX:
            yield f"{folder.name}/{prefix}*: {sorted(stems)}"


@pytest.mark.parametrize("module", MODULES, ids=module_name)
def test_modules_hold_one_idea(module: Path):
    """No module is longer than 400 lines, and each says at the top what it is for."""
    text = module.read_text()
    assert len(text.splitlines()) <= MODULE_LINES_MAX
    assert not text.strip() or text.lstrip().startswith(('"""', "#!")), "no docstring at the top"


@pytest.mark.parametrize("module", MODULES, ids=module_name)
def test_functions_are_short(module: Path):
    """No function is longer than 50 lines."""
    assert not long_functions(module)


def test_names_are_meaningful():
    """No folder or module has a name that could hold anything."""
    parts = {part for path in MODULES for part in path.relative_to(SRC).parts}
    assert not {part.removesuffix(".py") for part in parts} & MEANINGLESS_NAMES


def test_public_classes_have_different_names():
    """A class name means one thing in the whole project."""
    assert not classes_of_one_name(MODULES)


def test_no_folder_needs_prefixes():
    """Three files with one first word are a package."""
    assert not list(folders_of_one_prefix(MODULES))


def test_a_long_function_is_found(tmp_path: Path):
    """A function of 51 lines is reported, also inside a class; one of 50 is not."""
    module = tmp_path / "seeded.py"
    body = "        pass\n" * FUNCTION_LINES_MAX
    module.write_text(f"class A:\n    async def long(self):\n{body}")
    assert long_functions(module) == [f"long: {FUNCTION_LINES_MAX + 1}"]
    module.write_text(module.read_text().removesuffix("        pass\n"))
    assert not long_functions(module)


def test_a_second_class_of_one_name_is_found(tmp_path: Path):
    """Two public classes of one name are reported with their modules; private ones are not."""
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    first.write_text("class Result: ...\nclass _Private: ...\n")
    second.write_text("class Result: ...\nclass _Private: ...\n")
    assert classes_of_one_name([first, second]) == {"Result": ["first.py", "second.py"]}


def test_a_third_file_of_one_prefix_is_found(tmp_path: Path):
    """`batches.py`, `batches_a.py` and `batches_b.py` in one folder are reported, two are not."""
    modules = [tmp_path / name for name in ("batches.py", "batches_a.py", "batches_b.py")]
    assert list(folders_of_one_prefix(modules))
    assert not list(folders_of_one_prefix(modules[1:]))
    elsewhere = tmp_path / "api" / "batches_b.py"
    assert not list(folders_of_one_prefix([*modules[:2], elsewhere]))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_thin_and_explain_themselves(script: Path):
    """Each script is executable, at most 40 lines long, and answers --help."""
    text = script.read_text()
    assert len(text.splitlines()) <= SCRIPT_LINES_MAX
    assert script.stat().st_mode & 0o111
    assert "--help" in text


def test_locks_name_no_registry():
    """The locks pin every package by hash and contain no address."""
    for lock in (ROOT / "requirements").glob("*.txt"):
        text = lock.read_text()
        assert "://" not in text
        pins = [line for line in text.splitlines() if "==" in line and not line.startswith(" ")]
        assert pins
        assert all(line.rstrip().endswith("\\") for line in pins), "a pin without hashes"


@pytest.mark.parametrize(
    "script", ["run", "chaos", "fleet", "interactive_first", "soak", "sending_times"]
)
def test_each_bench_starts(script):
    """A move in the package that breaks a bench is noticed at once: it is not run every day."""
    command = [sys.executable, f"bench/{script}.py", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
