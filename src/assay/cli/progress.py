"""Progress of a run on stderr: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_EVERY_S = 10.0
FAULTS_SHOWN_MAX = 20


class Display:
    """Shows nothing but what is said; the `done` of an update is how much of `total` is done."""

    def __init__(self, console: Console, total: int | None) -> None:
        self._console = console
        self._total = total
        self._started_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def update(self, rows: int, failed: int, done: int) -> None:
        """Show how far the run is."""

    def say(self, message: str) -> None:
        """Print a line."""
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)

    def _counts(self, rows: int, failed: int) -> str:
        elapsed_s = max(time.monotonic() - self._started_s, 0.001)
        return f"{failed} failed, {rows / elapsed_s:.1f} rows/s"


class Bar(Display):
    """A progress bar that follows the bytes of the input, whose rows are not counted."""

    def __init__(self, console: Console, total: int | None) -> None:
        super().__init__(console, total)
        self._progress = Progress(
            BarColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task("0 rows", total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, rows: int, failed: int, done: int) -> None:
        shown = f"{rows} rows, {self._counts(rows, failed)}"
        self._progress.update(self._task, completed=done, description=shown)


class Lines(Display):
    """A line at the start, one every few seconds, and one at the end."""

    def __init__(self, console: Console, total: int | None) -> None:
        super().__init__(console, total)
        self._shown_s = float("-inf")
        self._last = (0, 0, 0)

    def __exit__(self, *_: object) -> None:
        self._show()

    def update(self, rows: int, failed: int, done: int) -> None:
        self._last = (rows, failed, done)
        if time.monotonic() - self._shown_s >= LINE_EVERY_S:
            self._show()

    def _show(self) -> None:
        self._shown_s = time.monotonic()
        rows, failed, done = self._last
        share, left = "", ""
        if self._total:
            share = f" ({done / self._total:.0%})"
        if self._total and 0 < done < self._total:
            left_s = (self._shown_s - self._started_s) * (self._total / done - 1)
            left = f", about {left_s:.0f} s left"
        self.say(f"{rows} rows{share}, {self._counts(rows, failed)}{left}")


def display_for(console: Console, total: int | None, *, quiet: bool = False) -> Display:
    """The display for a console; `total` is None if the size of the input is unknown."""
    if quiet:
        return Display(console, total)
    return Bar(console, total) if console.is_terminal else Lines(console, total)
