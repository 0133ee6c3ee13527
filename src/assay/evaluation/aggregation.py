"""From the scores of all criteria to one: never a pass by default, never a made-up number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from assay.domain.completion import NO_USAGE, Usage
from assay.domain.evaluation import CriterionResult


def overall_score(scores: Sequence[CriterionResult]) -> float | None:
    """The weighted mean of what was scored, 0 to 1; None where nothing with a weight was."""
    scored = [(each.weight, each.score) for each in scores if each.score is not None]
    total = sum(weight for weight, _ in scored)
    if total <= 0:
        return None
    # The mean of numbers within 0..1 may leave it by the last bit.
    return min(1.0, max(0.0, sum(weight * score for weight, score in scored) / total))


def overall_passed(scores: Sequence[CriterionResult]) -> bool | None:
    """False where a scored criterion failed; None where none did but one is unscored."""
    if any(each.status == "scored" and each.passed is False for each in scores):
        return False
    return True if all(each.status == "scored" for each in scores) else None


def overall_status(scores: Sequence[CriterionResult]) -> Literal["completed", "partial"]:
    return "partial" if any(each.status == "unscored" for each in scores) else "completed"


def total_usage(scores: Sequence[CriterionResult]) -> Usage:
    return sum((each.usage for each in scores), NO_USAGE)


def total_cost_usd(scores: Sequence[CriterionResult]) -> float:
    return sum(each.cost_usd for each in scores)
