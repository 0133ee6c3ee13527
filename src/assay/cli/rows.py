"""Reads rows one at a time, from files of any size: JSON Lines, CSV and Parquet."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import importlib.util
import shutil
import tempfile
import threading
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, Literal, cast

import orjson

from assay.client.cases import REQUEST_FIELDS, ROW_FIELDS, to_case
from assay.client.wire import to_json
from assay.domain.row_files import csv_rows, json_lines, parquet_rows
from assay.errors import INSTALL, InvalidRequest

LINE_BYTES_MAX = 16 * 1024 * 1024
AHEAD_MAX = 16
STDIN = "-"
Format = Literal["jsonl", "csv", "parquet"]
READERS = {"jsonl": json_lines, "csv": csv_rows, "parquet": parquet_rows}
SUFFIXES: dict[str, Format] = {
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "jsonl"),
    ".csv": "csv",
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
}
PARQUET_START = b"PAR1"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the input: a case, or its fault; `end` is how far the input is read, in bytes."""

    line: int
    end: int
    id: Any = None
    case: dict[str, Any] | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A file, or stdin (`-`); its format is seen from its name, or else from its beginning."""

    path: str
    format: Format | None = None
    columns: frozenset[str] = REQUEST_FIELDS | ROW_FIELDS
    """Those that are fields of a case; a table may have others."""

    @property
    def is_stdin(self) -> bool:
        return self.path == STDIN

    @property
    def size_bytes(self) -> int | None:
        """The size of a file; None for stdin."""
        return None if self.is_stdin else Path(self.path).stat().st_size

    @property
    def named_format(self) -> Format | None:
        """The format that is given, or that the name says."""
        return self.format or SUFFIXES.get(Path(self.path).suffix.lower())

    def rows(self) -> Iterator[Row]:
        """Every row that is not blank, valid or not; raises `OSError`."""
        with self._open() as file:
            found = self.named_format or _format_of(file)
            if found == "parquet":
                require_parquet(self.path)
                with _seekable(file) as whole:
                    yield from read_rows(whole, found, self.columns)
            else:
                yield from read_rows(file, found, self.columns)

    def _open(self) -> IO[bytes]:
        # A thread that waits in sys.stdin would crash the interpreter at exit.
        return open(0, "rb", closefd=False) if self.is_stdin else Path(self.path).open("rb")


def read_rows(
    file: IO[bytes], form: Format = "jsonl", columns: frozenset[str] = frozenset()
) -> Iterator[Row]:
    """The rows of an open file; the unknown columns of a table are the `fields` of its cases."""
    tells = file.seekable()
    for line, value in READERS[form](file, LINE_BYTES_MAX):
        end = file.tell() if tells else 0
        if isinstance(value, str):
            yield Row(line, end, fault=value)
            continue
        try:
            # Cells can hold what JSON cannot: bytes that are no text, and dates.
            row = value if form == "jsonl" else orjson.loads(to_json(to_case(value, columns)))
        except InvalidRequest as error:
            yield Row(line, end, fault=error.detail if error.code == "bad_row" else "must be UTF-8")
            continue
        identifier = row.pop("id", None)
        if isinstance(identifier, str | int | None):
            yield Row(line, end, identifier, row)
        else:
            yield Row(line, end, fault="id must be a string or an integer")


async def stream_rows(source: Source) -> AsyncGenerator[Row, None]:
    """The rows, read in a thread: a slow pipe blocks nothing else."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Row | Exception | None] = asyncio.Queue(AHEAD_MAX)
    stopped = threading.Event()

    def put(item: Row | Exception | None) -> None:
        asyncio.run_coroutine_threadsafe(queue.put(item), loop).result()

    def read() -> None:
        # The event loop has ended, and with it the reader of the rows.
        with contextlib.suppress(RuntimeError, concurrent.futures.CancelledError):
            read_all()

    def read_all() -> None:
        try:
            for row in source.rows():
                if stopped.is_set():
                    return
                put(row)
            put(None)
        except Exception as error:  # noqa: BLE001  # raised again where the rows are awaited
            put(error)

    # A daemon, because nothing can stop a thread that waits for a pipe.
    threading.Thread(target=read, name="rows", daemon=True).start()
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        stopped.set()
        while not queue.empty():
            queue.get_nowait()


def open_output(out: str) -> IO[bytes]:
    """The file to write; `-` is stdout."""
    return open(1, "wb", closefd=False) if out == STDIN else Path(out).open("wb")


def require_parquet(path: str) -> None:
    """Raises `OSError` if nothing that reads Parquet is installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise OSError(None, f"Parquet needs {INSTALL}", path)


def _format_of(file: IO[bytes]) -> Format:
    """By the beginning: Parquet has a mark, and a line of CSV is no JSON but has known names."""
    start = cast("BufferedReader", file).peek(len(PARQUET_START))
    if start.startswith(PARQUET_START):
        return "parquet"
    start = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"{"):
        return "jsonl"
    names = start.partition(b"\n")[0].strip().split(b",")
    columns = {name.strip(b' "').decode("utf-8", "replace") for name in names}
    return "csv" if columns & (REQUEST_FIELDS | ROW_FIELDS) else "jsonl"


@contextlib.contextmanager
def _seekable(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """The file; what comes through a pipe is kept in one first."""
    if file.seekable():
        yield file
        return
    with tempfile.TemporaryFile() as kept:
        shutil.copyfileobj(file, kept)
        kept.seek(0)
        yield kept
