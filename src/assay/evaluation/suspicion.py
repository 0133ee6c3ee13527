"""What follows where the search or the judge suspects a case: see `InjectionPolicy`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from assay.criteria.base import Criterion, Finding
from assay.criteria.results import CriterionOutcome, grade
from assay.domain.completion import total_spent
from assay.domain.evaluation import Case, JudgeRecord
from assay.judging.judge import Assignment, judge_criterion
from assay.judging.shared_call import judge_together
from assay.screening import Screening, held_back_because, masked

TOLERANCE = 0.15
"""How far two scores, 0 to 1, may differ and still be one verdict: less than a step of 1 to 5."""


async def apply_policy(
    outcomes: Sequence[CriterionOutcome],
    assignments: Sequence[Assignment],
    case: Case,
    screening: Screening,
) -> Sequence[CriterionOutcome]:
    """What stands of the outcomes of a group, under the policy of its judge."""
    policy = assignments[0].panel.spec.injection
    if policy == "off":
        return [replace(outcome, suspect=()) for outcome in outcomes]
    if policy == "quarantine":
        return [_held_back(outcome) for outcome in outcomes]
    if policy == "verify":
        return await _verify(outcomes, assignments, case, screening)
    return outcomes


def _held_back(outcome: CriterionOutcome) -> CriterionOutcome:
    """An outcome without its finding where the judge suspects the case."""
    if outcome.finding is None or not outcome.suspect:
        return outcome
    because = held_back_because(outcome.suspect)
    return replace(outcome, finding=None, reason="judge_suspect", explanation=because)


async def _verify(
    outcomes: Sequence[CriterionOutcome],
    assignments: Sequence[Assignment],
    case: Case,
    screening: Screening,
) -> Sequence[CriterionOutcome]:
    """The outcomes, where each that is in doubt stands up to a second question."""
    doubted = [
        number
        for number, outcome in enumerate(outcomes)
        if outcome.finding and outcome.judge and (screening.suspicions or outcome.suspect)
    ]
    if not doubted:
        return outcomes
    # It takes as long as the texts make it, so it takes turns with the event loop.
    clean = await asyncio.to_thread(masked, case)
    again = [replace(assignments[number], warned=clean == case) for number in doubted]
    verified = list(outcomes)
    if len(again) == 1:
        seconds = [await judge_criterion(again[0], clean)]
    else:
        seconds = await judge_together(again, clean)
    for number, second in zip(doubted, seconds, strict=True):
        verified[number] = _verified(assignments[number].criterion, outcomes[number], second)
    return verified


def _verified(
    criterion: Criterion, first: CriterionOutcome, second: CriterionOutcome
) -> CriterionOutcome:
    """The first outcome at the cost of both, unscored where the second does not confirm it."""
    usage, cost_usd = total_spent((first, second))
    both = replace(
        first,
        judge=with_attempts_of(first.judge, second.judge),
        usage=usage,
        cost_usd=cost_usd,
        cached=first.cached and second.cached,
        retry=second.retry,
        suspect=tuple(dict.fromkeys((*first.suspect, *second.suspect))),
    )
    if first.finding is None or second.finding is None:
        why = f"The verdict could not be verified. {second.explanation}"
        return replace(both, finding=None, reason=second.reason, explanation=why)
    if not _differ(criterion, first.finding, second.finding):
        return both
    why = (
        f"The verdict is {_stated(first.finding)} on the case as it is, and "
        f"{_stated(second.finding)} without what is suspect. First: {first.finding.explanation} "
        f"Then: {second.finding.explanation}"
    )
    return replace(both, finding=None, reason="judge_suspect", explanation=why)


def with_attempts_of(first: JudgeRecord | None, second: JudgeRecord | None) -> JudgeRecord | None:
    """The first record, with the calls of both."""
    if first is None or second is None:
        return first
    return replace(first, attempts=first.attempts + second.attempts)


def _differ(criterion: Criterion, first: Finding, second: Finding) -> bool:
    """Whether two findings are different verdicts."""
    one, other = grade(criterion, first), grade(criterion, second)
    if one is None or other is None:
        return one is not other
    return (one.passed, first.label) != (other.passed, second.label) or abs(
        one.score - other.score
    ) > TOLERANCE


def _stated(finding: Finding) -> str:
    if finding.label is not None:
        return f'"{finding.label}"'
    return f"{finding.value if isinstance(finding.value, int | float) else finding.score:g}"
