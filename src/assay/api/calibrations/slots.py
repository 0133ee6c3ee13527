"""How many calibrations one process computes at a time: each holds the columns of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from assay.http.problems import CLOSE, Problem, ProblemError

AT_ONCE = 2


class ComputingSlots:
    """Refuses what would be one too many, rather than let it wait."""

    def __init__(self) -> None:
        self._free = AT_ONCE

    @contextmanager
    def taken(self) -> Iterator[None]:
        """One of the slots; raises `ProblemError` (`overloaded`)."""
        if not self._free:
            detail = f"This process computes {AT_ONCE} calibrations at a time. Retry later."
            raise ProblemError(Problem("overloaded", detail, headers=CLOSE))
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1
