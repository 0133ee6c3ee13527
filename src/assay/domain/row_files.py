"""Reads files of rows: JSON Lines, CSV and Parquet, a few rows at a time."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

import orjson

from assay.domain.exact_json import decode_fault

Row = dict[str, Any] | str
"""The fields of a row, or what is wrong with it."""

CSV_JSON_COLUMNS = frozenset({"context", "metadata", "tools", "expected_tools", "reference"})
"""Columns whose cells may hold JSON, since a cell has no lists and objects."""
UNNAMED = "every column must have a name of its own"
INFINITE = "has a number that JSON cannot represent"
PARQUET_ROWS = 200
PARQUET_BATCH_BYTES = 4 * 1024 * 1024
PARQUET_BUFFER_BYTES = 64 * 1024


def json_object(content: bytes) -> Row:
    """The object in a line."""
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        return f"must be valid JSON: {decode_fault(error, content)}"
    return document if isinstance(document, dict) else "must be a JSON object"


def json_lines(
    file: IO[bytes], row_bytes_max: int, read: Callable[[bytes], Row] = json_object
) -> Iterator[tuple[int, Row]]:
    """A row for each line that is not blank, with its number."""
    number = 0
    while line := file.readline(row_bytes_max + 1):
        number += 1
        if len(line) > row_bytes_max:
            yield number, f"must have at most {row_bytes_max} bytes"
            while line and not line.endswith(b"\n"):
                line = file.readline(row_bytes_max)
        elif content := line.removeprefix(b"\xef\xbb\xbf" if number == 1 else b"").strip():
            yield number, read(content)


def csv_rows(file: IO[bytes], row_bytes_max: int) -> Iterator[tuple[int, Row]]:
    """A row for each record after the header; an empty cell is a missing field.

    Source: RFC 4180.
    """
    csv.field_size_limit(row_bytes_max)
    # Bytes that are not UTF-8 spoil their row alone, since JSON cannot represent them.
    text = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
    number = size = 0

    def lines() -> Iterator[str]:
        nonlocal number, size
        while line := text.readline(row_bytes_max + 1):
            number += 1
            size += len(line)
            if size > row_bytes_max:
                raise csv.Error(f"a row has more than {row_bytes_max} characters")
            yield line

    reader = csv.reader(lines(), strict=True)
    try:
        header = next(reader, [])
        if not _are_names(header):
            yield 1, UNNAMED
            return
        for record in reader:
            size = 0
            if record:
                yield number, _cells(header, record)
    except csv.Error as error:
        # The rest of the file cannot be told apart any more.
        yield number, f"must be CSV: {error}"
    finally:
        text.detach()


def parquet_rows(file: IO[bytes], _row_bytes_max: int) -> Iterator[tuple[int, Row]]:
    """A row for each row, numbered from 1; null is a missing field, and so is NaN, as in pandas."""
    from pyarrow import ArrowException  # noqa: PLC0415  # 30 MB, for the few who send Parquet
    from pyarrow.parquet import ParquetFile  # noqa: PLC0415

    number = 0
    try:
        # Otherwise a whole row group is read at once, and that may be the whole file.
        source = ParquetFile(file, buffer_size=PARQUET_BUFFER_BYTES, pre_buffer=False)
        if not _are_names(source.schema_arrow.names):
            yield 1, UNNAMED
            return
        groups = map(source.metadata.row_group, range(source.num_row_groups))
        size = max((group.total_byte_size / max(group.num_rows, 1) for group in groups), default=1)
        at_once = max(1, min(PARQUET_ROWS, round(PARQUET_BATCH_BYTES / max(size, 1))))
        for batch in source.iter_batches(at_once, use_threads=False):
            for record in batch.to_pylist():
                number += 1
                row = {name: value for name, value in record.items() if not _is_missing(value)}
                yield number, row if _is_finite(row) else INFINITE
    except (ArrowException, OSError) as error:
        yield number + 1, f"must be Parquet: {str(error)[:200]}"


def _are_names(columns: Sequence[str]) -> bool:
    return all(columns) and len(set(columns)) == len(columns)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _is_finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _cells(header: Sequence[str], record: Sequence[str]) -> Row:
    if len(record) > len(header):
        return "has more cells than the header"
    cells = zip(header, record, strict=False)
    return {name: _cell(name, cell) for name, cell in cells if cell}


def _cell(name: str, cell: str) -> Any:
    if name in CSV_JSON_COLUMNS and cell[0] in "[{":
        try:
            return orjson.loads(cell)
        except (orjson.JSONDecodeError, UnicodeEncodeError):
            return cell
    return [cell] if name == "context" else cell
