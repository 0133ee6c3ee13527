"""What follows where the search or the judge suspects a case: see `InjectionPolicy`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from assay.criteria.base import Criterion, Finding
from assay.criteria.results import CriterionOutcome, grade
from assay.domain.completion import total_spent
from assay.domain.errors import Reason
from assay.domain.evaluation import Case, Suspicion
from assay.judging.cascade import judge_group
from assay.judging.judge import Assignment
from assay.screening import HELD_BACK, masked

TOLERANCE = 0.15
"""How far two scores, 0 to 1, may differ and still be one verdict: less than a step of 1 to 5."""


async def apply_policy(
    outcomes: Sequence[CriterionOutcome],
    assignments: Sequence[Assignment],
    case: Case,
    found: Sequence[Suspicion],
) -> Sequence[CriterionOutcome]:
    """What stands of the outcomes of a group in a case where the search `found` this."""
    policy = assignments[0].panel.spec.injection
    if policy == "off":
        return [replace(outcome, suspect=()) for outcome in outcomes]
    doubted = [
        number
        for number, outcome in enumerate(outcomes)
        if outcome.finding and outcome.judge and (found or outcome.suspect)
    ]
    stands = list(outcomes)
    if policy == "quarantine":
        for number in doubted:
            stands[number] = _without_finding(outcomes[number], "judge_suspect", HELD_BACK)
    elif policy == "verify" and doubted:
        # Masking takes as long as the texts make it, so it takes turns with the event loop.
        clean = await asyncio.to_thread(masked, case)
        again = [replace(assignments[number], warned=clean == case) for number in doubted]
        seconds = await judge_group(again, clean)
        for number, second in zip(doubted, seconds, strict=True):
            stands[number] = _verified(assignments[number].criterion, outcomes[number], second)
    return stands


def _without_finding(
    outcome: CriterionOutcome, reason: Reason | None, explanation: str
) -> CriterionOutcome:
    return replace(outcome, finding=None, reason=reason, explanation=explanation)


def _verified(
    criterion: Criterion, first: CriterionOutcome, second: CriterionOutcome
) -> CriterionOutcome:
    """The first outcome at the cost of both, unscored where the second does not confirm it."""
    usage, cost_usd = total_spent((first, second))
    attempts = [one for each in (first, second) if each.judge for one in each.judge.attempts]
    both = replace(
        first,
        judge=first.judge and replace(first.judge, attempts=tuple(attempts)),
        usage=usage,
        cost_usd=cost_usd,
        cached=first.cached and second.cached,
        retry=second.retry,
        suspect=tuple(dict.fromkeys((*first.suspect, *second.suspect))),
    )
    one, other = first.finding, second.finding
    if one is None or other is None:
        why = f"The verdict could not be verified. {second.explanation}"
        return _without_finding(both, second.reason, why)
    if not _differ(criterion, one, other):
        return both
    why = (
        f"The verdict is {_stated(one)} on the case as it is, and {_stated(other)} without what is "
        f"suspect. First: {one.explanation} Then: {other.explanation}"
    )
    return _without_finding(both, "judge_suspect", why)


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
