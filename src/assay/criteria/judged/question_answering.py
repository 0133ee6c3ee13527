"""Judged answers to a question: how their facts relate to a reference, and closed questions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from assay.criteria.base import Finding, Judged, Prose, Question
from assay.criteria.judged.primitives import YES_OR_NO, finding_of, yes_is_one
from assay.criteria.registry import criterion
from assay.domain.case_text import references
from assay.domain.evaluation import Case
from assay.verdicts.reader import Reading
from assay.verdicts.scales import LabelScale

Relation = Literal["subset", "superset", "equal", "disagree", "immaterial"]

SCORES: Mapping[str, float] = {
    "subset": 0.4,
    "superset": 0.6,
    "equal": 1.0,
    "disagree": 0.0,
    "immaterial": 1.0,
}
LETTERS = dict(zip("ABCDE", SCORES, strict=True))
"""The letters that OpenAI's evals gave to the relations."""

RELATIONS = LabelScale(tuple(SCORES), LETTERS)

LetterScore = Annotated[float, Field(ge=0, le=1)]


@criterion
class Factuality(Judged):
    """How the facts of the output relate to those of the reference, as one of five relations.

    A subset (A, 0.4), superset (B, 0.6), equal (C, 1), disagree (D, 0), immaterial (E, 1: they
    differ in nothing that matters); `scores` gives others. `value` is the letter.
    Source: the factuality template of OpenAI's evals, and its scores in autoevals.
    """

    family: ClassVar[str] = "judged"
    default_threshold: ClassVar[float] = 0.5
    example: ClassVar[dict[str, Any]] = {
        "input": "When was the tower built?",
        "output": "In 1889, for the world's fair.",
        "reference": "It was built in 1889.",
        "criteria": [{"type": "factuality"}],
    }

    type: Literal["factuality"]
    scores: dict[Relation, LetterScore] = Field(
        default_factory=dict[Relation, LetterScore],
        description="What a relation is worth, 0 to 1, instead of its usual score.",
    )

    def question(self, case: Case) -> Question[Finding]:
        references(case)
        return self.ask(case, "factuality.v4", RELATIONS, self._finding)

    def _finding(self, readings: Mapping[str, Reading[Any]]) -> Finding:
        reading = readings[""]
        own = {str(name): worth for name, worth in self.scores.items()}
        score = own.get(reading.value, SCORES[reading.value])
        letter = next(letter for letter, name in LETTERS.items() if name == reading.value)
        return finding_of(reading, score, value=letter, label=reading.value)


@criterion
class ClosedQa(Judged):
    """A judge's yes (1) or no (0): does the output, as an answer to the input, meet the criterion?

    Source: the closed question-answering template of OpenAI's evals.
    """

    family: ClassVar[str] = "judged"
    example: ClassVar[dict[str, Any]] = {
        "input": "Which is the longest river of France?",
        "output": "The Loire.",
        "criteria": [{"type": "closed_qa", "criteria": "The answer names one river only."}],
    }

    type: Literal["closed_qa"]
    criteria: Prose = Field(description="What the answer must meet.")

    def question(self, case: Case) -> Question[Finding]:
        return self.ask(case, "closed_qa.v4", YES_OR_NO, yes_is_one, criteria=self.criteria)
