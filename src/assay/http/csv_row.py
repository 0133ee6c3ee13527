"""One line of CSV (RFC 4180) that a spreadsheet shows and does not run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any


def csv_row(values: Iterable[Any]) -> str:
    """The line; a missing value is an empty cell."""
    line = io.StringIO(newline="")
    csv.writer(line).writerow(map(_cell, values))
    return line.getvalue()


def _cell(value: Any) -> Any:
    """A cell; a text that a spreadsheet would run as a formula is quoted."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value
    return value
