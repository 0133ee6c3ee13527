"""Whether the output states the expected number."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import ClassVar, Literal

from pydantic import Field

from assay.criteria.base import Check, Finding
from assay.criteria.deterministic.findings import binary_finding
from assay.criteria.deterministic.numbers import stated_numbers, to_json_number
from assay.criteria.registry import criterion
from assay.domain.case_text import output_text, reference_texts
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case

PAIRS_MAX = 100_000
"""Numbers of the output times expected numbers."""
REL_TOLERANCE = Fraction(1, 10**9)
ANSWER_MARK = "####"
"""What the references of GSM8K, and of data sets like it, put before the answer."""


@criterion
class Numeric(Check):
    """1 where the output's number equals the expected one within a tolerance, else 0.

    `which` selects one of several numbers in the output: the `last` one (the default, because
    answers tend to come last), the `first`, or the nearest of `any`. `value` is the number that
    was compared. Without a `value`, the expected number is the reference's: the one after `####`,
    or else its last. The tolerance is |output − expected| ≤ max(`abs_tolerance`,
    `rel_tolerance` × |expected|); by default whole numbers must be equal in every digit.

    Digits may be of any script, with a decimal point and with thousands set off by commas,
    apostrophes or spaces. A decimal comma makes a number unreadable, never two numbers. A number
    counts at face value: of 60 %, $60 and 60 kg it is 60. A fraction counts as its quotient, or
    as its numerator: 8/10 is 0.8, and a mark of 8. Letters of the Latin script next to the digits
    make them a part of a word, unless they are a common unit.
    """

    family: ClassVar[str] = "text"
    scale: ClassVar[str] = "0 or 1"
    inline_work_max: ClassVar[int] = 1_000
    """Every second character is a number at the worst, and each takes about 3 µs to read."""
    example: ClassVar = {
        "output": "The total is 1,024.5 kg.",
        "criteria": [{"type": "numeric", "value": 1024.5, "abs_tolerance": 0.1}],
    }

    type: Literal["numeric"]
    value: int | float | None = Field(default=None, description="Absent: the case's reference.")
    abs_tolerance: float = Field(default=0.0, ge=0)
    rel_tolerance: float | None = Field(
        default=None, ge=0, description="Absent: 0 between whole numbers, else 1e-9."
    )
    which: Literal["first", "last", "any"] = "last"

    def work(self, size: int, case: Case) -> float:
        """With `any`, each number of the output is compared with each reference."""
        return size * (max(1, len(case.reference)) if self.which == "any" else 1)

    def check(self, case: Case) -> Finding:
        expected = self._expected(case)
        stated = stated_numbers(output_text(case))
        if not stated:
            return Finding(0.0, explanation="the output states no number that can be read")
        if self.which != "any":
            stated = [stated[0 if self.which == "first" else -1]]
        if len(stated) * len(expected) > PAIRS_MAX:
            raise NotApplicable("input_too_long", f"there are more than {PAIRS_MAX} comparisons")
        pairs = [(read, wanted) for readings in stated for read in readings for wanted in expected]
        distance, nearest = min((abs(read - wanted), read) for read, wanted in pairs)
        holds = any(self._within_tolerance(read, wanted) for read, wanted in pairs)
        value = to_json_number(nearest)
        shown = str(value) if isinstance(value, int) else f"{value:.15g}"
        away = f"{float(distance):g} away from the expected number"
        explanation = f"the output states {shown}, {away}"
        return binary_finding(holds, explanation, value)

    def _expected(self, case: Case) -> Sequence[Fraction]:
        if self.value is not None:
            return [Fraction(str(self.value))]
        parts = [text.rpartition(ANSWER_MARK) for text in reference_texts(case)]
        answers = [(stated_numbers(answer), 0 if mark else -1) for _, mark, answer in parts]
        numbers = [stated[place][0] for stated, place in answers if stated]
        if not numbers:
            raise NotApplicable(
                "reference_missing", "the case's reference states no number that can be read"
            )
        return numbers

    def _within_tolerance(self, read: Fraction, wanted: Fraction) -> bool:
        if self.rel_tolerance is not None:
            relative = Fraction(str(self.rel_tolerance))
        else:
            both_whole = read.denominator == wanted.denominator == 1
            relative = Fraction(0) if both_whole else REL_TOLERANCE
        return abs(read - wanted) <= max(Fraction(str(self.abs_tolerance)), relative * abs(wanted))
