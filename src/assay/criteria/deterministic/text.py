"""Whether the output equals an expected text, or contains one or several.

Texts are compared in the form of `normalization.comparable`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from assay.criteria.base import TEXT_CHARS_MAX, Check, Finding
from assay.criteria.deterministic.expected_text import ExpectedTextCheck
from assay.criteria.deterministic.findings import binary_finding, quoted
from assay.criteria.deterministic.normalization import TEXT_WORK_MAX, comparable
from assay.criteria.registry import criterion
from assay.domain.case_text import output_text, reference_texts
from assay.domain.evaluation import Case

VALUES_MAX = 1_000

NonEmptyText = Annotated[str, Field(min_length=1, max_length=TEXT_CHARS_MAX)]
Values = Annotated[tuple[NonEmptyText, ...], Field(min_length=1, max_length=VALUES_MAX)]


class _ComparisonCheck(ExpectedTextCheck):
    """1 where the output has the relation to one of the expected texts, else 0."""

    family: ClassVar[str] = "text"
    scale: ClassVar[str] = "0 or 1"
    inline_work_max: ClassVar[int] = TEXT_WORK_MAX
    negation: ClassVar[str]
    """How an explanation says that the relation does not hold."""

    @abstractmethod
    def holds(self, output: str, expected: str) -> bool:
        """Whether the output has the relation to the expected text, both in comparable form."""

    def check(self, case: Case) -> Finding:
        output = self.comparable(output_text(case))
        texts = self.expected_texts(case)
        for expected in texts:
            if self.holds(output, self.comparable(expected)):
                relation = self.type.replace("_", " ")
                return binary_finding(True, f"the output {relation} {quoted(expected)}")
        return binary_finding(False, f"the output {self.negation} {quoted(texts[-1])}")


@criterion
class Equals(_ComparisonCheck):
    """1 where the output is the expected text, else 0; `trim` ignores white space around both."""

    example: ClassVar = {"output": "Paris", "criteria": [{"type": "equals", "value": "Paris"}]}
    negation: ClassVar[str] = "does not equal"

    type: Literal["equals"]
    trim: bool = Field(default=False, description="Ignore white space around both texts.")

    def holds(self, output: str, expected: str) -> bool:
        return output.strip() == expected.strip() if self.trim else output == expected


@criterion
class Contains(_ComparisonCheck):
    """1 where the expected text occurs in the output, else 0."""

    example: ClassVar = {
        "output": "The capital is Paris.",
        "criteria": [{"type": "contains", "value": "Paris"}],
    }
    negation: ClassVar[str] = "does not contain"

    type: Literal["contains"]

    def holds(self, output: str, expected: str) -> bool:
        return expected in output


@criterion
class StartsWith(_ComparisonCheck):
    """1 where the output begins with the expected text, else 0."""

    example: ClassVar = {
        "output": "Dear Ada, …",
        "criteria": [{"type": "starts_with", "value": "Dear"}],
    }
    negation: ClassVar[str] = "does not start with"

    type: Literal["starts_with"]

    def holds(self, output: str, expected: str) -> bool:
        return output.startswith(expected)


@criterion
class EndsWith(_ComparisonCheck):
    """1 where the output ends with the expected text, else 0."""

    example: ClassVar = {
        "output": "Kind regards",
        "criteria": [{"type": "ends_with", "value": "regards"}],
    }
    negation: ClassVar[str] = "does not end with"

    type: Literal["ends_with"]

    def holds(self, output: str, expected: str) -> bool:
        return output.endswith(expected)


class _SelectionCheck(Check):
    """Compares the output with `values`, or else with the case's references."""

    family: ClassVar[str] = "text"
    inline_work_max: ClassVar[int] = TEXT_WORK_MAX

    values: Values | None = Field(
        default=None, description="The texts; absent: the case's references."
    )
    ignore_case: bool = Field(default=False, description="Compare without regard to case.")

    def expected_texts(self, case: Case) -> tuple[str, ...]:
        return reference_texts(case) if self.values is None else self.values

    def work(self, size: int, case: Case) -> float:
        """The output is searched once for each expected text."""
        return size * max(1, len(case.reference if self.values is None else self.values))

    def comparable(self, text: str) -> str:
        return comparable(text, ignore_case=self.ignore_case)


@criterion
class ContainsAny(_SelectionCheck):
    """1 where at least one of the texts occurs in the output, else 0; `value` is the first."""

    scale: ClassVar[str] = "0 or 1"
    example: ClassVar = {
        "output": "Call the police.",
        "criteria": [{"type": "contains_any", "values": ["police", "ambulance"]}],
    }

    type: Literal["contains_any"]

    def check(self, case: Case) -> Finding:
        output = self.comparable(output_text(case))
        for text in self.expected_texts(case):
            if self.comparable(text) in output:
                return binary_finding(True, f"the output contains {quoted(text)}", text)
        return binary_finding(False, "the output contains none of the texts")


@criterion
class ContainsNone(_SelectionCheck):
    """1 where none of the texts occurs in the output, else 0; `value` is how many do."""

    scale: ClassVar[str] = "0 or 1"
    example: ClassVar = {
        "output": "Thank you for waiting.",
        "criteria": [{"type": "contains_none", "values": ["as an AI", "guarantee"]}],
    }

    type: Literal["contains_none"]

    def check(self, case: Case) -> Finding:
        output = self.comparable(output_text(case))
        found = [text for text in self.expected_texts(case) if self.comparable(text) in output]
        if found:
            return binary_finding(False, f"the output contains {quoted(found[0])}", len(found))
        return binary_finding(True, "the output contains none of the texts", 0)


@criterion
class ContainsAll(_SelectionCheck):
    """The share of the texts that occur in the output, 0 to 1; `value` is their number."""

    example: ClassVar = {
        "output": "Name: Ada. Age: 36.",
        "criteria": [{"type": "contains_all", "values": ["Name", "Age"]}],
    }

    type: Literal["contains_all"]

    def check(self, case: Case) -> Finding:
        output = self.comparable(output_text(case))
        expected = self.expected_texts(case)
        missing = [text for text in expected if self.comparable(text) not in output]
        found = len(expected) - len(missing)
        first_missing = f"; the first missing is {quoted(missing[0])}" if missing else ""
        return Finding(
            score=found / len(expected),
            value=found,
            explanation=f"the output contains {found} of {len(expected)} texts{first_missing}",
        )


@criterion
class OneOf(_SelectionCheck):
    """1 where the output, trimmed, is one of the texts, else 0; `label` is the text it is."""

    scale: ClassVar[str] = "0 or 1"
    example: ClassVar = {
        "output": "positive",
        "criteria": [{"type": "one_of", "values": ["positive", "negative"]}],
    }

    type: Literal["one_of"]

    def check(self, case: Case) -> Finding:
        output = self.comparable(output_text(case)).strip()
        for text in self.expected_texts(case):
            if self.comparable(text).strip() == output:
                return Finding(
                    score=1.0, value=text, label=text, explanation="the output is one of the texts"
                )
        return binary_finding(False, "the output is none of the texts")
