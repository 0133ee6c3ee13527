"""Criteria that compare texts by their embeddings: how near in meaning the output is to others."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from assay.criteria.base import AsksModel, Finding, Judgement, Question, Verbatim
from assay.criteria.deterministic.findings import best_finding
from assay.criteria.registry import criterion
from assay.domain.case_text import output_text, reference_texts
from assay.domain.completion import Completion
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case, JudgeSpec
from assay.domain.vectors import cosine, vectors_from
from assay.verdicts.reader import PLAIN, Protocol, Reading

TEXTS_MAX = 64
"""Texts of one call. Gemini takes 100 and OpenAI 2,048; 64 embeddings of 3,072 numbers, as OpenAI
prints them, take 5 of the 8 MB that an answer may have."""
EMBEDDINGS = "embeddings"
"""Stands for the configured default where a criterion names no model."""
OUTPUT, REFERENCE = "Output", "Reference"


class TextsToEmbed(Verbatim[Finding]):
    """Texts for an embedding model; `finding` gets their vectors as the value of the reading ''."""

    def read(self, completion: Completion[object], _: Protocol = PLAIN) -> Judgement[Finding]:
        """What the vectors mean; raises `VectorsUnusable`."""
        vectors = vectors_from(completion.text, len(self.content))
        return Judgement(self.finding({"": Reading(vectors, "structured", "", "", 0, 0)}))


class Embedded(AsksModel):
    """The cosine between the embeddings of a text and of each expected one; the highest counts."""

    family: ClassVar[str] = "similarity"
    default_threshold: ClassVar[float] = 0.5

    model: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="The embedding model; absent: the configured one.",
    )

    def judged_by(self, default: JudgeSpec) -> JudgeSpec | None:
        """The models that embed: within the request's budget, and from the cache if it says so."""
        return JudgeSpec(
            name=EMBEDDINGS,
            kind="embedding",
            models=() if self.model is None else (self.model,),
            fallback=default.fallback,
            max_cost_usd=default.max_cost_usd,
            cache=default.cache,
            injection="off",
        )

    @abstractmethod
    def texts(self, case: Case) -> tuple[str, Sequence[str]]:
        """A text and what it is compared with, none of them blank; may raise `NotApplicable`."""

    def question(self, case: Case) -> Question[Finding]:
        return self.questions(case)[0]

    def questions(self, case: Case) -> Sequence[Question[Finding]]:
        """A call for as many expected texts as fit into one, each with the text itself."""
        text, expected = self.texts(case)
        calls = range(0, len(expected), TEXTS_MAX - 1)
        return [self._comparison(text, expected[i : i + TEXTS_MAX - 1]) for i in calls]

    def combined(self, findings: Sequence[Finding]) -> Finding:
        return best_finding(findings)

    def _comparison(self, text: str, expected: Sequence[str]) -> TextsToEmbed:
        return TextsToEmbed(
            task="",
            content=[(OUTPUT, text), *((REFERENCE, other) for other in expected)],
            scales={},
            finding=_nearest,
            prompt_version="embeddings.v1",
            max_output_tokens=0,
        )


def _nearest(readings: Mapping[str, Reading[Any]]) -> Finding:
    output, *expected = readings[""].value
    highest = max(cosine(output, vector) for vector in expected)
    return Finding(max(0.0, highest), value=highest, explanation=f"cosine {highest:.4f}")


@criterion
class SemanticSimilarity(Embedded):
    """How near the output is in meaning to the reference: the cosine of their embeddings.

    Of several references the nearest counts. `value` is the cosine, -1 to 1; the score is the same,
    and 0 where the cosine is negative. What a cosine means depends on the model: unrelated texts
    have 0.1 with one and 0.7 with another, so set `threshold` for yours. Blank texts, and texts
    longer than the model's window, are unscored. Source: Reimers and Gurevych, "Sentence-BERT",
    2019.
    """

    needs: ClassVar = ("reference",)
    example: ClassVar = {
        "output": "The Loire is the longest river in France.",
        "reference": "France's longest river is the Loire.",
        "criteria": [{"type": "semantic_similarity", "threshold": 0.8}],
    }

    type: Literal["semantic_similarity"]

    def texts(self, case: Case) -> tuple[str, Sequence[str]]:
        output, expected = output_text(case), list(dict.fromkeys(reference_texts(case)))
        if not output.strip():
            raise NotApplicable("check_error", "The output is blank: there is nothing to embed.")
        if not all(text.strip() for text in expected):
            raise NotApplicable("reference_missing", "A reference is blank.")
        return output, expected
