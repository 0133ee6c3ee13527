"""Combines the results of all criteria: never a pass by default, never a made-up number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from assay.domain.completion import to_ms, total_spent
from assay.domain.evaluation import CriterionResult, Evaluation, EvaluatorRecord
from assay.domain.ids import new_id, now_ms, shown_time


def to_evaluation(
    results: tuple[CriterionResult, ...],
    evaluator: EvaluatorRecord,
    seconds: float,
    metadata: Mapping[str, Any],
) -> Evaluation:
    """All results, with what they add up to."""
    usage, cost_usd = total_spent(results)
    return Evaluation(
        id=new_id("eval"),
        created_at=shown_time(now_ms()),
        status=overall_status(results),
        passed=overall_passed(results),
        score=overall_score(results),
        results=results,
        usage=usage,
        cost_usd=cost_usd,
        latency_ms=to_ms(seconds),
        evaluator=evaluator,
        simulated=any(result.simulated for result in results),
        metadata=metadata,
    )


def overall_score(results: Sequence[CriterionResult]) -> float | None:
    """The weighted mean of the scores, 0 to 1; None if nothing with a weight is scored."""
    scored = [(result.weight, result.score) for result in results if result.score is not None]
    total = sum(weight for weight, _ in scored)
    if total <= 0:
        return None
    # The mean of numbers within 0..1 may leave it by the last bit.
    return min(1.0, max(0.0, sum(weight * score for weight, score in scored) / total))


def overall_passed(results: Sequence[CriterionResult]) -> bool | None:
    """False if a scored criterion failed; None if none failed but one is unscored.

    A criterion that was not asked because its condition does not hold leaves it to the others.
    """
    if any(result.status == "scored" and result.passed is False for result in results):
        return False
    asked = [result for result in results if result.reason != "condition_not_met"]
    return True if asked and all(result.status == "scored" for result in asked) else None


def overall_status(results: Sequence[CriterionResult]) -> Literal["completed", "partial"]:
    return "partial" if any(result.status == "unscored" for result in results) else "completed"
