"""What is usual of late: an exponentially weighted moving average, and moving quantiles."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

VALUES_KEPT = 51
"""After half as many values of another size, the median has followed them."""


class MovingAverage:
    """The mean of a series in which older values count less.

    `weight`, above 0 and at most 1, is that of the newest value. Without a `prior` the first value
    becomes the mean; until then `value` is 0.
    """

    __slots__ = ("_started", "_weight", "value")

    def __init__(self, weight: float, prior: float | None = None) -> None:
        self._weight = weight
        self._started = prior is not None
        self.value = prior or 0.0

    def add(self, value: float) -> None:
        """Take in the next value."""
        self.value = self.value + self._weight * (value - self.value) if self._started else value
        self._started = True


class MovingQuantiles:
    """The quantiles of the last values, up to `kept` of them."""

    __slots__ = ("_ordered", "_recent")

    def __init__(self, kept: int = VALUES_KEPT) -> None:
        self._recent: deque[float] = deque(maxlen=kept)
        self._ordered: list[float] = []

    def __len__(self) -> int:
        return len(self._recent)

    def add(self, value: float) -> None:
        if len(self._recent) == self._recent.maxlen:
            del self._ordered[bisect_left(self._ordered, self._recent[0])]
        self._recent.append(value)
        insort(self._ordered, value)

    def at(self, share: float) -> float | None:
        """The value that this share of the values is below, 0 to 1; None before the first."""
        return self._ordered[int(share * len(self._ordered))] if self._ordered else None

    @property
    def median(self) -> float | None:
        return self.at(0.5)
