"""Checks that compare the output with one expected text."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from assay.criteria.base import TEXT_CHARS_MAX, Check
from assay.criteria.deterministic.normalization import comparable
from assay.domain.case_text import reference_texts
from assay.domain.evaluation import Case

ExpectedText = Annotated[str, Field(max_length=TEXT_CHARS_MAX)]


class ExpectedTextCheck(Check):
    """A check against `value`, or else against each of the case's references."""

    value: ExpectedText | None = Field(
        default=None, description="The expected text; absent: the case's references."
    )
    ignore_case: bool = Field(default=False, description="Compare without regard to case.")

    def expected_texts(self, case: Case) -> tuple[str, ...]:
        """At least one; raises `NotApplicable` without a `value` and a reference."""
        return reference_texts(case) if self.value is None else (self.value,)

    def work(self, size: int, case: Case) -> float:
        """The output is read once for each expected text."""
        return size * (max(1, len(case.reference)) if self.value is None else 1)

    def comparable(self, text: str) -> str:
        """The text in the form that is compared."""
        return comparable(text, ignore_case=self.ignore_case)
