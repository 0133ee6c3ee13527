"""Whether the output states the expected number."""

from __future__ import annotations

import math
import re
from typing import ClassVar, Literal

from pydantic import Field

from assay.criteria.base import Check, Finding
from assay.criteria.deterministic.findings import binary_finding
from assay.criteria.registry import criterion
from assay.domain.case_text import output_text, references
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case

NUMBER = re.compile(
    r"(?<![\w.])(?<![0-9],)[-+\u2212]?"
    r"(?:[0-9]{1,3}(?:,[0-9]{3}){1,100}(?![0-9])|[0-9]{1,300})(?:\.[0-9]{1,300})?(?:[eE][-+]?[0-9]{1,3})?"
    r"(?![\w]|[.,][0-9])"
)
"""A decimal number with optional sign, thousands commas and exponent, not part of a word."""


def parse_number(text: str) -> float:
    """The value of a match of `NUMBER`; infinite where a double cannot hold it."""
    return float(text.replace(",", "").replace("\u2212", "-"))


@criterion
class Numeric(Check):
    """1 where the output's number equals the expected one within a tolerance, else 0.

    `which` selects one of several numbers in the output: the `last` one (the default, because
    answers tend to come last), the `first`, or the nearest of `any`. `value` is the number that
    was compared. The tolerance is |output − expected| ≤ max(`abs_tolerance`,
    `rel_tolerance` × |expected|). Thousands commas are understood, decimal commas are not.
    """

    family: ClassVar[str] = "text"
    scale: ClassVar[str] = "0 or 1"
    example: ClassVar = {
        "output": "The total is 1,024.5 kg.",
        "criteria": [{"type": "numeric", "value": 1024.5, "abs_tolerance": 0.1}],
    }

    type: Literal["numeric"]
    value: float | None = Field(default=None, description="Absent: the case's reference.")
    abs_tolerance: float = Field(default=0.0, ge=0)
    rel_tolerance: float = Field(default=1e-9, ge=0)
    which: Literal["first", "last", "any"] = "last"

    def check(self, case: Case) -> Finding:
        expected = self._expected(case)
        found = (parse_number(match.group()) for match in NUMBER.finditer(output_text(case)))
        stated = [number for number in found if math.isfinite(number)]
        if not stated:
            return Finding(0.0, explanation="the output states no number")
        if self.which != "any":
            stated = [stated[0 if self.which == "first" else -1]]
        pairs = [(number, wanted) for number in stated for wanted in expected]
        distance, nearest = min((abs(number - wanted), number) for number, wanted in pairs)
        holds = any(self._within_tolerance(number, wanted) for number, wanted in pairs)
        explanation = f"the output states {nearest:g}, {distance:g} away from the expected number"
        return binary_finding(holds, explanation, nearest)

    def _expected(self, case: Case) -> list[float]:
        if self.value is not None:
            return [self.value]
        matches = [NUMBER.search(reference) for reference in references(case)]
        numbers = [parse_number(match.group()) for match in matches if match]
        if not numbers:
            raise NotApplicable("reference_missing", "the case's reference states no number")
        return numbers

    def _within_tolerance(self, stated: float, wanted: float) -> bool:
        return abs(stated - wanted) <= max(self.abs_tolerance, self.rel_tolerance * abs(wanted))
