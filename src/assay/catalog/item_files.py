"""Reads uploaded files of items; all of it reads a file and blocks: it runs in a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import IO

from assay.domain import row_files
from assay.domain.errors import RequestError
from assay.domain.row_files import Row
from assay.http.body import check_count, check_structure, with_exact_numbers

JSON_LINES = ("application/x-ndjson", "application/jsonl", "application/jsonlines")


def _object(content: bytes) -> Row:
    try:
        check_count(content)
        document = row_files.json_object(content)
        if isinstance(document, str):
            return document
        check_structure(document)
        return with_exact_numbers(document, content)
    except RequestError as error:
        return error.errors[0].message if error.errors else error.message


json_lines = partial(row_files.json_lines, read=_object)
READERS: Mapping[str, Callable[[IO[bytes], int], Iterator[tuple[int, Row]]]] = {
    **dict.fromkeys(JSON_LINES, json_lines),
    "text/csv": row_files.csv_rows,
    "application/vnd.apache.parquet": row_files.parquet_rows,
}
"""By media type."""
