"""An exponentially weighted moving average."""

from __future__ import annotations


class MovingAverage:
    """The mean of a series in which older values count less; None before the first value.

    `weight`, above 0 and at most 1, is that of the newest value.
    """

    __slots__ = ("_weight", "value")

    def __init__(self, weight: float, value: float | None = None) -> None:
        self._weight = weight
        self.value = value

    def add(self, value: float) -> None:
        """Take in the next value; the first one is the mean."""
        self.value = (
            value if self.value is None else self.value + self._weight * (value - self.value)
        )
