"""What is usual of late: an exponentially weighted moving average, and a moving median."""

from __future__ import annotations

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


class MovingMedian:
    """The median of the last values; None before the first."""

    __slots__ = ("_recent",)

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=VALUES_KEPT)

    def add(self, value: float) -> None:
        self._recent.append(value)

    @property
    def value(self) -> float | None:
        ordered = sorted(self._recent)
        return ordered[len(ordered) // 2] if ordered else None
