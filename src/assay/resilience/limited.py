"""The quota around a model: reserve, wait as told, send, settle."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

from assay.domain.completion import CallContext, Caller, Completion, Model, Prompt, Usage
from assay.domain.errors import (
    DeadlineExceeded,
    ModelError,
    QuotaExhausted,
    RateLimited,
    StoreUnavailable,
)
from assay.domain.events import QuotaWaited
from assay.domain.policy import Quota, SpentQuota
from assay.domain.ports import ChatModel, EventSink
from assay.resilience.queue.fair_queue import FairQueue, QueueTurn
from assay.resilience.quota.buckets import BucketName, Costs
from assay.resilience.quota.quotas import Quotas
from assay.resilience.quota.reservations import (
    LOOKAHEAD_S,
    QuotaStatus,
    Rejected,
    ReservationRequest,
    Reserved,
    SettledReservation,
)
from assay.resilience.quota.settlements import Settlements
from assay.resilience.token_estimates import TokenEstimates

T = TypeVar("T")

SERVICE_WEIGHT = 0.1
"""Of the newest call in the moving average of service times."""
BATCH_HANDICAP_S = 10.0
"""Between processes, a batch row counts as if it had arrived so much later: behind the interactive
calls, and never starved by them."""
BATCH_LOOKAHEAD_S = 0.0
"""A batch call takes its cost only when it is sent: interactive calls would stand behind whatever
batch calls have taken ahead of their time."""
ONLY_TELL_S = -1.0
PATIENCE_S_MAX = 86_400.0


class Limited:
    """A `ChatModel` that sends within the provider's quota, or says at once when it could.

    Callers of one process wait in a fair queue of one turn: only who has it asks Redis, which
    keeps those of all processes in order of arrival.
    """

    def __init__(
        self,
        inner: ChatModel,
        model: Model,
        quota: Quota,
        quotas: Quotas,
        events: EventSink,
        *,
        estimates: TokenEstimates | None = None,
        queue: FairQueue | None = None,
    ) -> None:
        self._inner = inner
        self._model = model
        self._limits = quota
        self._quota = quotas.of(model.id, quota)
        self._events = events
        self._estimates = estimates or TokenEstimates()
        self._queue = queue or FairQueue(model.id, "provider_quota", 1, events)
        self._settlements = Settlements(self._settle)
        self._messages = Settlements(_tell, gather_s=0.0)
        self._service_s: float | None = None

    async def complete(self, prompt: Prompt[T], context: CallContext) -> Completion[T]:
        """The inner model's answer.

        Raises:
            QuotaExhausted: the wait and the usual service time exceed what is left of the deadline.
            Overloaded: too many callers wait already.
        """
        if not self._quota.buckets:
            return await self._inner.complete(prompt, context)
        async with self._sending_time(prompt, context) as granted:
            return await self._send(prompt, context, granted)

    async def status(self) -> QuotaStatus:
        """What is left of the quota; raises `StoreUnavailable`."""
        return await self._quota.status()

    def predicted_wait_s(self) -> float:
        """How long a call made now would probably wait behind others of this process."""
        return self._queue.predicted_wait_s(Caller())

    async def close(self) -> None:
        """Settle what is still to be settled."""
        await self._messages.close()
        await self._settlements.close()

    @asynccontextmanager
    async def _sending_time(
        self, prompt: Prompt[Any], context: CallContext
    ) -> AsyncIterator[Reserved]:
        """Wait for the sending time; what is not sent after all is given back."""
        asked_s = time.monotonic()
        granted = await self._reserve(prompt, context)
        send_s = time.monotonic() + granted.wait_s
        try:
            await _sleep_until(send_s)
        except BaseException:
            self._settlements.add(self._quota.unsent(granted))
            raise
        if context.deadline.remaining_s() <= 0:
            self._settlements.add(self._quota.unsent(granted))
            raise DeadlineExceeded("the deadline passed in the wait for quota")
        waited_s = time.monotonic() - asked_s
        self._events.emit(QuotaWaited(context.caller, self._model.id, waited_s, granted.bucket))
        yield granted

    async def _send(
        self, prompt: Prompt[T], context: CallContext, granted: Reserved
    ) -> Completion[T]:
        started_s = time.monotonic()
        try:
            completion = await self._inner.complete(prompt, context)
        except RateLimited as refusal:
            retry_after_s = refusal.retry_after_s
            self._messages.add(lambda: self._refused(granted, retry_after_s))
            raise
        except BaseException:
            # Once sent it stays charged; what it really used is known after an answer only.
            self._settlements.add(SettledReservation(granted, {}))
            raise
        self._settlements.add(
            SettledReservation(granted, _actual(completion.usage), _left(completion))
        )
        self._learn(prompt, completion, time.monotonic() - started_s)
        return completion

    async def _settle(self, ended: Sequence[SettledReservation]) -> None:
        """Settle first: what the provider says is left knows already what was really used."""
        await self._quota.settle(ended)
        left: dict[BucketName, float] = {}
        for each in ended:
            for name, amount in each.left.items():
                left[name] = min(amount, left.get(name, amount))
        await self._quota.left_by_provider(ended[-1].granted, left)

    async def _refused(self, granted: Reserved, retry_after_s: float | None) -> None:
        await self._quota.refused_by_provider(granted, retry_after_s)
        self._settlements.add(SettledReservation(granted, {}))

    def _learn(self, prompt: Prompt[Any], completion: Completion[Any], service_s: float) -> None:
        before_s = service_s if self._service_s is None else self._service_s
        self._service_s = before_s + SERVICE_WEIGHT * (service_s - before_s)
        self._estimates.learn(prompt, completion.usage)

    async def _reserve(self, prompt: Prompt[Any], context: CallContext) -> Reserved:
        ask = ReservationRequest(
            {"requests": 1.0, "tokens": self._estimates.tokens(prompt)},
            tenant=context.caller.tenant,
            wait_max_s=self._patience_s(context, waited_s=0.0),
            lookahead_s=BATCH_LOOKAHEAD_S if context.caller.priority == "batch" else LOOKAHEAD_S,
            in_line=False,
        )
        try:
            answer = await self._reserve_at_once(ask, context)
            return answer or await self._reserve_in_turn(ask, prompt, context)
        except ModelError:
            raise
        except BaseException:
            # Redis may have taken the cost though nobody is left to hear the answer.
            self._settlements.add(self._quota.unsent(Reserved(ask.id, 0.0, "")))
            raise

    async def _reserve_at_once(
        self, ask: ReservationRequest, context: CallContext
    ) -> Reserved | None:
        """Take it where nobody waits; refuse it where the line is too long for the deadline."""
        if self._queue.present > 0:
            ahead = self._queue.ahead_of(context.caller)
            queued: Costs = {"requests": ahead.calls, "tokens": ahead.cost}
            told = replace(ask, queued=queued, lookahead_s=ONLY_TELL_S, in_line=True)
            answer = await self._quota.reserve(told)
        else:
            answer = await self._quota.reserve(ask)
        if isinstance(answer, Rejected):
            raise self._exhausted(answer)
        return answer if isinstance(answer, Reserved) else None

    async def _reserve_in_turn(
        self, ask: ReservationRequest, prompt: Prompt[Any], context: CallContext
    ) -> Reserved:
        service_s = self._service_s or 0.0
        tokens = ask.costs["tokens"]
        async with self._queue.turn(
            context.caller, tokens, prompt.size, context.deadline, service_s
        ) as turn:
            try:
                return await self._reserve_with_turn(ask, context, turn)
            except asyncio.CancelledError:
                # Who is next in this process takes over the ticket; the last one gives it up.
                if self._queue.present == 1:
                    self._messages.add(self._quota.leave)
                raise

    async def _reserve_with_turn(
        self, ask: ReservationRequest, context: CallContext, turn: QueueTurn
    ) -> Reserved:
        handicap_s = BATCH_HANDICAP_S if context.caller.priority == "batch" else 0.0
        while True:
            behind = self._queue.waiting
            again = replace(
                ask,
                behind={"requests": behind.calls, "tokens": behind.cost},
                waited_s=turn.waited_s - handicap_s,
                wait_max_s=self._patience_s(context, turn.waited_s),
                in_line=True,
            )
            answer = await self._quota.reserve(again)
            if isinstance(answer, Reserved):
                return answer
            if isinstance(answer, Rejected):
                raise self._exhausted(answer)
            await turn.pause(answer.retry_in_s)

    def _patience_s(self, context: CallContext, waited_s: float) -> float:
        """The longest wait of use; where there is none to be had, a call may still go at once."""
        left_s = min(context.deadline.remaining_s(), PATIENCE_S_MAX)
        if left_s <= 0:
            raise DeadlineExceeded("the deadline passed before the call was sent")
        return max(0.0, min(left_s - (self._service_s or 0.0), context.patience_s - waited_s))

    def _exhausted(self, refused: Rejected) -> QuotaExhausted:
        if refused.wait_s is None:
            return QuotaExhausted(f"one request is more than the quota of {refused.bucket} holds")
        error = QuotaExhausted(
            f"the quota ({refused.bucket}) is spent within the deadline",
            retry_after_s=refused.wait_s,
        )
        per_minute = self._limits.requests_per_minute
        if refused.bucket == "requests" and per_minute is not None:
            error.spent = SpentQuota(self._model.id, per_minute)
        return error


async def _tell(messages: Sequence[Callable[[], Awaitable[None]]]) -> None:
    for send in messages:
        with suppress(StoreUnavailable):
            await send()


async def _sleep_until(at_s: float) -> None:
    """Sleep until a time of the monotonic clock, and never less: timers may fire a little early."""
    left_s = at_s - time.monotonic()
    while left_s > 0:
        await asyncio.sleep(left_s)
        left_s = at_s - time.monotonic()


def _actual(usage: Usage) -> Costs:
    tokens = usage.input_tokens + usage.output_tokens
    return {"tokens": float(tokens)} if tokens > 0 else {}


def _left(completion: Completion[Any]) -> Costs:
    state = completion.rate_limit
    if state is None:
        return {}
    left: dict[BucketName, float] = {}
    if state.requests_left is not None:
        left["requests"] = state.requests_left
    if state.tokens_left is not None:
        left["tokens"] = state.tokens_left
    return left
