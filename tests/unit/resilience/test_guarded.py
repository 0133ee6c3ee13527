"""Guarded: what passes to the model, and what its answers say to the breaker."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from assay.domain import errors
from assay.domain.completion import NO_USAGE, Completion
from assay.domain.errors import ModelError
from assay.domain.events import KeyQuarantined
from assay.domain.hedging import HedgedCall
from assay.domain.models import Model
from assay.domain.policy import BreakerPolicy
from assay.resilience.breaker.breaker import Breaker
from assay.resilience.guarded import KEY_QUARANTINE_S, Guarded
from fakes.calls import call
from fakes.models import MODEL, GatedModel, ScriptedModel, answer, ask
from fakes.policies import breaker_policy
from fakes.recorded_events import RecordedEvents

POLICY = breaker_policy(calls_min=1)


class GuardedModel:
    """A guarded model with a breaker that trips on its first bad call."""

    def __init__(
        self,
        model: ScriptedModel | GatedModel,
        policy: BreakerPolicy = POLICY,
        served: Model = MODEL,
    ) -> None:
        self.now_s = 1_000.0
        self.sink = RecordedEvents()
        self.breaker = Breaker(MODEL.id, policy, self.sink, lambda: self.now_s)
        self.chat = Guarded(model, served, self.breaker, self.sink, clock_s=lambda: self.now_s)

    async def call(self, hedged: HedgedCall | None = None) -> Completion:
        return await self.chat.complete(ask(), replace(call(5.0), hedged=hedged))


@pytest.mark.parametrize(
    "error",
    errors.error_classes(),
    ids=lambda kind: kind.__name__,
)
async def test_error_tree_alone_decides_what_trips(error: type[ModelError]) -> None:
    """The breaker opens after exactly those failures whose class says so."""
    guard = GuardedModel(
        ScriptedModel(error("x") if error is not errors.NoCandidate else error([]))
    )
    with pytest.raises(error):
        await guard.call()
    assert guard.breaker.state == ("open" if error.call_result.failed else "closed")


@pytest.mark.parametrize(("first_byte_ms", "state"), [(4_999.0, "closed"), (5_000.0, "open")])
async def test_late_first_byte_is_a_slow_call(first_byte_ms: float, state: str) -> None:
    """An answer that began after five seconds is served, and counts against the model."""
    guard = GuardedModel(ScriptedModel(answer(first_byte_ms=first_byte_ms, latency_ms=9_000.0)))
    assert (await guard.call()).text == "yes"
    assert guard.breaker.state == state


@pytest.mark.parametrize(("idle_s", "state"), [(0.0, "closed"), (2.4, "closed"), (2.5, "open")])
async def test_deadlines_shorter_than_the_silence_can_trip(idle_s: float, state: str) -> None:
    """A deadline that ran out after half of `slow_s` without a byte is a slow call; others not."""
    error = errors.DeadlineExceeded("x")
    error.idle_s = idle_s
    guard = GuardedModel(ScriptedModel(error))
    with pytest.raises(errors.DeadlineExceeded):
        await guard.call()
    assert guard.breaker.state == state


@pytest.mark.parametrize(
    ("superseded", "idle_s", "state"),
    [(True, 0.0, "closed"), (True, 2.4, "closed"), (True, 2.5, "open"), (False, 2.5, "closed")],
)
async def test_a_superseded_call_shows_what_it_has_shown(
    superseded: bool, idle_s: float, state: str
) -> None:
    """To be cancelled is no failure of the provider; the silence until a hedge answers may be one.
    A caller who leaves shows nothing."""

    class Cancelled(ScriptedModel):
        async def complete(self, *_: object) -> Completion:
            cancelled = asyncio.CancelledError()
            cancelled.idle_s = idle_s  # type: ignore[attr-defined]
            raise cancelled

    guard, hedged = GuardedModel(Cancelled()), HedgedCall(lambda: NO_USAGE)
    hedged.superseded = superseded
    with pytest.raises(asyncio.CancelledError):
        await guard.call(hedged)
    assert guard.breaker.state == state


THINKER = replace(MODEL, reasoning=True)


def thoughts(*seconds: float) -> ScriptedModel:
    return ScriptedModel(*(answer(first_byte_ms=s * 1_000, latency_ms=s * 1_000) for s in seconds))


async def test_a_model_that_thinks_is_slow_by_its_own_measure() -> None:
    """A minute is usual for it; where half of the calls take twice what is usual, it is slow."""
    guard = GuardedModel(thoughts(*[60.0] * 51, *[125.0] * 20), breaker_policy(), THINKER)
    for _ in range(51):
        await guard.call()
        guard.now_s += 1.0
    assert guard.breaker.state == "closed"
    guard.now_s += POLICY.window_s
    for _ in range(20):
        await guard.call()
    assert guard.breaker.state == "open"


async def test_a_quick_thinker_has_the_five_seconds_of_all() -> None:
    """Twice the usual is never less than `slow_s`."""
    guard = GuardedModel(thoughts(*[0.5] * 20, *[4.9] * 20), breaker_policy(), THINKER)
    for _ in range(40):
        await guard.call()
    assert guard.breaker.state == "closed"


async def test_open_breaker_sends_nothing() -> None:
    """A refused call reaches no provider and says when to come back."""
    model = ScriptedModel(errors.ProviderDown("503"))
    guard = GuardedModel(model)
    with pytest.raises(errors.ProviderDown):
        await guard.call()
    with pytest.raises(errors.BreakerOpen) as caught:
        await guard.call()
    assert model.calls == 1
    assert caught.value.retry_after_s == guard.chat.open_for_s() > 0


async def test_cancelled_probes_leave_room_for_others() -> None:
    """Probes whose callers went away neither close nor open the breaker, nor block it."""
    model = GatedModel()
    guard = GuardedModel(model)
    permit = guard.breaker.permit()
    assert permit is not None
    guard.breaker.settle(permit, errors.FAILURE)
    guard.now_s += POLICY.open_max_s
    probes = [asyncio.create_task(guard.call()) for _ in range(POLICY.probes)]
    await asyncio.sleep(0)
    for probe in probes:
        probe.cancel()
    await asyncio.gather(*probes, return_exceptions=True)
    assert guard.breaker.state == "half_open"
    model.gate.set()
    for _ in range(POLICY.probes):
        await guard.call()
    assert guard.breaker.state == "closed"


async def test_rejected_key_is_quarantined_for_a_minute() -> None:
    """After a rejected key nothing is sent for a minute, and the alarm is raised once."""
    model = ScriptedModel(errors.KeyRejected("401"), answer())
    guard = GuardedModel(model)
    with pytest.raises(errors.KeyRejected):
        await guard.call()
    for _ in range(3):
        with pytest.raises(errors.KeyInQuarantine):
            await guard.call()
    assert model.calls == 1
    assert guard.chat.open_for_s() == KEY_QUARANTINE_S
    assert guard.sink.of(KeyQuarantined) == [KeyQuarantined("fake", MODEL.id, KEY_QUARANTINE_S)]
    guard.now_s += KEY_QUARANTINE_S
    assert (await guard.call()).text == "yes"
