"""What the command line says about every scenario."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """How long and how often to measure, and whom to compare with."""

    quick: bool = False
    peer: bool = False

    @property
    def rounds(self) -> int:
        return 2 if self.quick else 5

    @property
    def stride(self) -> int:
        """Of the points of a curve, every one or every second."""
        return 2 if self.quick else 1

    @property
    def seconds(self) -> float:
        """Of one round of one contender."""
        return 1.0 if self.quick else 3.0
