"""A judgement in two calls: the first writes what the judge is then asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from assay.criteria.base import Finding, ItemsQuestion, Question
from assay.criteria.results import CriterionOutcome
from assay.domain.completion import total_spent
from assay.domain.evaluation import Case
from assay.judging.call import JudgeReply, ask
from assay.judging.cascade import judge_group
from assay.judging.judge import Assignment, outcome_from
from assay.judging.long_input import fits, too_long
from assay.judging.voting import votes_from


async def judge_prepared(
    assignment: Assignment, case: Case
) -> tuple[Sequence[Assignment], Sequence[CriterionOutcome]]:
    """The assignment with the items that its first model writes, and its outcome.

    The items follow from the input alone. The cache keeps them for every output of the same input,
    also where it is not used for verdicts. Raises `NotApplicable`.
    """
    criterion = assignment.criterion
    question = criterion.preparation(case)
    if question is None:
        return [assignment], await judge_group([assignment], case)
    reply = await _written(question, assignment)
    panel = assignment.panel.parts[0]
    # The items are no verdict: the outcome is that of a judge who gave none.
    took: JudgeReply[Any] = replace(reply, verdict=None)
    first = outcome_from(
        criterion, [votes_from(cast("Question[Finding]", question), panel, [took])]
    )
    if reply.verdict is None:
        why = f"There is no checklist. {first.explanation}"
        return [assignment], [replace(first, explanation=why)]
    prepared = replace(assignment, criterion=criterion.with_items(reply.verdict))
    [then] = await judge_group([prepared], case)
    return [prepared], [_after(first, then)]


async def _written(question: ItemsQuestion, assignment: Assignment) -> JudgeReply[tuple[str, ...]]:
    member = assignment.panel.members[0]
    if not fits(question, member):
        return too_long(question, member)
    context = replace(assignment.context, cacheable=assignment.context.caller.store)
    return await ask(question, member, context)


def _after(first: CriterionOutcome, then: CriterionOutcome) -> CriterionOutcome:
    """The outcome of the judge's call, at the cost of both."""
    usage, cost_usd = total_spent((first, then))
    judges = [outcome.judge for outcome in (first, then) if outcome.judge]
    attempts = [attempt for judge in judges for attempt in judge.attempts]
    return replace(
        then,
        judge=then.judge and replace(then.judge, attempts=tuple(attempts)),
        usage=usage,
        cost_usd=cost_usd,
        cached=first.cached and then.cached,
        simulated=first.simulated or then.simulated,
    )
