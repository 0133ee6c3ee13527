"""The quota around a model: reserve, wait as told, send, settle."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from assay.domain.completion import Caller, Completion, Model, Prompt, Usage
from assay.domain.errors import (
    DeadlineExceeded,
    ModelError,
    QuotaExhausted,
    RateLimited,
    StoreUnavailable,
)
from assay.domain.events import QuotaWaited
from assay.domain.policy import Deadline, Quota, SpentQuota
from assay.domain.ports import ChatModel, EventSink
from assay.resilience.queue.fair_queue import FairQueue, Turn
from assay.resilience.quota.buckets import BucketName, Costs
from assay.resilience.quota.quotas import Quotas
from assay.resilience.quota.reservations import AHEAD_S, Ask, Granted, QuotaStatus, Refused, Settled
from assay.resilience.quota.settlements import Settlements
from assay.resilience.token_estimates import TokenEstimates

SERVICE_WEIGHT = 0.1
"""Of the newest call in the moving average of service times."""
BATCH_HANDICAP_S = 10.0
"""Between processes, a batch row counts as if it had arrived so much later: behind the interactive
calls, and never starved by them."""
BATCH_AHEAD_S = 0.0
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

    async def complete(self, prompt: Prompt, deadline: Deadline) -> Completion:
        """The inner model's answer.

        Raises:
            QuotaExhausted: the wait and the usual service time exceed what is left of the deadline.
            Overloaded: too many callers wait already.
        """
        if not self._quota.buckets:
            return await self._inner.complete(prompt, deadline)
        async with self._sending_time(prompt, deadline) as granted:
            return await self._send(prompt, deadline, granted)

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
    async def _sending_time(self, prompt: Prompt, deadline: Deadline) -> AsyncIterator[Granted]:
        """Wait for the sending time; what is not sent after all is given back."""
        asked_s = time.monotonic()
        granted = await self._reserve(prompt, deadline)
        send_s = time.monotonic() + granted.wait_s
        try:
            await _sleep_until(send_s)
        except BaseException:
            self._settlements.add(self._quota.unsent(granted))
            raise
        if deadline.remaining_s() <= 0:
            self._settlements.add(self._quota.unsent(granted))
            raise DeadlineExceeded("the deadline passed in the wait for quota")
        waited_s = time.monotonic() - asked_s
        self._events.emit(QuotaWaited(prompt.caller, self._model.id, waited_s, granted.bucket))
        yield granted

    async def _send(self, prompt: Prompt, deadline: Deadline, granted: Granted) -> Completion:
        started_s = time.monotonic()
        try:
            completion = await self._inner.complete(prompt, deadline)
        except RateLimited as refusal:
            retry_after_s = refusal.retry_after_s
            self._messages.add(lambda: self._refused(granted, retry_after_s))
            raise
        except BaseException:
            # Once sent it stays charged; what it really used is known after an answer only.
            self._settlements.add(Settled(granted, {}))
            raise
        self._settlements.add(Settled(granted, _actual(completion.usage), _left(completion)))
        self._learn(prompt, completion, time.monotonic() - started_s)
        return completion

    async def _settle(self, ended: Sequence[Settled]) -> None:
        """Settle first: what the provider says is left knows already what was really used."""
        await self._quota.settle(ended)
        left: dict[BucketName, float] = {}
        for each in ended:
            for name, amount in each.left.items():
                left[name] = min(amount, left.get(name, amount))
        await self._quota.left_by_provider(ended[-1].granted, left)

    async def _refused(self, granted: Granted, retry_after_s: float | None) -> None:
        await self._quota.refused_by_provider(granted, retry_after_s)
        self._settlements.add(Settled(granted, {}))

    def _learn(self, prompt: Prompt, completion: Completion, service_s: float) -> None:
        before_s = service_s if self._service_s is None else self._service_s
        self._service_s = before_s + SERVICE_WEIGHT * (service_s - before_s)
        self._estimates.learn(prompt, completion.usage)

    async def _reserve(self, prompt: Prompt, deadline: Deadline) -> Granted:
        ask = Ask(
            {"requests": 1.0, "tokens": self._estimates.tokens(prompt)},
            tenant=prompt.caller.tenant,
            wait_max_s=self._patience_s(prompt, deadline, waited_s=0.0),
            ahead_s=BATCH_AHEAD_S if prompt.caller.priority == "batch" else AHEAD_S,
            in_line=False,
        )
        try:
            answer = await self._reserve_at_once(ask, prompt)
            return answer or await self._reserve_in_turn(ask, prompt, deadline)
        except ModelError:
            raise
        except BaseException:
            # Redis may have taken the cost though nobody is left to hear the answer.
            self._settlements.add(self._quota.unsent(Granted(ask.id, 0.0, "")))
            raise

    async def _reserve_at_once(self, ask: Ask, prompt: Prompt) -> Granted | None:
        """Take it where nobody waits; refuse it where the line is too long for the deadline."""
        if self._queue.present > 0:
            ahead = self._queue.ahead_of(prompt.caller)
            queued: Costs = {"requests": ahead.calls, "tokens": ahead.cost}
            told = replace(ask, queued=queued, ahead_s=ONLY_TELL_S, in_line=True)
            answer = await self._quota.reserve(told)
        else:
            answer = await self._quota.reserve(ask)
        if isinstance(answer, Refused):
            raise self._exhausted(answer)
        return answer if isinstance(answer, Granted) else None

    async def _reserve_in_turn(self, ask: Ask, prompt: Prompt, deadline: Deadline) -> Granted:
        service_s = self._service_s or 0.0
        tokens = ask.costs["tokens"]
        async with self._queue.turn(
            prompt.caller, tokens, prompt.size, deadline, service_s
        ) as turn:
            try:
                return await self._reserve_with_turn(ask, prompt, deadline, turn)
            except asyncio.CancelledError:
                # Who is next in this process takes over the ticket; the last one gives it up.
                if self._queue.present == 1:
                    self._messages.add(self._quota.leave)
                raise

    async def _reserve_with_turn(
        self, ask: Ask, prompt: Prompt, deadline: Deadline, turn: Turn
    ) -> Granted:
        handicap_s = BATCH_HANDICAP_S if prompt.caller.priority == "batch" else 0.0
        while True:
            behind = self._queue.waiting
            again = replace(
                ask,
                behind={"requests": behind.calls, "tokens": behind.cost},
                waited_s=turn.waited_s - handicap_s,
                wait_max_s=self._patience_s(prompt, deadline, turn.waited_s),
                in_line=True,
            )
            answer = await self._quota.reserve(again)
            if isinstance(answer, Granted):
                return answer
            if isinstance(answer, Refused):
                raise self._exhausted(answer)
            await turn.pause(answer.come_back_s)

    def _patience_s(self, prompt: Prompt, deadline: Deadline, waited_s: float) -> float:
        """The longest wait of use; where there is none to be had, a call may still go at once."""
        left_s = min(deadline.remaining_s(), PATIENCE_S_MAX)
        if left_s <= 0:
            raise DeadlineExceeded("the deadline passed before the call was sent")
        return max(0.0, min(left_s - (self._service_s or 0.0), prompt.patience_s - waited_s))

    def _exhausted(self, refused: Refused) -> QuotaExhausted:
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


def _left(completion: Completion) -> Costs:
    state = completion.rate_limit
    if state is None:
        return {}
    left: dict[BucketName, float] = {}
    if state.requests_left is not None:
        left["requests"] = state.requests_left
    if state.tokens_left is not None:
        left["tokens"] = state.tokens_left
    return left
