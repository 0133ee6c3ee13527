"""Text checks: equality with an expected text, and containment of one or several.

Texts are compared in Unicode normalisation form C, so that an accent written as one code point
or as two is the same letter; compatibility forms (full width, ligatures) stay different.
`ignore_case` compares case-folded text (ß equals ss).
"""

from __future__ import annotations

import unicodedata
from abc import abstractmethod
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from assay.criteria.base import TEXT_CHARS_MAX, Check, Finding
from assay.criteria.registry import criterion
from assay.domain.case_text import output_text, references
from assay.domain.evaluation import Case

VALUES_MAX = 1_000
QUOTED_CHARS_MAX = 200

Expected = Annotated[str, Field(max_length=TEXT_CHARS_MAX)]
NonEmpty = Annotated[str, Field(min_length=1, max_length=TEXT_CHARS_MAX)]
Values = Annotated[tuple[NonEmpty, ...], Field(min_length=1, max_length=VALUES_MAX)]


def comparable(text: str, *, ignore_case: bool = False) -> str:
    """The form in which texts are compared: NFC, case-folded where case is ignored."""
    normal = unicodedata.normalize("NFC", text)
    return unicodedata.normalize("NFC", normal.casefold()) if ignore_case else normal


def quoted(text: str) -> str:
    """A text for an explanation, cut where it is long."""
    return repr(text if len(text) <= QUOTED_CHARS_MAX else text[:QUOTED_CHARS_MAX] + "…")


def met(yes: bool, explanation: str, value: Any = None) -> Finding:
    """The finding of a check that holds or does not."""
    return Finding(
        score=1.0 if yes else 0.0, value=yes if value is None else value, explanation=explanation
    )


class _Comparison(Check):
    """Compares the output with one expected text; absent, any of the case's references will do."""

    family: ClassVar[str] = "text"
    scale: ClassVar[str] = "0 or 1"

    value: Expected | None = Field(
        default=None, description="The expected text; absent: the case's reference."
    )
    ignore_case: bool = Field(default=False, description="Compare without regard to case.")

    @abstractmethod
    def holds(self, output: str, expected: str) -> bool:
        """Whether the output meets the expected text; both in comparable form."""

    def check(self, case: Case) -> Finding:
        output = comparable(output_text(case), ignore_case=self.ignore_case)
        for expected in references(case) if self.value is None else (self.value,):
            if self.holds(output, comparable(expected, ignore_case=self.ignore_case)):
                return met(True, f"{self.type}: {quoted(expected)}")
        return met(False, f"not met, {self.type}: {quoted(expected)}")


@criterion
class Equals(_Comparison):
    """1 where the output is the expected text, else 0; `trim` ignores white space around both."""

    example: ClassVar = {"output": "Paris", "criteria": [{"type": "equals", "value": "Paris"}]}

    type: Literal["equals"]
    trim: bool = Field(default=False, description="Ignore white space around both texts.")

    def holds(self, output: str, expected: str) -> bool:
        return output.strip() == expected.strip() if self.trim else output == expected


@criterion
class Contains(_Comparison):
    """1 where the expected text occurs in the output, else 0."""

    example: ClassVar = {
        "output": "The capital is Paris.",
        "criteria": [{"type": "contains", "value": "Paris"}],
    }

    type: Literal["contains"]

    def holds(self, output: str, expected: str) -> bool:
        return expected in output


@criterion
class StartsWith(_Comparison):
    """1 where the output begins with the expected text, else 0."""

    example: ClassVar = {
        "output": "Dear Ada, …",
        "criteria": [{"type": "starts_with", "value": "Dear"}],
    }

    type: Literal["starts_with"]

    def holds(self, output: str, expected: str) -> bool:
        return output.startswith(expected)


@criterion
class EndsWith(_Comparison):
    """1 where the output ends with the expected text, else 0."""

    example: ClassVar = {
        "output": "Kind regards",
        "criteria": [{"type": "ends_with", "value": "regards"}],
    }

    type: Literal["ends_with"]

    def holds(self, output: str, expected: str) -> bool:
        return output.endswith(expected)


class _Selection(Check):
    """Compares the output with several texts; absent, they are the case's references."""

    family: ClassVar[str] = "text"

    values: Values | None = Field(
        default=None, description="The texts; absent: the case's references."
    )
    ignore_case: bool = Field(default=False, description="Compare without regard to case.")

    def expected(self, case: Case) -> tuple[str, ...]:
        return references(case) if self.values is None else self.values

    def form(self, text: str) -> str:
        return comparable(text, ignore_case=self.ignore_case)


@criterion
class ContainsAny(_Selection):
    """1 where at least one of the texts occurs in the output, else 0; `value` is the first."""

    scale: ClassVar[str] = "0 or 1"
    example: ClassVar = {
        "output": "Call the police.",
        "criteria": [{"type": "contains_any", "values": ["police", "ambulance"]}],
    }

    type: Literal["contains_any"]

    def check(self, case: Case) -> Finding:
        output = self.form(output_text(case))
        for text in self.expected(case):
            if self.form(text) in output:
                return met(True, f"contains {quoted(text)}", text)
        return met(False, "contains none of the texts")


@criterion
class ContainsNone(_Selection):
    """1 where none of the texts occurs in the output, else 0; `value` is how many do."""

    scale: ClassVar[str] = "0 or 1"
    example: ClassVar = {
        "output": "Thank you for waiting.",
        "criteria": [{"type": "contains_none", "values": ["as an AI", "guarantee"]}],
    }

    type: Literal["contains_none"]

    def check(self, case: Case) -> Finding:
        output = self.form(output_text(case))
        found = [text for text in self.expected(case) if self.form(text) in output]
        if found:
            return met(False, f"contains {quoted(found[0])}", len(found))
        return met(True, "contains none of the texts", 0)


@criterion
class ContainsAll(_Selection):
    """The share of the texts that occur in the output, 0 to 1; `value` is their number."""

    example: ClassVar = {
        "output": "Name: Ada. Age: 36.",
        "criteria": [{"type": "contains_all", "values": ["Name", "Age"]}],
    }

    type: Literal["contains_all"]

    def check(self, case: Case) -> Finding:
        output = self.form(output_text(case))
        expected = self.expected(case)
        missing = [text for text in expected if self.form(text) not in output]
        found = len(expected) - len(missing)
        lacks = f"; the first missing is {quoted(missing[0])}" if missing else ""
        return Finding(
            score=found / len(expected),
            value=found,
            explanation=f"contains {found} of {len(expected)} texts{lacks}",
        )


@criterion
class OneOf(_Selection):
    """1 where the output, trimmed, is one of the texts, else 0; `label` is the text it is."""

    scale: ClassVar[str] = "0 or 1"
    example: ClassVar = {
        "output": "positive",
        "criteria": [{"type": "one_of", "values": ["positive", "negative"]}],
    }

    type: Literal["one_of"]

    def check(self, case: Case) -> Finding:
        output = self.form(output_text(case)).strip()
        for text in self.expected(case):
            if self.form(text).strip() == output:
                return Finding(score=1.0, value=text, label=text, explanation="is one of the texts")
        return met(False, "is none of the texts")
