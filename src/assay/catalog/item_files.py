"""Reads uploaded files of items: JSON Lines, CSV and Parquet, a few rows at a time.

All of it reads a file and blocks: it runs in a thread.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

import orjson

Row = dict[str, Any] | str
"""The fields of a row, or what is wrong with it."""

CSV_JSON_COLUMNS = frozenset({"context", "metadata", "tools", "expected_tools", "reference"})
"""Columns whose cells may hold JSON, since a cell has no lists and objects."""
PARQUET_ROWS = 200


def json_lines(file: IO[bytes], row_bytes_max: int) -> Iterator[tuple[int, Row]]:
    """A row for each line that is not blank, with its number."""
    number = 0
    while line := file.readline(row_bytes_max + 1):
        number += 1
        if len(line) > row_bytes_max:
            yield number, f"must have at most {row_bytes_max} bytes"
            while line and not line.endswith(b"\n"):
                line = file.readline(row_bytes_max)
        elif content := line.removeprefix(b"\xef\xbb\xbf" if number == 1 else b"").strip():
            yield number, _object(content)


def csv_rows(file: IO[bytes], row_bytes_max: int) -> Iterator[tuple[int, Row]]:
    """A row for each record after the header; an empty cell is a missing field.

    Source: RFC 4180.
    """
    csv.field_size_limit(row_bytes_max)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    reader = csv.DictReader(text, strict=True, restkey="")
    try:
        for record in reader:
            yield reader.line_num, _cells(record)
    except (csv.Error, UnicodeDecodeError) as error:
        # The rest of the file cannot be told apart any more.
        yield reader.line_num + 1, f"must be CSV in UTF-8: {error}"
    finally:
        text.detach()


def parquet_rows(file: IO[bytes], _row_bytes_max: int) -> Iterator[tuple[int, Row]]:
    """A row for each row, numbered from 1; null is a missing field."""
    from pyarrow import ArrowException  # noqa: PLC0415  # 30 MB, for the few who send Parquet
    from pyarrow.parquet import ParquetFile  # noqa: PLC0415

    number = 0
    try:
        for batch in ParquetFile(file).iter_batches(PARQUET_ROWS):
            for record in batch.to_pylist():
                number += 1
                yield number, {name: value for name, value in record.items() if value is not None}
    except (ArrowException, OSError) as error:
        yield number + 1, f"must be Parquet: {str(error)[:200]}"


READERS: Mapping[str, Callable[[IO[bytes], int], Iterator[tuple[int, Row]]]] = {
    "application/x-ndjson": json_lines,
    "application/jsonl": json_lines,
    "application/jsonlines": json_lines,
    "text/csv": csv_rows,
    "application/vnd.apache.parquet": parquet_rows,
}
"""By media type."""


def _object(content: bytes) -> Row:
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        return f"must be valid JSON: {error}"
    return document if isinstance(document, dict) else "must be a JSON object"


def _cells(record: dict[str, Any]) -> Row:
    if "" in record:
        return "has more cells than the header"
    return {name: _cell(name, cell) for name, cell in record.items() if cell}


def _cell(name: str, cell: str) -> Any:
    if name in CSV_JSON_COLUMNS and cell[0] in "[{":
        try:
            return orjson.loads(cell)
        except orjson.JSONDecodeError:
            return cell
    return [cell] if name == "context" else cell
