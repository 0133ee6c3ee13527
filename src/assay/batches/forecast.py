"""What a batch would take, estimated from a sample of its rows; nothing is sent."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from statistics import fmean, stdev
from typing import Any

from assay.batches.creation import BatchRequestSpec
from assay.catalog.stores import OpenStores
from assay.criteria.base import Finding, Question
from assay.criteria.judge import judge_spec
from assay.domain.completion import NO_USAGE, CallContext, Caller, Prompt, Usage
from assay.domain.errors import NotApplicable, QuestionUnsupported
from assay.domain.evaluation import Case
from assay.domain.exact_json import loads
from assay.domain.policy import Deadline
from assay.domain.ports import Estimator, Judges, PanelMember
from assay.evaluation.selection import judges_of, with_parts
from assay.judging.judge import Assignment, questions_about
from assay.judging.prompt import to_prompt

SAMPLED_ROWS_MAX = 100
SAMPLED_BYTES_MAX = 8 * 1024 * 1024
CHARS_PER_TOKEN = 4
ITEM_CHARS_USUAL = 100
"""Of an item of a checklist that is still to be written."""
Z95 = 1.96


@dataclass(frozen=True, slots=True)
class _Taken:
    """What calls to one model take."""

    calls: float = 0.0
    usage: Usage = NO_USAGE
    cost_usd: float = 0.0

    def with_calls(self, calls: float, one: Usage, model_cost_usd: float) -> _Taken:
        usage = Usage(round(one.input_tokens * calls), round(one.output_tokens * calls))
        return _Taken(
            self.calls + calls, self.usage + usage, self.cost_usd + model_cost_usd * calls
        )


async def forecast(
    spec: BatchRequestSpec,
    inline: Sequence[Mapping[str, Any]],
    judges: Judges,
    open_stores: OpenStores,
) -> dict[str, Any]:
    """Calls, tokens, cost and time of the whole batch; without rows, all of it is 0.

    Each judge's first model is taken to serve all of its calls, and no call to be repeated. Of a
    cascade, every tier is taken to be asked, and every condition to hold: it is at most that.
    """
    rows, total = list(inline)[:SAMPLED_ROWS_MAX], len(inline)
    if spec.dataset is not None:
        datasets = (await open_stores()).datasets
        total = await datasets.count(spec.dataset, spec.wanted)
        found = await datasets.sample(spec.dataset, SAMPLED_ROWS_MAX, spec.wanted)
        rows = [loads(item.body) for item in found]
    assignments = _assignments(spec, judges)
    taken: dict[str, _Taken] = {}
    estimators: dict[str, Estimator] = {}
    costs: list[float] = []
    size = 0
    for row in rows:
        if size > SAMPLED_BYTES_MAX:
            break
        before = sum(one.cost_usd for one in taken.values())
        case = Case.from_fields({"output": "", **row})
        size += _take_row(spec, case, judges, assignments, taken, estimators)
        costs.append(sum(one.cost_usd for one in taken.values()) - before)
        await asyncio.sleep(0)
    has_cascade = any(assignment.panel.tiers for assignment in assignments)
    has_condition = any(placed.conditions for placed in with_parts(spec.parsed))
    at_most = has_cascade or has_condition
    return _document(total, costs, taken, estimators, is_upper_bound=at_most)


def _assignments(spec: BatchRequestSpec, judges: Judges) -> list[Assignment]:
    context = CallContext(Caller(spec.tenant), Deadline.after(math.inf))
    chosen = judges_of(spec.parsed, judge_spec(spec.judge), judges)
    return [Assignment(criterion, panel, context) for criterion, panel in chosen.values()]


def _take_row(
    spec: BatchRequestSpec,
    case: Case,
    judges: Judges,
    assignments: Sequence[Assignment],
    taken: dict[str, _Taken],
    estimators: dict[str, Estimator],
) -> int:
    """Add what one row takes to `taken`; the size of what would be sent, in characters."""
    size = 0

    def take(member: PanelMember, prompt: Prompt[Any], calls: float) -> Usage:
        nonlocal size
        estimator = member.estimator
        try:
            asked = prompt.for_model(estimator.model)
        except QuestionUnsupported:
            return NO_USAGE  # it is not asked
        size += asked.size
        usage, id_ = estimator.tokens(asked), estimator.model.id
        estimators[id_] = estimator
        cost_usd = estimator.model.cost_usd(usage)
        taken[id_] = taken.get(id_, _Taken()).with_calls(calls, usage, cost_usd)
        return usage

    try:
        if spec.generation is not None:
            (member,) = judges.panel(spec.generation.spec)
            made = take(member, spec.generation.prompt(case), 1)
            case = replace(
                case, output="word" * (made.output_tokens * CHARS_PER_TOKEN // 4), sample=None
            )
    except NotApplicable:
        return size
    for assignment in assignments:
        questions = _questions(assignment, case, take)
        for part, question in product(assignment.panel.parts, questions):
            calls = assignment.criterion.calls_max(1, part.spec.samples) * part.rounds
            for member in part.members:
                prompt = to_prompt(question, member.spec, assignment.context)
                take(member, prompt, calls / len(questions))
    return size


def _questions(
    assignment: Assignment, case: Case, take: Callable[[PanelMember, Prompt[Any], float], Usage]
) -> Sequence[Question[Finding]]:
    """What a criterion would ask about the case, once the call that prepares it is taken."""
    criterion = assignment.criterion
    try:
        if criterion.short_circuit(case) is not None:
            return ()
        if (first := criterion.preparation(case)) is not None:
            writer = assignment.panel.parts[0].members[0]
            take(writer, to_prompt(first, writer.spec, assignment.context), 1)
            longest = criterion.with_items(("x" * ITEM_CHARS_USUAL,) * first.items_max)
            assignment = replace(assignment, criterion=longest)
        return questions_about(assignment, case)
    except NotApplicable:
        return ()


def _document(
    total: int,
    costs: Sequence[float],
    taken: Mapping[str, _Taken],
    estimators: Mapping[str, Estimator],
    *,
    is_upper_bound: bool,
) -> dict[str, Any]:
    scale = total / len(costs) if costs else 0.0
    models = [_model(estimators[id_], one, scale) for id_, one in taken.items()]
    times = [model["duration_s"] for model in models if model["duration_s"] is not None]
    priced = all(model["cost_usd"] is not None for model in models)
    mean = fmean(costs) if costs else 0.0
    interval = None
    if priced and 1 < len(costs) < total:
        # Of a sample without replacement: the rows that were seen are known.
        unseen = math.sqrt(1 - len(costs) / total)
        half = Z95 * stdev(costs) / math.sqrt(len(costs)) * unseen
        interval = (max(0.0, mean - half) * total, (mean + half) * total)
    return {
        "object": "batch.forecast",
        "rows": total,
        "sampled_rows": len(costs),
        "models": models,
        "calls": sum(model["calls"] for model in models),
        "is_upper_bound": is_upper_bound,
        "cost_usd": mean * total if priced else None,
        "cost_usd_ci95": interval,
        "duration_s": max(times, default=None),
    }


def _model(estimator: Estimator, taken: _Taken, scale: float) -> dict[str, Any]:
    model, quota, calls = estimator.model, estimator.quota, taken.calls * scale
    input_tokens, output_tokens = (
        taken.usage.input_tokens * scale,
        taken.usage.output_tokens * scale,
    )
    minutes = [
        wanted / per_minute
        for wanted, per_minute in (
            (calls, quota.requests_per_minute),
            (input_tokens + output_tokens, quota.tokens_per_minute),
        )
        if per_minute
    ]
    return {
        "model": model.id,
        "calls": calls,
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "cost_usd": taken.cost_usd * scale if model.is_priced else None,
        "duration_s": max(minutes) * 60 if minutes else None,
    }
