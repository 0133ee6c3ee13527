"""OpenAI's text similarity grader, accepted as it is."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError
from rapidfuzz import fuzz

from assay.criteria.base import TEXT_CHARS_MAX, Check, Finding
from assay.criteria.deterministic.ngram_metrics import bleu, cosine, gleu, meteor, rouge
from assay.criteria.deterministic.similarity import nearest
from assay.criteria.placeholders import checked, filled
from assay.criteria.registry import criterion
from assay.domain.evaluation import Case

Template = Annotated[str, Field(max_length=TEXT_CHARS_MAX)]
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
    "cosine": cosine,
    **{f"rouge_{variant.lower()}": partial(rouge, variant=variant) for variant in "12345L"},
}
INLINE_CHARS_MAX: Mapping[str, int] = {"fuzzy_match": 15_000, "cosine": 30_000}
"""By metric, see `Check.inline_chars`; the others import large libraries and never run inline."""


@criterion
class TextSimilarity(Check):
    """OpenAI's text similarity grader: how near `input` comes to `reference`, 0 to 1.

    Both are templates; where `reference` names the case's, the nearest of several counts. The
    texts are compared in Unicode form C, as they are otherwise. Two empty texts score 1, an
    empty one against another 0. `fuzzy_match` is rapidfuzz's `ratio`; `meteor` has no synonym
    stage; `cosine` counts words and asks no embedding model. Source:
    https://developers.openai.com/api/docs/guides/graders; the metrics' own in ngram_metrics.
    """

    family: ClassVar[str] = "similarity"
    default_threshold: ClassVar[float] = 0.5
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

    type: Literal["text_similarity"]
    evaluation_metric: Metric
    input: Template = "{{sample.output_text}}"
    reference: Template = "{{item.reference}}"
    pass_threshold: float | None = Field(
        default=None, ge=0, le=1, description="OpenAI's name for `threshold`."
    )

    @field_validator("input", "reference")
    @classmethod
    def _fillable(cls, template: str) -> str:
        return checked(template)

    @model_validator(mode="before")
    @classmethod
    def _one_threshold(cls, fields: Any) -> Any:
        if not isinstance(fields, Mapping) or fields.get("pass_threshold") is None:
            return fields
        if fields.get("threshold") not in (None, fields["pass_threshold"]):
            raise PydanticCustomError(
                "two_thresholds", "threshold and pass_threshold are the same; give one"
            )
        return {**fields, "threshold": fields["pass_threshold"]}

    def inline_chars(self) -> int:
        return INLINE_CHARS_MAX.get(self.evaluation_metric, 0)

    def check(self, case: Case) -> Finding:
        said = _normal(filled(self.input, case))
        cases = [replace(case, reference=(each,)) for each in case.reference] or [case]
        wanted = dict.fromkeys(_normal(filled(self.reference, each)) for each in cases)
        return nearest([self._likeness(said, each) for each in wanted])

    def _likeness(self, said: str, wanted: str) -> Finding:
        if not said.strip() or not wanted.strip():
            score = float(said.strip() == wanted.strip())
        else:
            score = METRICS[self.evaluation_metric](said, wanted)
        return Finding(score, value=score, explanation=f"{self.evaluation_metric} {score:.4f}")


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text)
