"""The ports that the layers above call; `Evaluator` and `Comparer` implement them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from assay.criteria.base import Criterion
from assay.domain.comparison import ComparisonOutcome
from assay.domain.completion import Caller
from assay.domain.evaluation import Case, EvaluationOutcome, JudgeSpec, NamedVersion, Text
from assay.domain.policy import CostBudget, Deadline
from assay.judging.generation import Generated, Generation


class Evaluates(Protocol):
    """The evaluation engine, as the layers above see it."""

    async def compile(
        self, criteria: Sequence[Criterion], *, caller: Caller, deadline: Deadline
    ) -> None:
        """Compile the patterns and schemas that parsing the criteria left aside.

        Raises `RequestError` (`invalid_request`) with the place of a fault, `Overloaded`, and
        `DeadlineExceeded`.
        """
        ...

    async def evaluate(
        self,
        case: Case,
        criteria: Sequence[Criterion],
        *,
        judge: JudgeSpec,
        caller: Caller,
        deadline: Deadline,
        metadata: Mapping[str, Any],
        named: NamedVersion | None = None,
    ) -> EvaluationOutcome:
        """All results, as those of the evaluator `named` if the criteria are from one.

        Raises `RequestError` if a judge or model is not configured.
        """
        ...

    async def generate(
        self, generation: Generation, case: Case, *, caller: Caller, deadline: Deadline
    ) -> Generated:
        """An output for the case; see `judging.generation.generate`."""
        ...


class Compares(Protocol):
    """The comparison of two outputs, as the layers above see it."""

    async def compare(
        self,
        case: Case,
        other: Text,
        rubric: str,
        *,
        judge: JudgeSpec,
        caller: Caller,
        deadline: Deadline,
        metadata: Mapping[str, Any],
        budget: CostBudget | None = None,
    ) -> ComparisonOutcome:
        """The winner; raises `RequestError` if a judge or model is not configured.

        Comparisons that share a `budget` keep to it together.
        """
        ...
