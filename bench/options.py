"""The command-line options that apply to every scenario."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """How long and how often to measure, and whether to measure the peer."""

    quick: bool = False
    peer: bool = False

    @property
    def rounds(self) -> int:
        return 2 if self.quick else 5

    @property
    def stride(self) -> int:
        """Measure every point of a curve, or every second one."""
        return 2 if self.quick else 1

    @property
    def seconds(self) -> float:
        """The length of one round of one contender."""
        return 1.0 if self.quick else 3.0
