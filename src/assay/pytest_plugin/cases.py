"""Cases of a file as parameters of a test."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

NO_FIELDS = frozenset({"id", "group", "split"})
"""What a row has beside its case."""


def assay_cases(path: str | Path) -> list[Any]:
    """The rows of a file of JSON Lines, for `pytest.mark.parametrize("case", assay_cases(…))`.

    A relative path starts at the folder of the module that calls this. Each test has the `id` of
    its row. Raises `ValueError` with the line of a row that is no JSON object.
    """
    frame = inspect.currentframe()
    caller = frame.f_back.f_globals.get("__file__", "") if frame and frame.f_back else ""
    file = Path(caller).parent / path
    # Not splitlines: a text may have other line separators inside.
    lines = file.read_text("utf-8-sig").split("\n")
    cases = [_case(file, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not cases:
        raise ValueError(f"{file} has no cases")
    return cases


def _case(file: Path, number: int, line: str) -> Any:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{file}, line {number}: must be a JSON object: {error}") from None
    if not isinstance(row, dict):
        raise ValueError(f"{file}, line {number}: must be a JSON object")  # noqa: TRY004  # of the file
    case = {name: value for name, value in row.items() if name not in NO_FIELDS}
    return pytest.param(case, id=str(row.get("id", f"line-{number}")))
