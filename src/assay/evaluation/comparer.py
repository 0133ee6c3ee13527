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
from assay.domain.errors import TRANSIENT_REASONS, Reason
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
from assay.domain.policy import Deadline
from assay.domain.ports import EventSink, Judges
from assay.domain.tenants import OPEN_GATE, TenantGate
from assay.evaluation.selection import budget_for, call_context, check_calls, panel_for
from assay.evaluation.suspicion import with_attempts_of
from assay.judging.call import JudgeReply, RequestJudges
from assay.judging.concurrency import side_by_side
from assay.judging.judge import judge_record, suspicions_from, warned
from assay.judging.voting import Panel, collect_votes
from assay.prompts.untrusted import content_without_output
from assay.screening import Screener, Screening, masked, without_signs

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


@dataclass(frozen=True, slots=True)
class _JudgedPair:
    """The verdict of both orders, or the reason for none, and what the judges saw."""

    orders: Sequence[_JudgedOrder] = ()
    pair: PairVerdict | None = None
    reason: Reason | None = None
    suspect: tuple[Suspicion, ...] = ()


@dataclass(frozen=True, slots=True)
class _PairCase:
    """What is compared by which rubric, and whether the judge is warned of it."""

    case: Case
    other: Text
    rubric: str
    warned: bool = False

    def masked(self) -> _PairCase:
        """The same without what its signs cover; with a warning where they cover nothing."""
        clean = masked(self.case), without_signs(self.other)
        return _PairCase(*clean, self.rubric, warned=clean == (self.case, self.other))


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
        screening, judged = Screening(), _JudgedPair(pair=SAME_TEXT)
        if transcript(case.output) != transcript(other):
            screening = self._screener.screen_pair(case, other, judge.injection, caller)
            if screening.holds_back(judge.injection):
                judged = _JudgedPair(reason="judge_suspect")
            else:
                context = await self._context(panel, caller, deadline)
                asked = _PairCase(case, other, rubric)
                judged = await self._judge(asked, panel, context, screening)
        orders, pair = judged.orders, judged.pair
        usage, cost_usd = total_spent(order.verdict for order in orders)
        comparison = Comparison(
            id=new_id("cmp"),
            created_at=shown_time(now_ms()),
            winner=WINNERS[pair.place] if pair else None,
            consistent=pair.consistent if pair else None,
            preference=pair.preference if pair else None,
            reason=judged.reason,
            orders=tuple(order.verdict for order in orders),
            usage=usage,
            cost_usd=cost_usd,
            latency_ms=to_ms(time.monotonic() - started_s),
            suspect=(*screening.shown_under(judge.injection), *judged.suspect),
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
        self, asked: _PairCase, panel: Panel, context: CallContext, screening: Screening
    ) -> _JudgedPair:
        """Both orders under the policy of the judge, with their verdict or the reason for none."""
        started_s, policy = time.monotonic(), panel.spec.injection
        judged = await _judge_orders(asked, panel, context)
        if policy == "off":
            judged = replace(judged, suspect=())
        self._screener.report(judged.suspect, {policy}, context.caller)
        if judged.pair and policy == "quarantine" and judged.suspect:
            judged = replace(judged, pair=None, reason="judge_suspect")
        elif judged.pair and policy == "verify" and (judged.suspect or screening.suspicions):
            again = await asyncio.to_thread(asked.masked)
            judged = _verified(judged, await _judge_orders(again, panel, context))
        pair, seconds = judged.pair, time.monotonic() - started_s
        outcome = "unscored" if pair is None else "consistent" if pair.consistent else "flipped"
        model = _served([order.verdict for order in judged.orders])
        self._events.emit(ComparisonFinished(context.caller, model, outcome, seconds))
        return judged


async def _judge_orders(asked: _PairCase, panel: Panel, context: CallContext) -> _JudgedPair:
    """Both orders, judged at the same time."""
    case, other, rubric = asked.case, asked.other, asked.rubric
    beside, identity = content_without_output(case), ("comparison", rubric)
    questions = [
        pair_question(rubric, case.output, other, beside, identity=identity),
        pair_question(rubric, other, case.output, beside, identity=identity),
    ]
    if asked.warned:
        questions = [warned(question) for question in questions]
    orders = await side_by_side(
        _judge_order(first, question, panel, context)
        for first, question in zip(SIDES, questions, strict=True)
    )
    pair, reason = _resolved(orders)
    suspect = dict.fromkeys(suspicion for order in orders for suspicion in order.suspect)
    return _JudgedPair(orders, pair, reason, tuple(suspect))


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


def _verified(first: _JudgedPair, second: _JudgedPair) -> _JudgedPair:
    """The first verdict at the cost of both, or none where the second does not confirm it."""
    pair, reason = first.pair, first.reason
    if second.pair is None:
        pair, reason = None, second.reason
    elif pair is None or second.pair.place != pair.place:
        pair, reason = None, "judge_suspect"
    orders = [_at_both_costs(*both) for both in zip(first.orders, second.orders, strict=True)]
    return _JudgedPair(
        orders, pair, reason, tuple(dict.fromkeys((*first.suspect, *second.suspect)))
    )


def _at_both_costs(one: _JudgedOrder, other: _JudgedOrder) -> _JudgedOrder:
    """One order as it was first judged, with what the second question says and took."""
    first, second = one.verdict, other.verdict
    usage, cost_usd = total_spent((first, second))
    verdict = replace(
        first,
        explanation=f"{first.explanation}\n\nWithout what is suspect: "
        f"{second.winner or 'no verdict'}. {second.explanation}",
        judge=with_attempts_of(first.judge, second.judge),
        usage=usage,
        cost_usd=cost_usd,
        latency_ms=first.latency_ms + second.latency_ms,
        cached=first.cached and second.cached,
    )
    return replace(one, verdict=verdict, retry=other.retry)


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
