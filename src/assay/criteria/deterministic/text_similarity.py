"""OpenAI's text similarity grader, in OpenAI's own form."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from rapidfuzz import fuzz

from assay.criteria.base import Check, Finding
from assay.criteria.deterministic.findings import best_finding
from assay.criteria.deterministic.ngram_metrics import bleu, gleu, meteor, rouge
from assay.criteria.deterministic.normalization import comparable
from assay.criteria.deterministic.similarity import score_texts
from assay.criteria.embedded import Embedded
from assay.criteria.placeholders import (
    PLACEHOLDER,
    TemplateText,
    fill,
    fill_each,
    output_paths,
    template_work,
)
from assay.criteria.registry import criterion
from assay.domain.evaluation import Case, JudgeSpec

Metric = Literal[
    "fuzzy_match",
    "bleu",
    "gleu",
    "meteor",
    "cosine",
    "rouge_1",
    "rouge_2",
    "rouge_3",
    "rouge_4",
    "rouge_5",
    "rouge_l",
]


def fuzzy_match(output: str, reference: str) -> float:
    """The share of characters in common and in order: rapidfuzz's `ratio`, divided by 100."""
    return fuzz.ratio(output, reference) / 100


METRICS: Mapping[str, Callable[[str, str], float]] = {
    "fuzzy_match": fuzzy_match,
    "bleu": bleu,
    "gleu": gleu,
    "meteor": meteor,
    **{f"rouge_{variant.lower()}": partial(rouge, variant=variant) for variant in "12345L"},
}
INLINE_METRICS = ("fuzzy_match", *(name for name in METRICS if name.startswith("rouge")))
"""The other metrics import large libraries, and run only in worker processes."""


@criterion
class TextSimilarity(Check, Embedded):
    """OpenAI's text similarity grader: how similar `input` is to `reference`, 0 to 1.

    Both are templates; where the case has several references, the most similar counts. The texts
    are compared in Unicode form C and not changed otherwise. Two blank texts score 1, a blank
    text against another one 0. `fuzzy_match` is rapidfuzz's `ratio`; `meteor` has no synonym
    stage. `cosine` is that of embeddings, by `model`, as in `semantic_similarity`. Source:
    https://developers.openai.com/api/docs/guides/graders.
    """

    example: ClassVar = {
        "output": "the cat was found under the bed",
        "reference": "the cat was under the bed",
        "criteria": [
            {
                "type": "text_similarity",
                "input": "{{sample.output_text}}",
                "reference": "{{item.reference}}",
                "evaluation_metric": "rouge_l",
                "pass_threshold": 0.8,
            }
        ],
    }
    example_result: ClassVar = {"score": 12 / 13, "passed": True}

    inline_work_max: ClassVar[int] = 15_000

    type: Literal["text_similarity"]
    evaluation_metric: Metric
    input: TemplateText = "{{sample.output_text}}"
    reference: TemplateText = "{{item.reference}}"
    pass_threshold: float | None = Field(
        default=None, ge=0, le=1, description="OpenAI's name for `threshold`."
    )

    @model_validator(mode="before")
    @classmethod
    def _one_threshold(cls, fields: Any) -> Any:
        if not isinstance(fields, Mapping) or fields.get("pass_threshold") is None:
            return fields
        if fields.get("threshold") not in (None, fields["pass_threshold"]):
            raise PydanticCustomError(
                "two_thresholds",
                "has both threshold and pass_threshold, which mean the same; give one",
            )
        return {**fields, "threshold": fields["pass_threshold"]}

    @model_validator(mode="after")
    def _model_embeds(self) -> Self:
        if self.model is not None and self.evaluation_metric != "cosine":
            raise PydanticCustomError("no_embeddings", "model is for the metric cosine alone")
        return self

    def judged_by(self, default: JudgeSpec) -> JudgeSpec | None:
        return super().judged_by(default) if self.evaluation_metric == "cosine" else None

    @property
    def output_paths(self) -> tuple[str, ...]:
        return output_paths(PLACEHOLDER.findall(self.input + self.reference))

    def short_circuit(self, case: Case) -> Finding | None:
        output, expected = self._texts(case)
        others = [text for text in expected if text.strip()]
        if output.strip() and others:
            return None
        return self._found(float(not output.strip() and len(others) < len(expected)))

    def texts(self, case: Case) -> tuple[str, Sequence[str]]:
        output, expected = self._texts(case)
        return output, [text for text in expected if text.strip()]

    def work(self, size: int, case: Case) -> float:
        if self.evaluation_metric not in INLINE_METRICS:
            return math.inf
        comparisons = max(1, len(case.reference))
        return comparisons * template_work(size, case, self.input, self.reference)

    def load(self) -> None:
        METRICS[self.evaluation_metric]("a", "a")

    def check(self, case: Case) -> Finding:
        output, expected = self._texts(case)
        output, metric = comparable(output), METRICS[self.evaluation_metric]
        others = dict.fromkeys(map(comparable, expected))
        return best_finding(self._found(score_texts(metric, output, text)) for text in others)

    def _texts(self, case: Case) -> tuple[str, Sequence[str]]:
        """The filled `input`, and the filled `reference` for each reference of the case."""
        texts = [text for text in case.reference if isinstance(text, str)]
        cases = [replace(case, reference=(text,)) for text in texts] or [case]
        expected = dict.fromkeys(fill_each(self.reference, cases))
        return fill(self.input, case), list(expected)

    def _found(self, score: float) -> Finding:
        return Finding(score, value=score, explanation=f"{self.evaluation_metric} {score:.4f}")
