"""How well retrieval ranked: the passages that were found, against those that are relevant.

`retrieved` is the ranking, best first; absent, the case's `context`. `relevant` are the ids or
texts that should be found; absent, the case's `reference`. They are compared in Unicode form C
and without surrounding white space. A repeated passage counts at its first rank; its repeats take
up their ranks and are not relevant.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, ValidatorFunctionWrapHandler, WrapValidator

from assay.criteria.base import TEXT_CHARS_MAX, Check, Finding
from assay.criteria.deterministic.normalization import comparable
from assay.criteria.registry import criterion
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case
from assay.domain.images import Image

PASSAGES_MAX = 10_000
GRADE_MAX = 100.0
GRADES_TRIED = 16

Passage = Annotated[str, Field(max_length=TEXT_CHARS_MAX)]
Passages = Annotated[tuple[Passage, ...], Field(max_length=PASSAGES_MAX, fail_fast=True)]
Grade = Annotated[float, Field(ge=0, le=GRADE_MAX)]


def _is_graded(value: Any) -> str:
    """The tag of the branch, so that the other one adds no faults."""
    return "<grades>" if isinstance(value, Mapping) else "<list>"


def _fail_early(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Look for faults in a few grades first: ten thousand texts would be ten thousand errors."""
    if isinstance(value, Mapping):
        check(dict(islice(value.items(), GRADES_TRIED)))
    return check(value)


Grades = Annotated[dict[Passage, Grade], Field(max_length=PASSAGES_MAX), WrapValidator(_fail_early)]
Relevant = Annotated[
    Annotated[Passages, Tag("<list>")] | Annotated[Grades, Tag("<grades>")],
    Discriminator(_is_graded),
]


class _RankingCheck(Check):
    """A metric of one ranking; `NotApplicable` without a ranking or without relevant passages."""

    family: ClassVar[str] = "retrieval"
    default_threshold: ClassVar[float] = 0.5
    inline_work_max: ClassVar[int] = 10_000

    retrieved: Passages | None = Field(
        default=None, description="Ids or texts, best first; absent: the case's context."
    )
    relevant: Relevant | None = Field(
        default=None,
        description="Ids or texts, or an object that maps them to grades (0 is not relevant); "
        "absent: the case's reference.",
    )
    k: int | None = Field(
        default=None,
        ge=1,
        le=PASSAGES_MAX,
        description="How many of the first ranks count; absent: all.",
    )

    def check(self, case: Case) -> Finding:
        grades = self._grades(case)
        gains = list(_gains(self._ranking(case), grades))
        depth = self.k or len(gains)
        score, explanation = self.metric(gains[:depth], depth, sorted(grades.values())[::-1])
        return Finding(score, value=score, explanation=explanation)

    @abstractmethod
    def metric(
        self, gains: Sequence[float], depth: int, ideal: Sequence[float]
    ) -> tuple[float, str]:
        """The score, 0 to 1, and its explanation.

        `gains` are the grades at the first `depth` ranks, 0 where not relevant; `ideal` are the
        grades of all relevant passages, highest first, at least one.
        """

    def _ranking(self, case: Case) -> Sequence[str]:
        if self.retrieved is not None:
            return self.retrieved
        if not case.context:
            raise NotApplicable(
                "context_missing", "the case has no context, and no retrieved is given"
            )
        return _texts(case.context)

    def _grades(self, case: Case) -> Mapping[str, float]:
        relevant = _texts(case.reference) if self.relevant is None else self.relevant
        graded = relevant if isinstance(relevant, Mapping) else dict.fromkeys(relevant, 1.0)
        grades = {_normalized(passage): grade for passage, grade in graded.items() if grade > 0}
        if not grades:
            raise NotApplicable("reference_missing", "no passage is given as relevant")
        return grades


def _texts(passages: Sequence[str | Image]) -> Sequence[str]:
    """The passages; raises `NotApplicable` where one is an image, which has a rank as well."""
    texts = [passage for passage in passages if isinstance(passage, str)]
    if len(texts) < len(passages):
        message = "A passage is an image, and the check reads texts."
        raise NotApplicable("input_unsupported", message)
    return texts


@criterion
class PrecisionAtK(_RankingCheck):
    """The share of the first k ranks that hold a relevant passage, 0 to 1.

    Ranks beyond the end of the ranking count as not relevant. Source: Manning et al.,
    "Introduction to Information Retrieval", 2008, section 8.4; as trec_eval computes P_k.
    """

    example: ClassVar = {
        "output": "…",
        "criteria": [
            {
                "type": "precision_at_k",
                "retrieved": ["d3", "d7", "d1", "d9"],
                "relevant": ["d1", "d2", "d3"],
                "k": 3,
            }
        ],
    }
    example_result: ClassVar = {"score": 2 / 3, "passed": True}

    type: Literal["precision_at_k"]

    def metric(
        self, gains: Sequence[float], depth: int, ideal: Sequence[float]
    ) -> tuple[float, str]:
        del ideal
        found = _relevant_count(gains)
        return (found / depth if depth else 0.0), f"{found} of the first {depth} are relevant"


@criterion
class RecallAtK(_RankingCheck):
    """The share of the relevant passages that are among the first k, 0 to 1.

    Source: Manning et al., 2008, section 8.4; as trec_eval computes recall_k.
    """

    example: ClassVar = {
        "output": "Paris has been the capital since 987.",
        "context": ["Paris is the capital.", "Lyon lies on the Rhône."],
        "reference": ["Paris is the capital.", "Hugh Capet chose Paris in 987."],
        "criteria": [{"type": "recall_at_k", "k": 2}],
    }
    example_result: ClassVar = {"score": 0.5, "passed": True}

    type: Literal["recall_at_k"]

    def metric(
        self, gains: Sequence[float], depth: int, ideal: Sequence[float]
    ) -> tuple[float, str]:
        found = _relevant_count(gains)
        return found / len(ideal), f"{found} of {len(ideal)} relevant are among the first {depth}"


@criterion
class Ndcg(_RankingCheck):
    """Normalized discounted cumulative gain of the first k ranks, 0 to 1.

    The gain at rank i is the grade, or 2^grade − 1 where `gain` is `exponential`, ÷ log2(i + 1);
    the sum is divided by that of the best possible ranking. Sources: Järvelin and Kekäläinen,
    "Cumulated gain-based evaluation of IR techniques", 2002; Burges et al., 2005.
    """

    example: ClassVar = {
        "output": "…",
        "criteria": [
            {
                "type": "ndcg",
                "retrieved": ["d1", "d2", "d3", "d4", "d5", "d6"],
                "relevant": {"d1": 3, "d2": 2, "d3": 3, "d5": 1, "d6": 2},
            }
        ],
    }
    example_result: ClassVar = {"score": 0.9608081943360617, "passed": True}

    type: Literal["ndcg"]
    gain: Literal["linear", "exponential"] = "linear"

    def metric(
        self, gains: Sequence[float], depth: int, ideal: Sequence[float]
    ) -> tuple[float, str]:
        reached, best = self._discounted(gains), self._discounted(ideal[:depth])
        score = min(1.0, reached / best) if best else 0.0
        return score, f"a gain of {reached:.3f}, {best:.3f} at best"

    def _discounted(self, gains: Sequence[float]) -> float:
        if self.gain == "exponential":
            gains = [2**gain - 1 for gain in gains]
        return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


@criterion
class Mrr(_RankingCheck):
    """The reciprocal rank of the first relevant passage, 0 where none is among the first k.

    Over many cases its mean is the mean reciprocal rank. Source: Voorhees, "The TREC-8 Question
    Answering Track Report", 1999.
    """

    example: ClassVar = {
        "output": "…",
        "criteria": [{"type": "mrr", "retrieved": ["d7", "d3"], "relevant": ["d3"]}],
    }
    example_result: ClassVar = {"score": 0.5, "passed": True}

    type: Literal["mrr"]

    def metric(
        self, gains: Sequence[float], depth: int, ideal: Sequence[float]
    ) -> tuple[float, str]:
        del ideal
        for rank, gain in enumerate(gains, 1):
            if gain:
                return 1 / rank, f"the first relevant passage is at rank {rank}"
        return 0.0, f"none of the first {depth} is relevant"


def _gains(ranking: Sequence[str], grades: Mapping[str, float]) -> Iterator[float]:
    seen: set[str] = set()
    for passage in map(_normalized, ranking):
        yield 0.0 if passage in seen else grades.get(passage, 0.0)
        seen.add(passage)


def _relevant_count(gains: Sequence[float]) -> int:
    return sum(gain > 0 for gain in gains)


def _normalized(passage: str) -> str:
    return comparable(passage).strip()
