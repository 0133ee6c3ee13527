"""From what came of a criterion to the result that the caller reads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assay.criteria.base import Criterion, Finding
from assay.criteria.composite.compound import Compound, facts_from, stated
from assay.criteria.composite.formula import Formula, Undecided
from assay.domain.completion import NO_USAGE, Usage, total_spent
from assay.domain.errors import MOST_TELLING_FIRST, SKIP_REASONS, NotApplicable, Reason
from assay.domain.evaluation import CriterionResult, JudgeRecord, RetryAdvice, Suspicion
from assay.domain.expressions import ExpressionError

FAILED_CHECK = "The check itself failed."
"""All that a caller learns of an unexpected error: its own text could hold anything."""


@dataclass(frozen=True, slots=True)
class CriterionOutcome:
    """What came of a criterion: a finding or the reason for none, who judged, and what it took."""

    finding: Finding | None = None
    reason: Reason | None = None
    explanation: str = ""
    judge: JudgeRecord | None = None
    usage: Usage = NO_USAGE
    cost_usd: float = 0.0
    cached: bool = False
    simulated: bool = False
    retry: RetryAdvice | None = None
    suspect: tuple[Suspicion, ...] = ()


CHECK_FAILED = CriterionOutcome(reason="check_error", explanation=FAILED_CHECK)
SKIPPED = CriterionOutcome(
    reason="required_check_failed", explanation="A required check failed, so no judge was asked."
)


@dataclass(frozen=True, slots=True)
class Grade:
    """A finding's score and verdict as the criterion counts them: reversed where it is negated."""

    score: float
    passed: bool


def grade(criterion: Criterion, finding: Finding) -> Grade | None:
    """None where the finding's score is not a number from 0 to 1."""
    if not (math.isfinite(finding.score) and 0.0 <= finding.score <= 1.0):
        return None
    passed = finding.passed
    if passed is None:
        decisive = finding.own_score if criterion.threshold is None else finding.score
        passed = decisive >= criterion.passing_score()
    return (
        Grade(1.0 - finding.score, not passed) if criterion.negate else Grade(finding.score, passed)
    )


def combined_outcome(
    compound: Compound, results: Mapping[str, CriterionResult], retry: RetryAdvice | None
) -> CriterionOutcome:
    """What came of a compound criterion, from the results of all its parts."""
    parts = list(results.values())
    finding, reason, explanation = None, None, ""
    needed = compound.needed(results)
    failed = [(name, results[name]) for name in needed if results[name].status != "scored"]
    if failed:
        name, part = min(failed, key=lambda one: MOST_TELLING_FIRST.index(_reason(one[1])))
        reason, explanation = _reason(part), f"{name}: {part.explanation}"
    else:
        try:
            finding = compound.combine(results)
        except NotApplicable as error:
            reason, explanation = error.reason, error.message
    judged = [part for part in parts if part.judge is not None]
    usage, cost_usd = total_spent(parts)
    return CriterionOutcome(
        finding,
        reason,
        explanation,
        judge=_together([part.judge for part in judged if part.judge]),
        usage=usage,
        cost_usd=cost_usd,
        cached=bool(judged) and all(part.cached for part in judged),
        simulated=any(part.simulated for part in parts),
        retry=retry,
        suspect=tuple(dict.fromkeys(sign for part in parts for sign in part.suspect)),
    )


def unless_met(
    condition: Formula, results: Mapping[str, CriterionResult], retry: RetryAdvice | None
) -> CriterionOutcome | None:
    """What comes of a criterion where its condition does not hold of the results, or None.

    Where the condition needs a result without a score, the criterion has none for the same reason.
    """
    used = {name: results[name] for name in condition.names}
    try:
        if condition.value(facts_from(used)):
            return None
    except Undecided as error:
        result = used[error.name]
        why = f"The condition needs {error.name}: {result.explanation}"
        return CriterionOutcome(reason=_reason(result), explanation=why, retry=retry)
    except ExpressionError as error:
        return CriterionOutcome(reason="check_error", explanation=f"The condition {error}.")
    why = f"The condition does not hold: {stated(used)}."
    return CriterionOutcome(reason="condition_not_met", explanation=why)


def _reason(result: CriterionResult) -> Reason:
    return result.reason or "check_error"


def _together(judges: Sequence[JudgeRecord]) -> JudgeRecord | None:
    """Who judged the parts, and every call that they took."""
    if len(judges) < 2:  # noqa: PLR2004  # one record says it all
        return next(iter(judges), None)
    return JudgeRecord(
        provider=", ".join(dict.fromkeys(judge.provider for judge in judges)),
        model=", ".join(dict.fromkeys(judge.model for judge in judges)),
        requested=", ".join(dict.fromkeys(judge.requested for judge in judges)),
        prompt_version=", ".join(dict.fromkeys(judge.prompt_version for judge in judges)),
        score_method=judges[0].score_method,
        # Parts that share a call share its attempts.
        attempts=tuple(dict.fromkeys(one for judge in judges for one in judge.attempts)),
    )


def to_result(
    criterion: Criterion,
    outcome: CriterionOutcome,
    *,
    latency_ms: float = 0.0,
    suspect: tuple[Suspicion, ...] = (),
) -> CriterionResult:
    """The result of an outcome; a score that is not a number from 0 to 1 is a failed check.

    `suspect` is what the search found; what the judge saw is in the outcome.
    """
    finding, reason, explanation = outcome.finding, outcome.reason, outcome.explanation
    graded = None if finding is None else grade(criterion, finding)
    if finding is not None and graded is None:
        finding, reason, explanation = None, "check_error", FAILED_CHECK
    return CriterionResult(
        name=criterion.name or criterion.type,
        type=criterion.type,
        status="scored" if graded else "skipped" if reason in SKIP_REASONS else "unscored",
        score=graded.score if graded else None,
        value=finding.value if finding else None,
        label=finding.label if finding else None,
        passed=graded.passed if graded else None,
        threshold=criterion.passing_score(),
        weight=criterion.weight,
        explanation=finding.explanation if finding else explanation,
        reason=reason,
        judge=outcome.judge,
        usage=outcome.usage,
        cost_usd=outcome.cost_usd,
        latency_ms=latency_ms,
        cached=outcome.cached,
        simulated=outcome.simulated,
        suspect=(*suspect, *outcome.suspect),
    )
