"""Judges one after the other: the next, dearer one is asked where the one before is unsure.

After Jung, Brahman and Choi, Trust or Escalate: LLM Judges with Provable Guarantees for Human
Agreement (ICLR 2025).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from assay.criteria.results import CHECK_FAILED, CriterionOutcome, grade
from assay.domain.cascade import CascadeRecord, TierRecord
from assay.domain.completion import total_spent
from assay.domain.evaluation import Case
from assay.judging.judge import Assignment
from assay.judging.shared_call import judge_together


async def judge_group(assignments: Sequence[Assignment], case: Case) -> list[CriterionOutcome]:
    """The outcomes of criteria that `group_calls` put together, by one judge or by its tiers.

    Each tier judges those criteria together that no earlier one decided.
    """
    tiers = assignments[0].panel.tiers
    if not tiers:
        return await judge_together(assignments, case)
    courses = [_Course(assignment) for assignment in assignments]
    for number, tier in enumerate(tiers):
        going_on = [course for course in courses if course.goes_to(number)]
        if going_on:
            # Several votes are their own measure of how sure a judge is.
            weighed = tier.asks_once
            assigned = [
                replace(course.assignment, panel=tier, weighed=weighed) for course in going_on
            ]
            outcomes = await judge_together(assigned, case)
            for course, outcome in zip(going_on, outcomes, strict=True):
                course.add(number, outcome)
    return [course.outcome() for course in courses]


@dataclass(slots=True)
class _Course:
    """A criterion's course through the tiers, with the outcome of each tier that was asked."""

    assignment: Assignment
    outcomes: dict[int, CriterionOutcome] = field(default_factory=dict)
    accepted: int | None = None
    """The tier whose verdict was sure enough."""

    def goes_to(self, tier: int) -> bool:
        thresholds = self.assignment.thresholds
        return self.accepted is None and (thresholds is None or math.isfinite(thresholds[tier]))

    def add(self, tier: int, outcome: CriterionOutcome) -> None:
        thresholds, finding = self.assignment.thresholds, outcome.finding
        if finding is not None and grade(self.assignment.criterion, finding) is None:
            why = CHECK_FAILED.reason, CHECK_FAILED.explanation
            outcome = replace(outcome, finding=None, reason=why[0], explanation=why[1])
        elif finding is not None and thresholds is not None:
            is_sure = (finding.confidence or 0.0) >= thresholds[tier]
            self.accepted = tier if is_sure else None
        self.outcomes[tier] = outcome

    def outcome(self) -> CriterionOutcome:
        """The outcome of the tier that was sure enough, else of the last one, at the cost of all.

        A last tier without a verdict says why, since that may pass. One that is unsure decides, or
        leaves the criterion unscored, as the cascade says.
        """
        outcomes = list(self.outcomes.values())
        last, cascade = outcomes[-1], self.assignment.panel.spec.cascade
        if last.judge is None:
            return last  # none was needed
        judges = [outcome.judge for outcome in outcomes if outcome.judge is not None]
        attempts = tuple(attempt for judge in judges for attempt in judge.attempts)
        usage, cost_usd = total_spent(outcomes)
        whole = replace(
            last,
            judge=replace(last.judge, attempts=attempts, cascade=self._record()),
            usage=usage,
            cost_usd=cost_usd,
            cached=all(outcome.cached for outcome in outcomes),
            simulated=any(outcome.simulated for outcome in outcomes),
            suspect=tuple(dict.fromkeys(sign for one in outcomes for sign in one.suspect)),
        )
        stands = self.accepted is not None or self.assignment.thresholds is None
        if stands or last.finding is None or (cascade and cascade.otherwise == "last"):
            return whole
        why = f"No judge is sure enough of its verdict. The last one: {last.finding.explanation}"
        return replace(whole, finding=None, reason="judge_unsure", explanation=why)

    def _record(self) -> CascadeRecord:
        tiers = tuple(self._tier(number) for number in range(max(self.outcomes) + 1))
        holds = self.assignment.certified and self.accepted is not None
        return CascadeRecord(self.accepted, tiers, certified=holds)

    def _tier(self, number: int) -> TierRecord:
        model = self.assignment.panel.tiers[number].spec.requested
        outcome = self.outcomes.get(number)
        if outcome is None:
            return TierRecord(model)
        model = (outcome.judge and outcome.judge.model) or model
        finding = outcome.finding
        graded = None if finding is None else grade(self.assignment.criterion, finding)
        if finding is None or graded is None:
            return TierRecord(model, cost_usd=outcome.cost_usd, reason=outcome.reason)
        return TierRecord(
            model,
            passed=graded.passed,
            label=finding.label,
            score=graded.score,
            confidence=finding.confidence,
            cost_usd=outcome.cost_usd,
        )
