"""Criteria whose verdict is a number of the author's own choosing."""

from __future__ import annotations

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from assay.criteria.base import Criterion, Finding

BOUND_MAX = 1e9


class InRange(Criterion):
    """A criterion whose number is scaled to 0..1 by its `range`, and passes from a threshold."""

    range: tuple[float, float] = (0.0, 1.0)
    pass_threshold: float | None = Field(
        default=None, description="Lowest passing number, on the scale of the range."
    )

    @field_validator("range", mode="before")
    @classmethod
    def _default_range(cls, bounds: object) -> object:
        return (0.0, 1.0) if bounds is None else bounds

    @field_validator("range")
    @classmethod
    def _ordered(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        if not -BOUND_MAX <= bounds[0] < bounds[1] <= BOUND_MAX:
            raise PydanticCustomError("range_empty", "the range must go from less to more")
        return bounds

    def passing_score(self) -> float:
        if self.threshold is None and self.pass_threshold is not None:
            return min(1.0, max(0.0, self.scaled(self.pass_threshold)))
        return super().passing_score()

    def scaled(self, number: float) -> float:
        """The place of a number in the range: 0 at its beginning, 1 at its end."""
        low, high = self.range
        return (number - low) / (high - low)

    def number_finding(self, number: float, explanation: str = "") -> Finding:
        """The finding of a number, whose score is cut to the range where it lies outside."""
        passed = None
        if self.threshold is None and self.pass_threshold is not None:
            passed = number >= self.pass_threshold
        score = min(1.0, max(0.0, self.scaled(number)))
        return Finding(score, value=number, explanation=explanation, passed=passed)
