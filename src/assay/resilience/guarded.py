"""Lets a call through to its model only if the circuit breaker and the API key allow it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import TypeVar

from assay.domain.call_results import NO_RESULT, SLOW, SUCCESS, CallResult
from assay.domain.completion import CallContext, Completion, Prompt
from assay.domain.errors import (
    BreakerOpen,
    KeyInQuarantine,
    KeyRejected,
    ModelError,
    StoreUnavailable,
)
from assay.domain.events import KeyQuarantined
from assay.domain.models import Model
from assay.domain.moving_average import MovingQuantiles
from assay.domain.ports import ChatModel, EventSink
from assay.resilience.breaker.breaker import Breaker, Permit
from assay.resilience.breaker.fleet import BreakerFleet

T = TypeVar("T")

KEY_QUARANTINE_S = 60.0

LEASE_MARGIN_S = 2.0
"""A probe's lease outlives its call by this much; then its owner counts as dead."""

LEASE_S_MAX = 600.0

ASK_AGAIN_S = 0.25
"""After the fleet refused a probe, this process refuses on its own for this long."""

SLOW_PROOF_SHARE = 0.5
"""Part of the time of a slow call without a byte after which a deadline that ran out counts as a
slow call."""

SLOW_MEDIANS = 2.0
"""A model that thinks is slow where it takes so many times what is usual for it."""


class Guarded:
    """A `ChatModel` behind a circuit breaker.

    Without a fleet the breaker guards this process alone.
    """

    def __init__(
        self,
        inner: ChatModel,
        model: Model,
        breaker: Breaker,
        events: EventSink,
        fleet: BreakerFleet | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inner = inner
        self._model = model
        self._events = events
        self._fleet = fleet
        self._clock_s = clock_s
        self._key_rejected_until_s = -math.inf
        self._ask_after_s = -math.inf
        self._asking = 0
        self._usual_s = MovingQuantiles()
        self.breaker = breaker
        if fleet is not None:
            fleet.add(breaker)

    def open_for_s(self) -> float:
        """How long calls will still be refused; 0 if one may be tried now."""
        return max(self.breaker.due_in_s, self._key_rejected_until_s - self._clock_s(), 0.0)

    async def complete(self, prompt: Prompt[T], context: CallContext) -> Completion[T]:
        """Send the call on and credit its result to the breaker.

        Raises `BreakerOpen` or `KeyInQuarantine` before anything is sent.
        """
        self._refuse_quarantined_key()
        lease_s = min(max(context.deadline.remaining_s(), 0.0) + LEASE_MARGIN_S, LEASE_S_MAX)
        permit = await self._enter(lease_s)
        result = NO_RESULT
        try:
            completion = await self._inner.complete(prompt, context)
            first_byte_s = completion.first_byte_ms / 1000
            self._usual_s.add(first_byte_s)
            result = SLOW if first_byte_s >= self._slow_s else SUCCESS
        except ModelError as error:
            result = _result(error, self._slow_s)
            if isinstance(error, KeyRejected):
                self._quarantine_key()
            raise
        except asyncio.CancelledError as cancelled:
            # A caller who leaves proves nothing; what a hedge has overtaken may be slow.
            if (
                context.hedged
                and context.hedged.superseded
                and _proves_slow(cancelled, self._slow_s)
            ):
                result = SLOW
            raise
        finally:
            # Also if the caller went away: another probe can take the place at once.
            self._leave(permit, result, lease_s)
        return completion

    @property
    def _slow_s(self) -> float:
        """From when on a call is slow; a model that thinks is compared with itself."""
        usual_s = self._usual_s.median if self._model.reasoning else None
        return max(self.breaker.policy.slow_s, SLOW_MEDIANS * (usual_s or 0.0))

    async def _enter(self, lease_s: float) -> Permit:
        breaker = self.breaker
        permit = breaker.permit()
        if permit is None and breaker.state == "half_open":
            permit = await self._enter_as_probe(lease_s)
        if permit is None:
            due_in_s = breaker.due_in_s
            raise BreakerOpen(
                "The model's circuit breaker is open.",
                retry_after_s=None if math.isinf(due_in_s) else max(due_in_s, ASK_AGAIN_S),
            )
        return permit

    async def _enter_as_probe(self, lease_s: float) -> Permit | None:
        """Permission for a probe, from the fleet if Redis answers; None if there is none."""
        breaker = self.breaker
        if self._fleet is None:
            return breaker.local_probe()
        # Of all the calls that wait for a breaker to be due, only a few ask Redis.
        if self._asking >= breaker.policy.probes or self._clock_s() < self._ask_after_s:
            return None
        self._asking += 1
        lease = None
        try:
            lease = await self._fleet.lease_probe(breaker, lease_s)
        except StoreUnavailable:
            # One late answer must not make every process send all the probes of the fleet.
            decides_alone = self._fleet.decides_alone(breaker)
        else:
            # The fleet may count the model as healthy, while only this process knows better.
            decides_alone = breaker.trip_unshared
        finally:
            self._asking -= 1
        if lease is not None:
            permit = breaker.leased_probe(lease)
            if permit is None:
                self._fleet.settle_probe(breaker, lease, "none", lease_s)
            return permit
        if decides_alone and breaker.state == "half_open":
            return breaker.local_probe()
        self._ask_after_s = self._clock_s() + ASK_AGAIN_S
        return breaker.permit()

    def _leave(self, permit: Permit, result: CallResult, lease_s: float) -> None:
        self.breaker.settle(permit, result)
        if self._fleet is None:
            return
        if permit.lease is not None:
            self._fleet.settle_probe(self.breaker, permit.lease, result.probe, lease_s)
        elif self.breaker.trip_unshared:
            self._fleet.wake()

    def _refuse_quarantined_key(self) -> None:
        left_s = self._key_rejected_until_s - self._clock_s()
        if left_s > 0:
            raise KeyInQuarantine(
                "The provider rejected the API key of this model.", retry_after_s=left_s
            )

    def _quarantine_key(self) -> None:
        self._key_rejected_until_s = self._clock_s() + KEY_QUARANTINE_S
        self._events.emit(KeyQuarantined(self._model.provider, self._model.id, KEY_QUARANTINE_S))


def _result(error: ModelError, slow_s: float) -> CallResult:
    """What a failure says about the provider."""
    if error.call_result == NO_RESULT and _proves_slow(error, slow_s):
        return SLOW
    return error.call_result


def _proves_slow(ended: ModelError | asyncio.CancelledError, slow_s: float) -> bool:
    """Whether a call that was ended on our side shows that the provider is slow.

    It does if the provider had a good part of `slow_s` for its first byte and sent none: otherwise
    callers with short deadlines, and calls that are hedged, could never trip the breaker. A shorter
    time, or a wait in our own queues, proves no fault.
    """
    idle_s: float = getattr(ended, "idle_s", 0.0)
    return idle_s >= SLOW_PROOF_SHARE * slow_s
