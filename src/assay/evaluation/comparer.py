"""Compares two outputs: both orders are judged; a verdict that flips with the order is a tie."""

from __future__ import annotations

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
from assay.domain.errors import TRANSIENT_REASONS, Reason
from assay.domain.evaluation import Case, JudgeSpec, RetryAdvice, Text, Vote, latest, soonest
from assay.domain.events import ComparisonFinished
from assay.domain.ids import new_id, now_ms, shown_time
from assay.domain.policy import Deadline
from assay.domain.ports import EventSink, Judges
from assay.domain.tenants import OPEN_GATE, TenantGate
from assay.evaluation.selection import budget_for, call_context, check_calls, panel_for
from assay.judging.call import JudgeReply, RequestJudges
from assay.judging.concurrency import side_by_side
from assay.judging.judge import judge_record
from assay.judging.voting import Panel, collect_votes
from assay.prompts.untrusted import content_without_output
from assay.screening import Screener, Screening

WINNERS: Mapping[Position, Winner] = {"first": "a", "second": "b", "tie": "tie"}
SAME_TEXT = PairVerdict("tie", consistent=True, preference=0.5)


@dataclass(frozen=True, slots=True)
class _JudgedOrder:
    """The verdict in one order; `finding` is seen from output a."""

    verdict: OrderVerdict
    finding: Finding | None
    retry: RetryAdvice | None


class Comparer:
    """Compares outputs in pairs."""

    def __init__(
        self,
        judges: Judges,
        screener: Screener,
        events: EventSink,
        delimiter_key: bytes = b"",
        gate: TenantGate = OPEN_GATE,
    ) -> None:
        self._gate = gate
        self._judges = judges
        self._screener = screener
        self._events = events
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
    ) -> ComparisonOutcome:
        """Which is better by the rubric: the case's output (a) or the `other` (b).

        Raises `RequestError` (`unknown_model`) before any call is made; no other failure raises.
        Two outputs of the same text are a tie, and no judge is asked.
        """
        started_s = time.monotonic()
        panel = panel_for(judge, "/judge", RequestJudges(self._judges, self._events))
        check_calls(_calls(panel), self._gate.judge_calls_max(caller.tenant), "/judge")
        screening = Screening()
        orders: Sequence[_JudgedOrder] = ()
        pair: PairVerdict | None = SAME_TEXT
        reason: Reason | None = None
        if transcript(case.output) != transcript(other):
            screening = await self._screener.screen_pair(case, other, judge.injection, caller)
            if screening.holds_back(judge.injection):
                pair, reason = None, "judge_suspect"
            else:
                context = await self._context(panel, caller, deadline)
                orders, pair, reason = await self._judge(case, other, rubric, panel, context)
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
            suspect=screening.shown_under(judge.injection),
            metadata={} if metadata is None else metadata,
        )
        return ComparisonOutcome(comparison, latest(order.retry for order in orders))

    async def _context(self, panel: Panel, caller: Caller, deadline: Deadline) -> CallContext:
        """The context of all calls, which are counted; raises `TenantLimited`."""
        calls, calls_max = _calls(panel), self._gate.judge_calls_max(caller.tenant)
        await self._gate.count_judge_calls(caller.tenant, calls)
        budget = budget_for(panel.spec)
        context = call_context(panel, caller, deadline, budget, self._delimiter_key)
        return replace(context, parts_max=calls_max // calls - 1)

    async def _judge(
        self, case: Case, other: Text, rubric: str, panel: Panel, context: CallContext
    ) -> tuple[Sequence[_JudgedOrder], PairVerdict | None, Reason | None]:
        """Both orders, judged at the same time, with their verdict or the reason for none."""
        started_s = time.monotonic()
        beside, identity = content_without_output(case), ("comparison", rubric)
        straight = pair_question(rubric, case.output, other, beside, identity=identity)
        swapped = pair_question(rubric, other, case.output, beside, identity=identity)
        orders = await side_by_side(
            [
                _judge_order("a", straight, panel, context),
                _judge_order("b", swapped, panel, context),
            ]
        )
        pair, reason = _resolved(orders)
        outcome = "unscored" if pair is None else "consistent" if pair.consistent else "flipped"
        seconds = time.monotonic() - started_s
        model = _served([order.verdict for order in orders])
        self._events.emit(ComparisonFinished(context.caller, model, outcome, seconds))
        return orders, pair, reason


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
    return _JudgedOrder(verdict, seen, retry if verdict.reason in TRANSIENT_REASONS else None)


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


def _calls(panel: Panel) -> int:
    """The judge calls for both orders."""
    return 2 * len(panel.members) * panel.spec.samples
