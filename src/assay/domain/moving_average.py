"""An exponentially weighted moving average."""

from __future__ import annotations


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
