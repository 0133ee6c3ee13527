"""The router: asks one candidate after the other until one answers, within one deadline."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Generic, TypeVar

from assay.domain.clock import SYSTEM_CLOCK, Clock
from assay.domain.completion import EXTRA_ATTEMPTS, Attempt, CallContext, Completion, Prompt
from assay.domain.errors import (
    UNSENT_OUTCOMES,
    DeadlineExceeded,
    ModelBlind,
    ModelError,
    NoCandidate,
)
from assay.domain.evaluation import OnRefusal
from assay.domain.events import FallbackTaken, HedgeFinished
from assay.domain.hedging import HedgedCall
from assay.domain.policy import Deadline
from assay.domain.ports import EventSink
from assay.routing.candidates import Candidate
from assay.routing.race import Contender, race
from assay.routing.strategies import CandidateOrder

T = TypeVar("T")

RESERVE_S_MAX = 5.0
"""Time that an attempt leaves for each candidate behind it, at the most."""
OWN_SHARES = 3
"""An attempt gets three shares of the remaining time, and each candidate behind it one."""


class Router:
    """A `ChatModel` over several candidates: the first that answers serves the call.

    `on_refusal` says whether a content filter or a refusal goes to the next one, or ends the call.
    With `may_hedge`, which takes a hedge out of the retry budget, a late call is hedged.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        order: CandidateOrder,
        events: EventSink,
        on_refusal: OnRefusal = "next",
        may_hedge: Callable[[], bool] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._candidates = candidates
        self._order = order
        self._events = events
        self._on_refusal = on_refusal
        self._may_hedge = may_hedge
        self._clock = clock

    async def complete(self, prompt: Prompt[T], context: CallContext) -> Completion[T]:
        """The answer of the first candidate that gives a usable one.

        Raises `NoCandidate` with every failure if none answers. Each candidate has a call of its
        own, and all share `EXTRA_ATTEMPTS`; candidates passed over unsent take none.
        """
        run = _Run(prompt, context)
        seeing = run.seeing(self._candidates) if prompt.has_images else self._candidates
        run.waiting = self._order(seeing, prompt)
        if all(candidate.open_for_s() > 0 for candidate in run.waiting):
            run.waiting.sort(key=lambda candidate: candidate.open_for_s())
        ask = self._ask if self._may_hedge is None else self._ask_hedged
        while run.waiting and context.deadline.remaining_s() > 0:
            run.asked = candidate = run.waiting.pop(0)
            try:
                completion = await ask(run, candidate)
            except ModelError as failure:
                if not run.waiting and failure.next_candidate == "any":
                    run.waiting = await run.limited_before()
                if run.waiting and context.deadline.remaining_s() > 0:
                    next_id = run.waiting[0].model.id
                    self._events.emit(
                        FallbackTaken(context.caller, candidate.model.id, next_id, failure.outcome)
                    )
            else:
                if not run.failures:
                    return completion
                return replace(completion, attempts=(*run.attempts, *completion.attempts))
        raise NoCandidate(run.failures or [DeadlineExceeded("No time was left to ask a judge.")])

    async def _ask(
        self, run: _Run[T], candidate: Candidate, hedged: HedgedCall | None = None
    ) -> Completion[T]:
        """The candidate's answer; a failure is noted, and says which others are worth asking."""
        attempts_left = 1 + run.extra
        try:
            prompt = run.prompt.for_model(candidate.model)
            if hedged and hedged.rival:
                attempts_left -= len(hedged.rival.attempts)
                if candidate is run.asked:
                    prompt = replace(prompt, key=None)  # else it would share the call that is late
            completion = await candidate.chat.complete(
                prompt,
                replace(
                    run.context,
                    deadline=_share(run.context.deadline, len(run.waiting)),
                    attempts_left=attempts_left,
                    other_in_s=min((other.ready_in_s() for other in run.waiting), default=math.inf),
                    hedged=hedged,
                ),
            )
        except ModelError as failure:
            if hedged is None or hedged.may_wait or failure.sent:
                run.note(candidate, failure)
                run.waiting = self._worth_trying(run.waiting, candidate, failure)
            elif candidate is not run.asked:
                run.waiting.insert(0, candidate)  # a hedge that would have had to wait
            raise
        candidate.latency.add(completion.latency_ms)
        if hedged:
            candidate.hedge_times.add(hedged)
        return completion

    async def _ask_hedged(self, run: _Run[T], candidate: Candidate) -> Completion[T]:
        """The candidate's answer or, where that is late, the first of two."""
        call = self._call(run, candidate)
        late_after_s = candidate.hedge_times.late_after_s
        if late_after_s is None:
            return await self._ask(run, candidate, call)
        first = Contender(candidate, call, self._ask(run, candidate, call))
        second: Contender[T] | None = None

        def hedge() -> Contender[T] | None:
            nonlocal second
            if (other := self._to_hedge_with(run)) is not None:
                rival = self._call(run, other, call)
                second = Contender(other, rival, self._ask(run, other, rival))
            return second

        def may_follow(second: Contender[T], failure: ModelError) -> bool:
            return bool(self._worth_trying([second.candidate], candidate, failure))

        try:
            return await race(first, late_after_s, hedge, may_follow)
        finally:
            if second is not None and (outcome := second.outcome):
                caller = run.context.caller
                self._events.emit(HedgeFinished(caller, candidate.model.id, outcome))

    def _to_hedge_with(self, run: _Run[T]) -> Candidate | None:
        """The next candidate that could serve at once, else the late one, on a second connection.

        None where there is neither, or the retry budget is spent.
        """
        able = (one for one in (*run.waiting, run.asked) if one.ready_in_s() <= 0)
        chosen = next(able, None)
        if chosen is None or self._may_hedge is None or not self._may_hedge():
            return None
        run.waiting = [other for other in run.waiting if other is not chosen]
        return chosen

    def _call(
        self, run: _Run[T], candidate: Candidate, rival: HedgedCall | None = None
    ) -> HedgedCall:
        return HedgedCall(
            lambda: candidate.estimates.tokens(run.prompt.for_model(candidate.model)),
            rival,
            self._clock,
        )

    def _worth_trying(
        self, waiting: list[Candidate], failed: Candidate, failure: ModelError
    ) -> list[Candidate]:
        """The candidates that may still answer after this failure."""
        match failure.next_candidate:
            case "any":
                return waiting
            case "by_policy":
                return waiting if self._on_refusal == "next" else []
            case "no_smaller_window":
                return [other for other in waiting if not other.is_smaller_than(failed)]
            case "none":
                return []


class _Run(Generic[T]):
    """What happened to one prompt so far.

    `asked` is the candidate whose turn it is, and `waiting` are those not asked yet.
    """

    asked: Candidate

    def __init__(self, prompt: Prompt[T], context: CallContext) -> None:
        self.prompt = prompt
        self.context = context
        self.waiting: list[Candidate] = []
        self.failures: list[ModelError] = []
        self.extra = EXTRA_ATTEMPTS
        self._limited: list[tuple[float, Candidate]] = []
        """Candidates to return to, each with the time that is left when it can serve again."""

    def seeing(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The candidates that take images; the others are passed over."""
        blind = [one.model for one in candidates if not one.model.capabilities.vision]
        for model in blind:
            message = (
                f"{model.id} is not known to take images; if it does, set vision = true in "
                f'[models."{model.id}"].'
            )
            attempt = Attempt(model.provider, model.id, ModelBlind.outcome, 0.0, message=message)
            self.failures.append(ModelBlind(message, attempts=[attempt]))
        return [one for one in candidates if one.model.capabilities.vision]

    def note(self, candidate: Candidate, failure: ModelError) -> None:
        self.failures.append(failure)
        sent = sum(attempt.outcome not in UNSENT_OUTCOMES for attempt in failure.attempts)
        self.extra -= max(sent - 1, 0)
        if failure.retry == "after_wait" and failure.retry_after_s is not None and sent <= 1:
            left_s = self.context.deadline.remaining_s() - failure.retry_after_s
            self._limited.append((left_s, candidate))

    async def limited_before(self) -> list[Candidate]:
        """The candidate that can serve again first, once it can; none where time is too short."""
        left_s, candidate = max(self._limited, default=(0.0, None), key=itemgetter(0))
        if candidate is None or left_s <= 0 or self.extra <= 0:
            return []
        self.extra -= 1
        self._limited = [entry for entry in self._limited if entry[1] is not candidate]
        await asyncio.sleep(max(0.0, self.context.deadline.remaining_s() - left_s))
        return [candidate]

    @property
    def attempts(self) -> list[Attempt]:
        return [attempt for failure in self.failures for attempt in failure.attempts]


def _share(deadline: Deadline, behind: int) -> Deadline:
    """The deadline of an attempt that leaves time for the candidates behind it."""
    left_s = max(deadline.remaining_s(), 0.0)
    share = behind / (behind + OWN_SHARES)
    return deadline.earlier_by(min(left_s * share, RESERVE_S_MAX * behind))
