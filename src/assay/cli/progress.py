"""Progress of a run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_EVERY_S = 10.0
FAULTS_SHOWN_MAX = 20


class Bar:
    """A progress bar that follows the bytes of the input, whose rows are not counted."""

    def __init__(self, console: Console, total_bytes: int | None) -> None:
        self._progress = Progress(
            BarColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task("0 rows", total=total_bytes)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, rows: int, failed: int, done_bytes: int) -> None:
        self._progress.update(
            self._task, completed=done_bytes, description=f"{rows} rows, {failed} failed"
        )

    def say(self, message: str) -> None:
        self._progress.console.print(message, markup=False, highlight=False, soft_wrap=True)


class Lines:
    """A line at the start, one every few seconds, and one at the end."""

    def __init__(self, console: Console, total_bytes: int | None) -> None:
        self._console = console
        self._total_bytes = total_bytes
        self._started_s = time.monotonic()
        self._shown_s = float("-inf")
        self._last = (0, 0, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._show()

    def update(self, rows: int, failed: int, done_bytes: int) -> None:
        self._last = (rows, failed, done_bytes)
        if time.monotonic() - self._shown_s >= LINE_EVERY_S:
            self._show()

    def say(self, message: str) -> None:
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)

    def _show(self) -> None:
        self._shown_s = time.monotonic()
        rows, failed, done_bytes = self._last
        share = f" ({done_bytes / self._total_bytes:.0%})" if self._total_bytes else ""
        elapsed_s = max(self._shown_s - self._started_s, 0.001)
        self.say(f"{rows} rows{share}, {failed} failed, {rows / elapsed_s:.1f} rows/s")


Display = Bar | Lines
"""Shows progress; the `done_bytes` of an update is how much of the input has been read."""


def display_for(console: Console, total_bytes: int | None) -> Display:
    """The display for a console; `total_bytes` is None if the size of the input is unknown."""
    return Bar(console, total_bytes) if console.is_terminal else Lines(console, total_bytes)
