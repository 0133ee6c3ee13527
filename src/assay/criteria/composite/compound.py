"""What criteria that are made of others share, and the conditions on which a criterion is asked."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import ClassVar

from pydantic_core import PydanticCustomError

from assay.criteria.base import Criterion, Finding
from assay.criteria.composite.formula import Facts, Formula
from assay.domain.evaluation import CriterionResult
from assay.domain.expressions import ExpressionError


class Compound(Criterion):
    """A criterion whose verdict follows from those of its parts."""

    parts_field: ClassVar[str] = "graders"
    """The field that holds the parts."""

    @property
    @abstractmethod
    def parts(self) -> Mapping[str, Criterion]:
        """The criteria that it is made of, by their names in `parts_field`."""

    def needed(self, results: Mapping[str, CriterionResult]) -> Collection[str]:
        """The parts without which there is no verdict; all of them by default."""
        return results.keys()

    @abstractmethod
    def combine(self, results: Mapping[str, CriterionResult]) -> Finding:
        """The finding, where every needed part is scored; raises `NotApplicable`."""


def facts_from(results: Mapping[str, CriterionResult]) -> Facts:
    """What formulas can know of results."""
    facts: dict[object, object] = {}
    for name, result in results.items():
        facts[name, "status"], facts[name, "reason"] = result.status, result.reason
        if result.status == "scored":
            facts[name] = facts[name, "score"] = result.score
            facts[name, "passed"], facts[name, "label"] = result.passed, result.label
    return facts


def stated(results: Mapping[str, CriterionResult]) -> str:
    """The results in a few words, for an explanation."""
    return ", ".join(
        f"{name} {result.status if result.score is None else format(result.score, 'g')}"
        for name, result in results.items()
    )


def condition_of(criterion: Criterion, names: Collection[str]) -> Formula | None:
    """On which results of the criteria `names` it depends whether the criterion is asked.

    Raises `ExpressionError`.
    """
    if criterion.when is None:
        return None
    condition = Formula.parse(criterion.when, names, plain=False)
    condition.check_varies()
    if condition.kind == "number":
        raise ExpressionError("is a number, and must be a comparison")
    return condition


def condition_faults(criteria: Mapping[str, Criterion]) -> dict[str, PydanticCustomError]:
    """What is wrong with the conditions of criteria beside each other, by their names."""
    faults, needs = {}, {}
    for name, criterion in criteria.items():
        try:
            condition = condition_of(criterion, criteria)
        except ExpressionError as error:
            faults[name] = _fault(str(error))
        else:
            needs[name] = condition.names if condition is not None else ()
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1][::-1]
        faults[circle[0]] = _fault(f"depends on itself: {' needs '.join(circle)}")
    return faults


def _fault(message: str) -> PydanticCustomError:
    return PydanticCustomError("formula", "{fault}", {"fault": message[:1_000]})
