"""Counts over a sliding window of time, kept in a few buckets."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable


class SlidingCounts:
    """Several kinds of counts over the last `window_s`, forgotten bucket by bucket."""

    def __init__(
        self,
        kinds: int,
        window_s: float,
        buckets: int,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kinds = kinds
        self._bucket_s = window_s / buckets
        self._clock_s = clock_s
        self._buckets: deque[tuple[int, list[int]]] = deque(maxlen=buckets)

    def add(self, *amounts: int) -> None:
        """Add one amount for each kind to the present bucket."""
        now = self._forget()
        if not self._buckets or self._buckets[-1][0] != now:
            self._buckets.append((now, [0] * self._kinds))
        counts = self._buckets[-1][1]
        for kind, amount in enumerate(amounts):
            counts[kind] += amount

    def totals(self) -> tuple[int, ...]:
        """The sum of each kind over the window."""
        self._forget()
        counted = [counts for _, counts in self._buckets]
        return tuple(map(sum, zip(*counted))) if counted else (0,) * self._kinds  # noqa: B905  # all have one length

    def clear(self) -> None:
        self._buckets.clear()

    def _forget(self) -> int:
        """Drop what left the window; returns the number of the present bucket."""
        now = int(self._clock_s() // self._bucket_s)
        oldest = now - (self._buckets.maxlen or 0)
        while self._buckets and self._buckets[0][0] <= oldest:
            self._buckets.popleft()
        return now
