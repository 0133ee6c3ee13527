"""The task that shares breakers: it always ends, and it outlives errors."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from assay.domain.events import InternalFault
from assay.domain.supervision import RESTART_S_MAX, Supervisor
from assay.resilience.breaker.breaker import Breaker
from assay.resilience.breaker.fleet import BreakerFleet
from fakes.clock import FakeClock, settled
from fakes.models import MODEL
from fakes.policies import breaker_policy
from fakes.recorded_events import RecordedEvents

CLOSED = [b"closed", b"0", b"0", 0, b"", 0]


class Redis:
    """Runs no script, but answers each as for a closed breaker."""

    def __init__(self) -> None:
        self.calls = 0

    async def evalsha(self, *_: Any) -> list[Any]:
        self.calls += 1
        return CLOSED

    async def eval(self, *_: Any) -> list[Any]:
        raise AssertionError("the script is always known")


class SwallowsCancellation(Redis):
    """Answers when it is cancelled, as `asyncio.wait_for` of Python 3.11 may, and only then."""

    async def evalsha(self, *arguments: Any) -> list[Any]:
        reply = await super().evalsha(*arguments)
        if self.calls == 1:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return reply
        return reply


class BrokenOnce(Redis):
    """Answers what cannot be read, once."""

    async def evalsha(self, *arguments: Any) -> list[Any]:
        reply = await super().evalsha(*arguments)
        return [] if self.calls == 1 else reply


def sharing(redis: Redis, clock: FakeClock, events: RecordedEvents) -> BreakerFleet:
    fleet = BreakerFleet(redis, Supervisor(events, clock), budget_s=60.0)
    fleet.add(Breaker(MODEL.id, breaker_policy(), events))
    fleet.start()
    fleet.wake()
    return fleet


async def test_closing_ends_although_a_call_swallowed_the_cancellation() -> None:
    """The process must not hang in its shutdown; what is unshared is shared all the same."""
    redis, clock, events = SwallowsCancellation(), FakeClock(), RecordedEvents()
    fleet = sharing(redis, clock, events)
    await settled()
    assert redis.calls == 1
    async with asyncio.timeout(5.0):
        await fleet.aclose()
    assert redis.calls == 2
    assert events.of(InternalFault) == []


async def test_an_unexpected_error_does_not_end_the_sharing() -> None:
    """It is reported, and the next second the breakers are shared again."""
    redis, clock, events = BrokenOnce(), FakeClock(), RecordedEvents()
    fleet = sharing(redis, clock, events)
    await clock.advance(RESTART_S_MAX)
    fleet.wake()
    await settled()
    assert redis.calls == 2
    assert [fault.where for fault in events.of(InternalFault)] == ["breaker_fleet"]
    await fleet.aclose()


@pytest.mark.parametrize("started", [True, False])
async def test_closing_leaves_no_task(*, started: bool) -> None:
    """Also a fleet that was never started."""
    before = asyncio.all_tasks()
    fleet = BreakerFleet(Redis(), Supervisor(RecordedEvents()))
    if started:
        fleet.start()
    await fleet.aclose()
    assert asyncio.all_tasks() == before
