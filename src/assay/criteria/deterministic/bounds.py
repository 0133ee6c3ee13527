"""Checks that compare a number with `min` and `max`."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from assay.criteria.base import Check, Finding
from assay.criteria.deterministic.findings import binary_finding
from assay.domain.evaluation import Case


class BoundedCheck(Check):
    """A check with an optional lower and upper bound, both included."""

    min: float | None = Field(default=None, description="Lowest accepted value.")
    max: float | None = Field(default=None, description="Highest accepted value.")

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise PydanticCustomError("bounds_crossed", "min must not be greater than max")
        return self

    @property
    def is_bounded(self) -> bool:
        """Whether there is a bound at all."""
        return self.min is not None or self.max is not None

    def within_bounds(self, value: float) -> bool:
        """Whether the value keeps the bounds that are set."""
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)


class CountCheck(BoundedCheck):
    """1 where a count lies within `min` and `max`, else 0; `value` is the count."""

    scale: ClassVar[str] = "0 or 1"

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": [bound], "properties": {bound: {"type": "integer"}}}
                for bound in ("min", "max")
            ]
        }
    )

    min: int | None = Field(default=None, ge=0, description="Fewest allowed.")
    max: int | None = Field(default=None, ge=0, description="Most allowed.")

    @model_validator(mode="after")
    def _bound_given(self) -> Self:
        if not self.is_bounded:
            raise PydanticCustomError("bounds_missing", "needs min, max or both")
        return self

    @abstractmethod
    def count_in(self, case: Case) -> int:
        """How many the case has of what this check counts."""

    def check(self, case: Case) -> Finding:
        count = self.count_in(case)
        low = self.min or 0
        allowed = f"at least {low}" if self.max is None else f"{low} to {self.max}"
        return binary_finding(self.within_bounds(count), f"{count}; allowed: {allowed}", count)
