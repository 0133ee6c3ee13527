"""Compares two outputs: both orders are judged, and what flips with the order is a tie."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from assay.criteria.base import Finding, Question
from assay.criteria.judged.preference import (
    Position,
    pair_question,
    position_of,
    resolve_orders,
    swapped_back,
)
from assay.domain.case_text import transcript
from assay.domain.comparison import Comparison, OrderVerdict, Side, Winner
from assay.domain.completion import NO_USAGE, Caller
from assay.domain.evaluation import Case, JudgeSpec, Suspicion, Text, Vote
from assay.domain.events import ComparisonFinished, InjectionSuspected
from assay.domain.ids import new_id
from assay.domain.policy import Deadline
from assay.domain.ports import EventSink, Judges
from assay.evaluation.selection import judges_of
from assay.judging.call import Asker, JudgeReply, Panel, panel_for, total_cost_usd, total_usage
from assay.judging.concurrency import side_by_side
from assay.judging.judge import record, retry_after_s
from assay.judging.voting import Votes, collect_votes
from assay.prompts.untrusted import content_without_output
from assay.screening.scan import scan

CALLS_MAX = 16
"""Judge calls of one comparison in flight at a time."""

WINNERS: Mapping[Position, Winner] = {"first": "a", "second": "b", "tie": "tie"}


class Comparer:
    """Compares outputs in pairs; it holds no state between two calls."""

    def __init__(self, judges: Judges, events: EventSink) -> None:
        self._judges = judges
        self._events = events

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
    ) -> Comparison:
        """Which is better by the rubric: the case's output (a) or the `other` (b).

        Raises `RequestError` (`unknown_model`) before any call is made; no other failure raises.
        Two outputs of the same text are a tie about which nobody is asked.
        """
        started_s = time.monotonic()
        judges_of((), judge, self._judges)
        bench = panel_for(self._judges, judge, asyncio.Semaphore(CALLS_MAX))
        orders: tuple[OrderVerdict, ...] = ()
        verdict = Comparison(
            id=new_id("cmp"),
            created_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            winner="tie",
            consistent=True,
            preference=0.5,
            reason=None,
            orders=orders,
            usage=NO_USAGE,
            cost_usd=0.0,
            latency_ms=0.0,
            metadata={} if metadata is None else metadata,
        )
        if transcript(case.output) != transcript(other):
            suspect = await self._suspect(case, other, judge, caller)
            verdict = replace(verdict, suspect=suspect)
            if suspect and judge.injection == "quarantine":
                return replace(_without_winner(verdict), reason="judge_suspect")
            asker = Asker(caller, deadline, ("comparison", rubric))
            verdict = await self._judged(verdict, _questions(case, rubric, other), bench, asker)
        return replace(verdict, latency_ms=(time.monotonic() - started_s) * 1_000)

    async def _suspect(
        self, case: Case, other: Text, judge: JudgeSpec, caller: Caller
    ) -> tuple[Suspicion, ...]:
        """The signs of injection in either output and what goes with them, unless nobody looks."""
        if judge.injection == "off":
            return ()
        found: list[Suspicion] = []
        # The search runs beside the loop: RE2 lets go of the interpreter's lock.
        for name, each in (("output_a", case), ("output_b", Case(other))):
            signs = await asyncio.to_thread(scan, each)
            found += [replace(s, field=name) if s.field == "output" else s for s in signs]
        for sign_name in dict.fromkeys(each.sign for each in found):
            self._events.emit(InjectionSuspected(caller, sign_name, judge.injection))
        return tuple(found)

    async def _judged(
        self,
        verdict: Comparison,
        questions: tuple[Question, Question],
        bench: Panel,
        asker: Asker,
    ) -> Comparison:
        started_s = time.monotonic()
        (straight, straight_s), (swapped, swapped_s) = await side_by_side(
            _timed(each, bench, asker) for each in questions
        )
        found_a, found_b = straight.finding, swapped.finding
        orders = (
            _order("a", straight, found_a, straight_s),
            _order("b", swapped, found_b, swapped_s),
        )
        verdict = replace(
            _without_winner(verdict),
            reason=next((each.reason for each in orders if each.reason is not None), None),
            orders=orders,
            usage=orders[0].usage + orders[1].usage,
            cost_usd=orders[0].cost_usd + orders[1].cost_usd,
        )
        if found_a is not None and found_b is not None:
            both = resolve_orders(found_a, swapped_back(found_b))
            verdict = replace(
                verdict,
                winner=WINNERS[both.place],
                consistent=both.consistent,
                preference=both.preference,
            )
        outcome = {True: "consistent", False: "flipped", None: "unscored"}[verdict.consistent]
        model = _served(straight, swapped)
        seconds = time.monotonic() - started_s
        self._events.emit(ComparisonFinished(asker.caller, model, outcome, seconds))
        return verdict


def _without_winner(verdict: Comparison) -> Comparison:
    return replace(verdict, winner=None, consistent=None, preference=None)


def _questions(case: Case, rubric: str, other: Text) -> tuple[Question, Question]:
    others, a, b = content_without_output(case), case.output, other
    return pair_question(rubric, a, b, others), pair_question(rubric, b, a, others)


async def _timed(question: Question, bench: Panel, asker: Asker) -> tuple[Votes, float]:
    started_s = time.monotonic()
    ballot = await collect_votes(question, bench, asker)
    return ballot, time.monotonic() - started_s


def _order(first: Side, ballot: Votes, found: Finding | None, seconds: float) -> OrderVerdict:
    """The verdict in one order, told by the outputs' names and not by their places."""
    replies = ballot.replies
    votes = [_vote(first, each) for each in replies] if len(replies) > 1 else []
    verdict = OrderVerdict(
        first,
        judge=record([ballot], votes),
        usage=total_usage(replies),
        cost_usd=total_cost_usd(replies),
        latency_ms=seconds * 1_000,
        cached=all(each.cached for each in replies),
        simulated=any(each.simulated for each in replies),
        retry_after_s=retry_after_s(replies),
    )
    if found is None:
        failure = ballot.failure
        return replace(verdict, reason=failure.reason, explanation=failure.message)
    seen = found if first == "a" else swapped_back(found)
    return replace(
        verdict,
        winner=WINNERS[position_of(seen)],
        preference=seen.score,
        explanation=found.explanation,
    )


def _vote(first: Side, reply: JudgeReply) -> Vote:
    """One of several verdicts in this order; its label is the winner's name."""
    if reply.finding is None:
        return Vote(reply.provider, reply.model, explanation=reply.message, reason=reply.reason)
    seen = reply.finding if first == "a" else swapped_back(reply.finding)
    winner = WINNERS[position_of(seen)]
    why = seen.explanation
    return Vote(reply.provider, reply.model, seen.score, winner, winner, explanation=why)


def _served(*ballots: Votes) -> str:
    """The model behind both orders, by its id; empty where there was not the same one."""
    ids = {
        attempt.model for each in ballots for reply in each.replies for attempt in reply.attempts
    }
    return ids.pop() if len(ids) == 1 else ""
