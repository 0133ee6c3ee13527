"""The rows that a process evaluates, in a file that outlives it.

A process that was ended because its event loop stood still can tell nobody. What it leaves behind
are two files: the rows that it held, and the stacks at its end, which only such an end writes. The
next process in the same directory, in Kubernetes the restarted container, reports the rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson

ROWS, TRACE = ".rows", ".trace"


class RowsInHand:
    """Keeps the file of this process up to date; a few microseconds for each change."""

    def __init__(self, folder: Path, process_name: str) -> None:
        self.folder = folder
        self.trace = folder / f"{process_name}{TRACE}"
        self._path = folder / f"{process_name}{ROWS}"
        self._file: int | None = None

    def note(self, rows: Iterable[tuple[str, str]]) -> None:
        """These rows, each a batch and a key, are being evaluated now."""
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
        size = os.pwrite(self._file, orjson.dumps(list(rows)), 0)
        os.ftruncate(self._file, size)

    def close(self) -> None:
        """Remove the file: the process ends in order."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self._path.unlink(missing_ok=True)


def stalled_processes(folder: Path) -> Iterator[tuple[Path, list[tuple[str, str]]]]:
    """The traces of processes that were ended, each with the batch and key of every row it held."""
    for trace in folder.glob(f"*{TRACE}"):
        if trace.stat().st_size:
            try:
                rows = orjson.loads(trace.with_suffix(ROWS).read_bytes())
            except (OSError, ValueError):
                rows = []
            yield trace, [(batch_id, key) for batch_id, key in rows]


def forget(trace: Path) -> None:
    """Remove what a process has left, once its rows are reported."""
    trace.with_suffix(ROWS).unlink(missing_ok=True)
    trace.unlink(missing_ok=True)
