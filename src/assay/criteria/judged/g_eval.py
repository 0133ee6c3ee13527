"""G-Eval: a score by criteria or steps, weighted by the probability of each number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from assay.criteria.base import Finding, Judged, Prose, Question
from assay.criteria.judged.primitives import finding_of
from assay.criteria.registry import criterion
from assay.domain.evaluation import Case
from assay.verdicts.logprobs import TOP_LOGPROBS, left_over, verdict_masses
from assay.verdicts.reader import Reading
from assay.verdicts.scales import NumberScale

STEPS_MAX = 32
SPAN_MAX = 100


@criterion
class GEval(Judged):
    """A judge's whole number from `min` to `max`, by `criteria` or by the `steps` to take.

    Where the model gives log-probabilities, the value is the mean of the numbers it considered,
    weighted by their probabilities, and the judge's record shows the probability left over.
    Otherwise the question is asked `samples` times and the value is the mean. `score_method` says
    which. Liu et al., G-Eval: NLG Evaluation using GPT-4 with Better Human Alignment, 2023.
    """

    family: ClassVar[str] = "judged"
    default_threshold: ClassVar[float] = 0.5
    example: ClassVar[dict[str, Any]] = {
        "output": "The cat sat. Then rain. The cat was dry, since it was inside.",
        "criteria": [{"type": "g_eval", "criteria": "Coherence: do the sentences hang together?"}],
    }

    type: Literal["g_eval"]
    criteria: Prose | None = Field(default=None, description="What the number measures.")
    steps: Annotated[tuple[Prose, ...], Field(min_length=1, max_length=STEPS_MAX)] | None = Field(
        default=None, description="How to evaluate; absent: the judge derives it from `criteria`."
    )
    min: int = Field(default=1, ge=0, le=SPAN_MAX)
    max: int = Field(default=5, ge=0, le=SPAN_MAX)
    samples: int = Field(
        default=5, ge=1, le=32, description="How often to ask a model without log-probabilities."
    )

    @model_validator(mode="after")
    def _askable(self) -> Self:
        if self.criteria is None and self.steps is None:
            raise PydanticCustomError("nothing_asked", "needs criteria or steps")
        if self.min >= self.max:
            raise PydanticCustomError("range_empty", "min must be less than max")
        return self

    def question(self, case: Case) -> Question[Finding]:
        question = self.ask(
            case,
            "g_eval.v4",
            NumberScale(self.min, self.max, integer=True),
            self._finding,
            criteria=self.criteria,
            steps=self.steps,
            low=self.min,
            high=self.max,
        )
        return replace(question, top_logprobs=TOP_LOGPROBS, samples_else=self.samples)

    def calls_max(self, members: int, samples: int) -> int:
        # One answer without log-probabilities is followed by more.
        return max(members * samples, self.samples if members * samples == 1 else 1)

    def _finding(self, readings: Mapping[str, Reading[Any]]) -> Finding:
        reading = readings[""]
        masses = verdict_masses(reading.token, self._number)
        # A token that is only a part of the number says nothing about the whole.
        if reading.value not in masses:
            return finding_of(reading, self._scaled(reading.value))
        total = math.fsum(masses.values())
        mean = math.fsum(number * mass for number, mass in masses.items()) / total
        mean = max(float(self.min), min(float(self.max), mean))
        weighed = finding_of(reading, self._scaled(mean), value=mean)
        sure = masses[reading.value]
        return replace(weighed, probability_left=left_over(masses), confidence=sure)

    def _number(self, token: str) -> int | None:
        if not (token.isascii() and token.isdigit()):
            return None
        number = int(token)
        return number if self.min <= number <= self.max else None

    def _scaled(self, value: float) -> float:
        return (value - self.min) / (self.max - self.min)
