"""Reads rows from JSON Lines one at a time, for files of any size."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

LINE_BYTES_MAX = 16 * 1024 * 1024
AHEAD_MAX = 16
STDIN = "-"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the input: a case, or its fault; `end` is the offset in bytes where it ends."""

    line: int
    end: int
    id: Any = None
    case: dict[str, Any] | None = None
    fault: str = ""


def read_rows(file: BinaryIO) -> Iterator[Row]:
    """Every line that is not blank, valid or not."""
    end, line = 0, 0
    while content := file.readline(LINE_BYTES_MAX + 1):
        line += 1
        end += len(content)
        if len(content) > LINE_BYTES_MAX:
            end += _skip_line(file, content)
            yield Row(line, end, fault=f"must have at most {LINE_BYTES_MAX} bytes")
        elif stripped := content.removeprefix(b"\xef\xbb\xbf" if line == 1 else b"").strip():
            yield _parse(stripped, line, end)


def size_bytes(source: str) -> int | None:
    """The size of a file; None for stdin."""
    return None if source == STDIN else Path(source).stat().st_size


async def stream_rows(source: str) -> AsyncGenerator[Row, None]:
    """The rows of a file, or of stdin (`-`), read in a thread: a slow pipe blocks nothing else."""
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
            # A thread that waits in sys.stdin would crash the interpreter at exit.
            with _open(source) as file:
                for row in read_rows(file):
                    if stopped.is_set():
                        return
                    put(row)
            put(None)
        except OSError as error:
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


def _open(source: str) -> BinaryIO:
    return open(0, "rb", closefd=False) if source == STDIN else Path(source).open("rb")


def _parse(content: bytes, line: int, end: int) -> Row:
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        return Row(line, end, fault=f"must be valid JSON: {error}")
    if not isinstance(value, dict):
        return Row(line, end, fault="must be a JSON object")
    identifier = value.pop("id", None)
    if not isinstance(identifier, str | int | None):
        return Row(line, end, fault="id must be a string or an integer")
    return Row(line, end, identifier, value)


def _skip_line(file: BinaryIO, content: bytes) -> int:
    skipped = 0
    while content and not content.endswith(b"\n"):
        content = file.readline(LINE_BYTES_MAX)
        skipped += len(content)
    return skipped
