"""Combines the results of all criteria: never a pass by default, never a made-up number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from assay.domain.evaluation import CriterionResult


def overall_score(results: Sequence[CriterionResult]) -> float | None:
    """The weighted mean of the scores, 0 to 1; None if nothing with a weight is scored."""
    scored = [(result.weight, result.score) for result in results if result.score is not None]
    total = sum(weight for weight, _ in scored)
    if total <= 0:
        return None
    # The mean of numbers within 0..1 may leave it by the last bit.
    return min(1.0, max(0.0, sum(weight * score for weight, score in scored) / total))


def overall_passed(results: Sequence[CriterionResult]) -> bool | None:
    """False if a scored criterion failed; None if none failed but one is unscored."""
    if any(result.status == "scored" and result.passed is False for result in results):
        return False
    return True if all(result.status == "scored" for result in results) else None


def overall_status(results: Sequence[CriterionResult]) -> Literal["completed", "partial"]:
    return "partial" if any(result.status == "unscored" for result in results) else "completed"
