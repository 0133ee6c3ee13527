"""Compares two outputs: both orders are judged; a verdict that flips with the order is a tie."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from assay.criteria.base import Finding, Question
from assay.criteria.judged.preference import (
    PairVerdict,
    Position,
    pair_question,
    position_of,
    resolve_orders,
    swapped_back,
)
from assay.domain.case_text import transcript
from assay.domain.comparison import Comparison, ComparisonOutcome, OrderVerdict, Side, Winner
from assay.domain.completion import CallContext, Caller, to_ms, total_spent
from assay.domain.errors import TRANSIENT_REASONS, ModelError, NotApplicable, Reason
from assay.domain.evaluation import (
    Case,
    JudgeSpec,
    RetryAdvice,
    Suspicion,
    Text,
    Vote,
    latest,
    soonest,
)
from assay.domain.events import ComparisonFinished
from assay.domain.ids import new_id, now_ms, shown_time
from assay.domain.policy import CostBudget, Deadline
from assay.domain.ports import EventSink, Images, Judges
from assay.domain.tenants import OPEN_GATE, TenantGate
from assay.evaluation.selection import (
    BATCHES_ONLY,
    budget_for,
    call_context,
    check_calls,
    panel_for,
    refused,
)
from assay.judging.call import JudgeReply, RequestJudges
from assay.judging.concurrency import side_by_side
from assay.judging.judge import judge_record, suspicions_from, warned
from assay.judging.voting import Panel, collect_votes
from assay.prompts.untrusted import content_without_output
from assay.screening import Screener, masked

WINNERS: Mapping[Position, Winner] = {"first": "a", "second": "b", "tie": "tie"}
SIDES: tuple[Side, Side] = ("a", "b")
SAME_TEXT = PairVerdict("tie", consistent=True, preference=0.5)


@dataclass(frozen=True, slots=True)
class _JudgedOrder:
    """The verdict in one order; `finding` is seen from output a."""

    verdict: OrderVerdict
    finding: Finding | None
    retry: RetryAdvice | None
    suspect: tuple[Suspicion, ...]


_Pair = tuple[Case, Text]
_Judged = tuple[Sequence[_JudgedOrder], PairVerdict | None, Reason | None]
"""The verdict of all orders, or the reason for none."""


class Comparer:
    """Compares outputs in pairs."""

    def __init__(
        self,
        judges: Judges,
        screener: Screener,
        events: EventSink,
        images: Images,
        delimiter_key: bytes = b"",
        gate: TenantGate = OPEN_GATE,
    ) -> None:
        self._gate = gate
        self._judges = judges
        self._screener = screener
        self._events = events
        self._images = images
        self._delimiter_key = delimiter_key

    async def compare(
        self,
        case: Case,
        other: Text,
        rubric: str,
        *,
        judge: JudgeSpec,
        caller: Caller,
        deadline: Deadline,
        metadata: Mapping[str, Any] | None = None,
        budget: CostBudget | None = None,
    ) -> ComparisonOutcome:
        """Which is better by the rubric: the case's output (a) or the `other` (b).

        Raises `RequestError` (`unknown_model`) before any call is made; no other failure raises.
        Two outputs of the same text are a tie, and no judge is asked.
        """
        started_s = time.monotonic()
        _check_judge(judge)
        panel = panel_for(judge, "/judge", RequestJudges(self._judges, self._events))
        check_calls(comparison_calls(panel), self._gate.judge_calls_max(caller.tenant), "/judge")
        found: tuple[Suspicion, ...] = ()
        judged: _Judged = (), SAME_TEXT, None
        if transcript(case.output) != transcript(other):
            found = self._screener.screen_pair(case, other, judge.injection, caller)
            if judge.injection == "quarantine" and found:
                judged = (), None, "judge_suspect"
            else:
                context = await self._context(panel, caller, deadline, budget)
                judged = await self._load_and_judge((case, other), rubric, panel, context, found)
        orders, pair, reason = judged
        seen = () if judge.injection == "off" else _seen(orders)
        usage, cost_usd = total_spent(order.verdict for order in orders)
        comparison = Comparison(
            id=new_id("cmp"),
            created_at=shown_time(now_ms()),
            winner=WINNERS[pair.place] if pair else None,
            consistent=pair.consistent if pair else None,
            preference=pair.preference if pair else None,
            reason=reason,
            orders=tuple(order.verdict for order in orders),
            usage=usage,
            cost_usd=cost_usd,
            latency_ms=to_ms(time.monotonic() - started_s),
            simulated=any(order.verdict.simulated for order in orders),
            suspect=(*found, *seen),
            metadata={} if metadata is None else metadata,
        )
        return ComparisonOutcome(comparison, latest(order.retry for order in orders))

    async def _context(
        self, panel: Panel, caller: Caller, deadline: Deadline, budget: CostBudget | None
    ) -> CallContext:
        """The context of all calls, which are counted; raises `TenantLimited`."""
        calls, calls_max = comparison_calls(panel), self._gate.judge_calls_max(caller.tenant)
        await self._gate.count_judge_calls(caller.tenant, calls)
        budget = budget_for(panel.spec) if budget is None else budget
        context = call_context(panel, caller, deadline, budget, self._delimiter_key)
        return replace(context, parts_max=calls_max // calls - 1, criteria=("comparison",))

    async def _load_and_judge(
        self,
        pair: _Pair,
        rubric: str,
        panel: Panel,
        context: CallContext,
        found: Sequence[Suspicion],
    ) -> _Judged:
        """The verdict on the pair with its images, or the reason why no judge can be asked."""
        cases = [pair[0], Case(pair[1])]
        try:
            async with self._images.loaded(cases, context.deadline) as (case, other):
                return await self._judge((case, other.output), rubric, panel, context, found)
        except (NotApplicable, ModelError) as error:
            return [_unjudged(side, error) for side in SIDES], None, error.reason

    async def _judge(
        self,
        pair: _Pair,
        rubric: str,
        panel: Panel,
        context: CallContext,
        found: Sequence[Suspicion],
    ) -> _Judged:
        """Both orders under the judge's policy, in a pair where the search `found` this."""
        started_s, policy = time.monotonic(), panel.spec.injection
        orders, verdict, reason = await _judge_orders(pair, rubric, panel, context)
        seen = _seen(orders)
        if verdict and policy == "quarantine" and seen:
            verdict, reason = None, "judge_suspect"
        elif verdict and policy == "verify" and (found or seen):
            clean: _Pair = await asyncio.to_thread(masked, pair)
            again, second, why = await _judge_orders(
                clean, rubric, panel, context, is_warned=clean == pair
            )
            orders = (*orders, *again)
            if second is None or second.place != verdict.place:
                verdict, reason = None, why or "judge_suspect"
        self._screener.report(_seen(orders), {policy}, context.caller)
        kind = "unscored" if verdict is None else "consistent" if verdict.consistent else "flipped"
        seconds = time.monotonic() - started_s
        model = _served([order.verdict for order in orders])
        self._events.emit(ComparisonFinished(context.caller, model, kind, seconds))
        return orders, verdict, reason


async def _judge_orders(
    pair: _Pair, rubric: str, panel: Panel, context: CallContext, *, is_warned: bool = False
) -> _Judged:
    """Both orders, judged at the same time, with their verdict or the reason for none."""
    case, other = pair
    beside, identity = content_without_output(case), ("comparison", rubric)
    questions = [
        pair_question(rubric, case.output, other, beside, identity=identity),
        pair_question(rubric, other, case.output, beside, identity=identity),
    ]
    orders = await side_by_side(
        _judge_order(first, warned(question) if is_warned else question, panel, context)
        for first, question in zip(SIDES, questions, strict=True)
    )
    return orders, *_resolved(orders)


async def _judge_order(
    first: Side, question: Question[Finding], panel: Panel, context: CallContext
) -> _JudgedOrder:
    """The verdict in one order, by the outputs' names instead of their positions."""
    started_s = time.monotonic()
    votes = await collect_votes(question, panel, context)
    replies, finding = votes.replies, votes.finding
    seen = None if finding is None else _seen_from_a(first, finding)
    shown = [_to_vote(first, reply) for reply in replies] if len(replies) > 1 else []
    failure = votes.failure if finding is None else None
    usage, cost_usd = total_spent(replies)
    verdict = OrderVerdict(
        first=first,
        winner=WINNERS[position_of(seen)] if seen else None,
        preference=seen.score if seen else None,
        explanation=failure.message if failure else seen.explanation if seen else "",
        reason=failure.reason if failure else None,
        judge=judge_record([votes], shown),
        usage=usage,
        cost_usd=cost_usd,
        latency_ms=to_ms(time.monotonic() - started_s),
        cached=all(reply.cached for reply in replies),
        simulated=any(reply.simulated for reply in replies),
    )
    retry = soonest(reply.retry for reply in replies)
    retry = retry if verdict.reason in TRANSIENT_REASONS else None
    return _JudgedOrder(verdict, seen, retry, suspicions_from(replies))


def _unjudged(first: Side, error: NotApplicable | ModelError) -> _JudgedOrder:
    """An order in which no judge could be asked."""
    verdict = OrderVerdict(first, None, None, error.message, error.reason)
    return _JudgedOrder(verdict, None, None, ())


def _seen(orders: Sequence[_JudgedOrder]) -> tuple[Suspicion, ...]:
    """What the judges saw, each sign once."""
    return tuple(dict.fromkeys(suspicion for order in orders for suspicion in order.suspect))


def _resolved(orders: Sequence[_JudgedOrder]) -> tuple[PairVerdict | None, Reason | None]:
    """The verdict of both orders, or the reason why one of them has none."""
    straight, swapped = (order.finding for order in orders)
    if straight is not None and swapped is not None:
        return resolve_orders(straight, swapped), None
    return None, next(order.verdict.reason for order in orders if order.verdict.reason is not None)


def _seen_from_a(first: Side, finding: Finding) -> Finding:
    return finding if first == "a" else swapped_back(finding)


def _to_vote(first: Side, reply: JudgeReply[Finding]) -> Vote:
    """One of several verdicts in this order; its label is the winner's name."""
    if reply.verdict is None:
        return Vote(reply.provider, reply.model, explanation=reply.message, reason=reply.reason)
    seen = _seen_from_a(first, reply.verdict)
    winner = WINNERS[position_of(seen)]
    return Vote(
        reply.provider,
        reply.model,
        seen.score,
        winner,
        winner,
        explanation=seen.explanation,
        read_from=seen.read_from,
    )


def _served(orders: Sequence[OrderVerdict]) -> str:
    """The id of the model that judged both orders; empty if there were several."""
    ids = {attempt.model for order in orders if order.judge for attempt in order.judge.attempts}
    return ids.pop() if len(ids) == 1 else ""


def comparison_calls(panel: Panel) -> int:
    """The most judge calls for both orders."""
    return 2 * len(panel.members) * panel.spec.samples * panel.rounds


def _check_judge(judge: JudgeSpec) -> None:
    """Raise for a judge that compares nothing."""
    if judge.cascade is not None:
        raise refused("/judge/cascade", "judges criteria alone: use the criterion pairwise")
    if judge.service == "batch":
        raise refused("/judge/service", BATCHES_ONLY)
