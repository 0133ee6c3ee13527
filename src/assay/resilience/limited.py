"""The quota around a model: reserve, wait for the sending time, send, settle."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from assay.domain.completion import NO_USAGE, CallContext, Caller, Completion, Prompt, Usage
from assay.domain.errors import (
    DeadlineExceeded,
    ModelError,
    QuotaExhausted,
    RateLimited,
    StoreUnavailable,
)
from assay.domain.events import QuotaWaited
from assay.domain.models import Model
from assay.domain.moving_average import MovingAverage
from assay.domain.policy import BucketName, Costs, Quota, SpentQuota
from assay.domain.ports import ChatModel, EventSink
from assay.resilience.queue.fair_queue import FairQueue, QueueTurn
from assay.resilience.quota.quotas import Quotas
from assay.resilience.quota.reservations import (
    LOOKAHEAD_S,
    QuotaStatus,
    Rejected,
    ReservationRequest,
    Reserved,
    SettledReservation,
)
from assay.resilience.settlements import Settlements
from assay.resilience.token_estimates import TokenEstimates

T = TypeVar("T")

SERVICE_WEIGHT = 0.1
"""Weight of the newest call in the moving average of service times."""
BATCH_HANDICAP_S = 10.0
"""Between processes, a batch row counts as if it had arrived this much later: interactive calls go
first, and never starve it."""
BATCH_LOOKAHEAD_S = 0.0
"""A batch call takes its cost only when it is sent: interactive calls would have to wait for what
batch calls had taken early."""
ONLY_ASK_S = -1.0
"""A lookahead that only asks for the wait, and takes nothing."""
PATIENCE_S = 1.0
"""Longest wait for quota while another candidate could serve sooner."""
PATIENCE_S_MAX = 86_400.0


class Limited:
    """A `ChatModel` that sends within the provider's quota, or says at once when to try again.

    Callers of one process wait in a fair queue with one turn. Only the caller with the turn asks
    Redis, which keeps the processes in order of arrival.
    """

    def __init__(
        self,
        inner: ChatModel,
        model: Model,
        quota: Quota,
        quotas: Quotas,
        events: EventSink,
        *,
        estimates: TokenEstimates,
        queue: FairQueue,
    ) -> None:
        self._inner = inner
        self._model = model
        self._limits = quota
        self._quota = quotas.of(model.id, quota)
        self._events = events
        self._estimates = estimates
        self.queue = queue
        self._settlements = Settlements(self._settle, quotas.supervisor)
        self._messages = Settlements(_send_all, quotas.supervisor, gather_s=0.0)
        self._service_s = MovingAverage(SERVICE_WEIGHT)

    async def complete(self, prompt: Prompt[T], context: CallContext) -> Completion[T]:
        """The inner model's answer.

        Raises:
            QuotaExhausted: the wait and the usual service time exceed what is left of the deadline.
            Overloaded: too many callers wait already.
        """
        if self._quota.buckets:
            reservation = await self._sending_time(prompt, context)
            completion = await self._send(prompt, context, reservation)
        else:
            completion = await self._inner.complete(prompt, context)
        self._estimates.learn(prompt, completion.usage)
        return completion

    async def status(self) -> QuotaStatus:
        """What is left of the quota; raises `StoreUnavailable`."""
        return await self._quota.status()

    def predicted_wait_s(self) -> float:
        """How long a call made now would probably wait behind others of this process."""
        return self.queue.predicted_wait_s(Caller())

    async def aclose(self) -> None:
        """Settle what is still to be settled."""
        await self._messages.aclose()
        await self._settlements.aclose()

    async def _sending_time(self, prompt: Prompt[Any], context: CallContext) -> Reserved:
        """Wait for the sending time; a call that is not sent after all gives its quota back."""
        asked_s = time.monotonic()
        reservation = await self._reserve(prompt, context)
        send_s = time.monotonic() + reservation.wait_s
        try:
            await _sleep_until(send_s)
        except BaseException:
            self._settlements.add(self._quota.unsent(reservation))
            raise
        if context.deadline.remaining_s() <= 0:
            self._settlements.add(self._quota.unsent(reservation))
            raise DeadlineExceeded("The deadline passed in the wait for quota.")
        waited_s = time.monotonic() - asked_s
        self._events.emit(QuotaWaited(context.caller, self._model.id, waited_s, reservation.bucket))
        return reservation

    async def _send(
        self, prompt: Prompt[T], context: CallContext, reservation: Reserved
    ) -> Completion[T]:
        started_s = time.monotonic()
        try:
            completion = await self._inner.complete(prompt, context)
        except RateLimited as refusal:
            retry_after_s = refusal.retry_after_s
            self._messages.add(lambda: self._refused(reservation, retry_after_s))
            raise
        except BaseException as error:
            # Once sent, it stays charged, unless the provider said what it really used.
            usage = error.usage if isinstance(error, ModelError) else None
            self._settlements.add(SettledReservation(reservation, _actual(usage or NO_USAGE)))
            raise
        actual = _actual(completion.usage)
        self._settlements.add(SettledReservation(reservation, actual, completion.quota_left))
        self._service_s.add(time.monotonic() - started_s)
        return completion

    async def _settle(self, ended: Sequence[SettledReservation]) -> None:
        """Settle first: the rest that the provider reports includes the actual use."""
        await self._quota.settle(ended)
        left: dict[BucketName, float] = {}
        for settled in ended:
            for name, amount in settled.left.items():
                left[name] = min(amount, left.get(name, amount))
        await self._quota.left_by_provider(ended[-1].reservation, left)

    async def _refused(self, reservation: Reserved, retry_after_s: float | None) -> None:
        await self._quota.refused_by_provider(reservation, retry_after_s)
        self._settlements.add(SettledReservation(reservation, {}))

    async def _reserve(self, prompt: Prompt[Any], context: CallContext) -> Reserved:
        request = ReservationRequest(
            {"requests": 1.0, "tokens": self._estimates.tokens(prompt)},
            tenant=context.caller.tenant,
            wait_max_s=self._patience_s(context, waited_s=0.0),
            lookahead_s=BATCH_LOOKAHEAD_S if context.caller.priority == "batch" else LOOKAHEAD_S,
            joins_queue=False,
        )
        try:
            reserved = await self._reserve_at_once(request, context)
            return reserved or await self._reserve_in_turn(request, prompt, context)
        except ModelError:
            raise
        except BaseException:
            # Redis may have taken the cost although the answer was not read.
            self._settlements.add(self._quota.unsent(Reserved(request.id, 0.0, "")))
            raise

    async def _reserve_at_once(
        self, request: ReservationRequest, context: CallContext
    ) -> Reserved | None:
        """Reserve if no call waits; raise if the queue is too long for the deadline."""
        if self.queue.present > 0:
            calls = self.queue.ahead_of(context.caller)
            ahead: Costs = {"requests": calls.calls, "tokens": calls.cost}
            request = replace(request, ahead=ahead, lookahead_s=ONLY_ASK_S, joins_queue=True)
        answer = await self._quota.reserve(request)
        if isinstance(answer, Rejected):
            raise self._exhausted(answer)
        return answer if isinstance(answer, Reserved) else None

    async def _reserve_in_turn(
        self, request: ReservationRequest, prompt: Prompt[Any], context: CallContext
    ) -> Reserved:
        tokens = request.costs["tokens"]
        async with self.queue.turn(
            context.caller, tokens, prompt.size, context.deadline, self._service_s.value
        ) as turn:
            try:
                return await self._reserve_with_turn(request, context, turn)
            except asyncio.CancelledError:
                # The next caller of this process takes over the place; the last one gives it up.
                if self.queue.present == 1:
                    self._messages.add(self._quota.leave)
                raise

    async def _reserve_with_turn(
        self, request: ReservationRequest, context: CallContext, turn: QueueTurn
    ) -> Reserved:
        handicap_s = BATCH_HANDICAP_S if context.caller.priority == "batch" else 0.0
        while True:
            behind = self.queue.waiting
            request = replace(
                request,
                behind={"requests": behind.calls, "tokens": behind.cost},
                waited_s=turn.waited_s - handicap_s,
                wait_max_s=self._patience_s(context, turn.waited_s),
                joins_queue=True,
            )
            answer = await self._quota.reserve(request)
            if isinstance(answer, Reserved):
                return answer
            if isinstance(answer, Rejected):
                raise self._exhausted(answer)
            await turn.pause(answer.retry_in_s)

    def _patience_s(self, context: CallContext, waited_s: float) -> float:
        """The longest useful wait; with 0, as for a hedge, a call may still be sent at once."""
        left_s = min(context.deadline.remaining_s(), PATIENCE_S_MAX)
        if left_s <= 0:
            raise DeadlineExceeded("The deadline passed before the call was sent.")
        if context.hedged is not None and not context.hedged.may_wait:
            return 0.0
        patience_s = max(PATIENCE_S, context.other_in_s)
        return max(0.0, min(left_s - self._service_s.value, patience_s - waited_s))

    def _exhausted(self, rejected: Rejected) -> QuotaExhausted:
        kind = rejected.bucket.removesuffix("s").capitalize()
        if rejected.wait_s is None:
            return QuotaExhausted(f"{kind} quota too small: it can never hold this call.")
        error = QuotaExhausted(
            f"{kind} quota exhausted: no capacity before the deadline.",
            retry_after_s=rejected.wait_s,
        )
        per_minute = self._limits.requests_per_minute
        if rejected.bucket == "requests" and per_minute is not None:
            error.spent = SpentQuota(self._model.id, per_minute)
        return error


async def _send_all(messages: Sequence[Callable[[], Awaitable[None]]]) -> None:
    for send in messages:
        with suppress(StoreUnavailable):
            await send()


async def _sleep_until(at_s: float) -> None:
    """Sleep until a time of the monotonic clock, never less: timers may fire a little early."""
    left_s = at_s - time.monotonic()
    while left_s > 0:
        await asyncio.sleep(left_s)
        left_s = at_s - time.monotonic()


def _actual(usage: Usage) -> Costs:
    tokens = usage.input_tokens + usage.output_tokens
    return {"tokens": float(tokens)} if tokens > 0 else {}
