"""Pairwise: the output against another text, judged in both orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from assay.criteria.base import TEXT_CHARS_MAX, Finding, Judged, Prose, Question
from assay.criteria.judged.preference import (
    PairFormat,
    Position,
    pair_question,
    position_of,
    resolve_orders,
    swapped_back,
)
from assay.criteria.registry import criterion
from assay.domain.case_text import references, transcript
from assay.domain.evaluation import Case, Text
from assay.prompts.untrusted import content_without_output

PairLabel = Annotated[str, Field(min_length=1, max_length=20, pattern=r"^[A-Za-z0-9 _-]+$")]
NAMES: dict[Position, str] = {"first": "output", "second": "other", "tie": "tie"}
SAME_TEXT = "Both are the same text, so no judge was asked."


@criterion
class Pairwise(Judged):
    """Whether the output is better (1) or worse (0) than another text, or as good (0.5).

    The other text is `against`, else the reference. Both orders are judged, and a verdict that
    flips with the order is a tie. Where the model gives log-probabilities, the score is the
    preference for the output: the share of its label's probability, mean of the orders.
    `label` is `output`, `other` or `tie`. The same text twice is a tie, and no judge is asked.
    """

    family: ClassVar[str] = "judged"
    default_threshold: ClassVar[float] = 0.5
    example: ClassVar[dict[str, Any]] = {
        "input": "Say hello.",
        "output": "Hello! How can I help?",
        "criteria": [
            {"type": "pairwise", "rubric": "Which greets more warmly?", "against": "Hello."}
        ],
    }

    type: Literal["pairwise"]
    rubric: Prose = Field(description="How the two are compared.")
    against: str | None = Field(
        default=None, min_length=1, max_length=TEXT_CHARS_MAX, description="The other text."
    )
    order: Literal["both", "output_first", "other_first"] = Field(
        default="both", description="One order costs half, and hides a bias for a position."
    )
    tie: bool = Field(default=True, description="Whether the judge may call it a tie.")
    reasoning: bool = Field(
        default=True, description="False: the judge answers with the bare label."
    )
    labels: tuple[PairLabel, PairLabel] = Field(
        default=("a", "b"),
        description="What the judge calls the first and the second text.",
        json_schema_extra={"uniqueItems": True},
    )

    @model_validator(mode="after")
    def _labels_differ(self) -> Self:
        if len({*self.labels, "tie"}) < len(self.labels) + 1:
            raise PydanticCustomError("labels_alike", "labels must be distinct, and not 'tie'")
        return self

    def short_circuit(self, case: Case) -> Finding | None:
        if transcript(case.output) != transcript(self._other(case)):
            return None
        return Finding(0.5, value="tie", label="tie", explanation=SAME_TEXT)

    def question(self, case: Case) -> Question[Finding]:
        return self.questions(case)[0]

    def calls_max(self, members: int, samples: int) -> int:
        return members * samples * (2 if self.order == "both" else 1)

    def questions(self, case: Case) -> Sequence[Question[Finding]]:
        output, other = case.output, self._other(case)
        form = PairFormat(self.labels, tie=self.tie, reasoning=self.reasoning, forms=self.forms)
        # The text that is compared must not be shown as an example of a right answer too.
        left = case.reference if self.against is not None else case.reference[1:]
        others = content_without_output(replace(case, reference=left))
        straight = pair_question(self.rubric, output, other, others, form)
        swapped = pair_question(self.rubric, other, output, others, form)
        return {
            "both": (straight, swapped),
            "output_first": (straight,),
            "other_first": (swapped,),
        }[self.order]

    def combined(self, findings: Sequence[Finding]) -> Finding:
        """The finding from the output's side: of one order, or of both together."""
        if self.order != "both":
            seen = findings[0] if self.order == "output_first" else swapped_back(findings[0])
            name = NAMES[position_of(seen)]
            return replace(seen, value=name, label=name)
        straight, swapped = findings[0], swapped_back(findings[1])
        both = resolve_orders(straight, swapped)
        name = NAMES[both.place]
        how = "in both orders" if both.consistent else "a tie, since it flips with the order"
        sure = [seen.confidence for seen in (straight, swapped) if seen.confidence is not None]
        known = len(sure) == len(findings)
        # Where the orders differ, neither of them says that it is a tie.
        return Finding(
            both.preference,
            value=name,
            label=name,
            explanation=f"{name}, {how}. {straight.explanation}".strip(),
            probability_left=max_left(straight, swapped),
            confidence=min(sure) * both.consistent if known else None,
        )

    def _other(self, case: Case) -> Text:
        other = references(case)[0] if self.against is None else self.against
        return other if isinstance(other, str) else ({"role": "assistant", "content": [other]},)


def max_left(*findings: Finding) -> float | None:
    """The largest probability left over, where all of them are weighted."""
    left = [found.probability_left for found in findings if found.probability_left is not None]
    return max(left) if len(left) == len(findings) else None
