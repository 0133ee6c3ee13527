"""G-Eval: a score by criteria or steps, weighted by the probability of each number."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, StrictInt, model_validator
from pydantic_core import PydanticCustomError

from assay.criteria.base import Finding, Judged, Prose, Question
from assay.criteria.registry import criterion
from assay.domain.completion import Completion
from assay.domain.evaluation import Case
from assay.prompts.templates import render
from assay.prompts.untrusted import case_content
from assay.verdicts.logprobs import TOP_LOGPROBS, left_over, verdict_masses
from assay.verdicts.reading import read_score, score_schema

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
    min: StrictInt = Field(default=1, ge=0, le=SPAN_MAX)
    max: StrictInt = Field(default=5, ge=0, le=SPAN_MAX)
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
        return Question(
            instructions=render(
                "g_eval.v1", criteria=self.criteria, steps=self.steps, low=self.min, high=self.max
            ),
            content=case_content(case),
            answer=score_schema(self.min, self.max, integer=True),
            read=self._read,
            prompt_version="g_eval.v1",
            top_logprobs=TOP_LOGPROBS,
            samples_else=self.samples,
        )

    def _read(self, completion: Completion[object]) -> Finding:
        value, why = read_score(completion, self.min, self.max, integer=True)
        masses = verdict_masses(completion, self._number)
        # Numbers weighed without the one that was read belong to another place in the answer.
        if int(value) not in masses:
            return Finding(self._scaled(value), value=value, explanation=why)
        total = math.fsum(masses.values())
        mean = math.fsum(number * mass for number, mass in masses.items()) / total
        mean = max(float(self.min), min(float(self.max), mean))
        return Finding(
            self._scaled(mean), value=mean, explanation=why, probability_left=left_over(masses)
        )

    def _number(self, token: str) -> int | None:
        if not (token.isascii() and token.isdigit()):
            return None
        number = int(token)
        return number if self.min <= number <= self.max else None

    def _scaled(self, value: float) -> float:
        return (value - self.min) / (self.max - self.min)
