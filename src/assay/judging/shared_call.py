"""Several criteria of one case in one call: a long input is sent, and paid for, once.

Each criterion's verdict is read on its own. A criterion whose verdict cannot be read gets a
call of its own; so do all where nothing in the answer can be read. Where no judge could be reached,
more calls would only add to the load, and all are unscored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from assay.criteria.base import Finding, Question
from assay.criteria.results import CriterionOutcome
from assay.domain.completion import Usage, total_spent
from assay.domain.errors import (
    PROMPT_SPECIFIC_REASONS,
    AnswerUnreadable,
    NotApplicable,
)
from assay.domain.evaluation import Case, SharedCall
from assay.domain.faults import internal_fault
from assay.domain.ports import EventSink
from assay.domain.tokens import estimated_tokens
from assay.judging.call import JudgeReply, ask
from assay.judging.concurrency import side_by_side
from assay.judging.judge import Assignment, judge_criterion, outcome_from, questions_about
from assay.judging.long_input import ask_within_window, fits
from assay.judging.voting import votes_from
from assay.prompts.templates import render
from assay.verdicts.reader import Reading

SHARED_MAX = 8
"""Criteria in one call: with more of them, judges begin to mix them up."""
OUTPUT_TOKENS_EACH = 1_024


def group_calls(
    assignments: Mapping[int, Assignment], case: Case, events: EventSink
) -> list[dict[int, Assignment]]:
    """The criteria that share a call, together; each of the others by itself."""
    open_groups: dict[object, dict[int, Assignment]] = {}
    groups: list[dict[int, Assignment]] = []
    for index, assignment in assignments.items():
        question = _shareable(assignment, case, events)
        if question is None:
            groups.append({index: assignment})
            continue
        panel, context = assignment.panel, assignment.context
        key = (panel.spec, context.budget, tuple(question.content))
        group = open_groups.get(key)
        if group is None or len(group) == SHARED_MAX:
            group = open_groups[key] = {}
            groups.append(group)
        group[index] = assignment
    return groups


def _shareable(assignment: Assignment, case: Case, events: EventSink) -> Question[Finding] | None:
    """The criterion's only question, where it can stand beside others."""
    if not (assignment.panel.spec.batch_criteria and assignment.panel.asks_once):
        return None
    try:
        criterion = assignment.criterion
        if criterion.short_circuit(case) is not None or criterion.preparation(case) is not None:
            return None
        questions = criterion.questions(case)
    except NotApplicable:
        return None
    except Exception as error:  # noqa: BLE001  # it must not take the other criteria along
        request_id = assignment.context.caller.request_id
        events.emit(internal_fault("shared_call", error, request_id))
        return None
    first = questions[0]
    alone = len(questions) > 1 or first.top_logprobs or first.max_output_tokens
    return first if first.reasoning and not alone else None


@dataclass(frozen=True, slots=True)
class _Entry:
    """One criterion of a shared call: its question, and its key in the answer."""

    key: str
    assignment: Assignment
    question: Question[Finding]


async def judge_together(assignments: Sequence[Assignment], case: Case) -> list[CriterionOutcome]:
    """The outcomes of criteria with the same judge, in their order; in one call where it can be."""
    panel, context = assignments[0].panel, assignments[0].context
    if len(assignments) == 1 or not panel.asks_once:
        return await side_by_side(judge_criterion(assignment, case) for assignment in assignments)
    entries = [
        _Entry(f"c{number}", assignment, questions_about(assignment, case)[0])
        for number, assignment in enumerate(assignments, 1)
    ]
    questions = {entry.key: entry.question for entry in entries}
    shared = shared_question(questions)
    [member] = panel.members
    if not fits(shared, member):
        return await side_by_side(judge_criterion(assignment, case) for assignment in assignments)
    criteria = tuple(name for each in assignments for name in each.context.criteria)
    reply = await ask(shared, member, replace(context, criteria=criteria))
    record = _record(reply, shared, list(questions.values()))
    return await side_by_side(
        _outcome(entry, reply, reply.usage.part(number, len(entries)), record)
        for number, entry in enumerate(entries)
    )


async def _outcome(
    entry: _Entry, shared: JudgeReply[Mapping[str, Finding]], usage: Usage, record: SharedCall
) -> CriterionOutcome:
    """The outcome of one criterion: by the shared answer, else by a call of its own.

    `usage` is this criterion's part of the shared call's.
    """
    criterion, panel = entry.assignment.criterion, entry.assignment.panel
    question, context = entry.question, entry.assignment.context
    findings = shared.verdict or {}
    finding = findings.get(entry.key)
    own = JudgeReply(
        verdict=finding,
        reason=None if finding else shared.reason,
        message="" if finding else shared.message,
        provider=shared.provider,
        model=shared.model,
        attempts=shared.attempts,
        usage=usage,
        cost_usd=shared.cost_usd / record.criteria,
        cached=shared.cached,
        simulated=shared.simulated,
        retry=shared.retry,
        shared_call=record,
        manipulations=shared.manipulations,
    )
    if finding is None and (findings or shared.reason in PROMPT_SPECIFIC_REASONS):
        alone = await ask_within_window(question, panel.members[0], context)
        spent, cost_usd = total_spent((own, alone))
        own = replace(
            alone,
            attempts=(*own.attempts, *alone.attempts),
            usage=spent,
            cost_usd=cost_usd,
            shared_call=record,
            manipulations=own.manipulations + alone.manipulations,
        )
    else:
        version = f"shared.v4/{question.prompt_version}"
        question = replace(question, prompt_version=version)
    return outcome_from(criterion, [votes_from(question, panel, [own])])


def shared_question(
    questions: Mapping[str, Question[Finding]],
) -> Question[Mapping[str, Finding]]:
    """One question out of several about the same content; its finding has their keys."""
    scales = {
        _shared_name(key, name): scale
        for key, question in questions.items()
        for name, scale in question.scales.items()
    }
    tasks = [(key, question.task) for key, question in questions.items()]
    return Question(
        task=render("shared.v4", tasks=tasks),
        content=next(iter(questions.values())).content,
        scales=scales,
        finding=lambda readings: findings_from(readings, questions),
        prompt_version="shared.v4",
        max_output_tokens=OUTPUT_TOKENS_EACH * len(questions),
        identity=tuple(part for question in questions.values() for part in question.identity),
        tasks={
            _shared_name(key, name): question.instructions(name)
            for key, question in questions.items()
            for name in question.scales
        },
    )


def _shared_name(key: str, name: str) -> str:
    return f"{key}_{name}" if name else key


def findings_from(
    readings: Mapping[str, Reading[Any]], questions: Mapping[str, Question[Finding]]
) -> dict[str, Finding]:
    """The findings of those criteria whose verdicts were read; raises where there are none."""
    found: dict[str, Finding] = {}
    for key, question in questions.items():
        own = {
            name: readings[_shared_name(key, name)]
            for name in question.scales
            if _shared_name(key, name) in readings
        }
        with suppress(AnswerUnreadable):
            if own:
                found[key] = question.found(own)
    if not found:
        raise AnswerUnreadable("No verdict in the answer can be read.")
    return found


def _record(
    reply: JudgeReply[object],
    shared: Question[object],
    questions: Sequence[Question[Finding]],
) -> SharedCall:
    """What the call took, and how much more one call for each criterion would have taken.

    Estimated by the prompts' lengths, in the ratio that the provider's own count shows.
    """
    content = estimated_tokens(text for _, text in shared.content)
    together = estimated_tokens([shared.task]) + content
    apart = sum(estimated_tokens([question.task]) + content for question in questions)
    tokens = reply.usage.input_tokens
    saved = max(0, round(tokens * (apart / max(together, 1) - 1)))
    return SharedCall(len(questions), tokens, saved)
