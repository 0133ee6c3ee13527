"""What a lease on an idempotency key does in the background."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from assay.domain.events import InternalFault
from assay.domain.policy import Deadline
from assay.domain.supervision import RESTART_S_MAX, Supervisor
from assay.store.idempotency.leases import CLAIM, RELEASE, RENEW, RedisIdempotency
from fakes.batches import until
from fakes.clock import FakeClock
from fakes.recorded_events import RecordedEvents

NAMES = {CLAIM.sha: "claim", RENEW.sha: "renew", RELEASE.sha: "release"}


class Redis:
    """Gives every key away; the first call of a script that is broken raises what Redis never does.

    `hanging` scripts do not answer.
    """

    def __init__(self, broken: str = "", hanging: str = "") -> None:
        self.calls: list[str] = []
        self._broken = broken
        self._hanging = hanging

    async def evalsha(self, sha: str, *_: Any) -> Any:
        name = NAMES[sha]
        self.calls.append(name)
        if name == self._hanging:
            await asyncio.Event().wait()
        if name == self._broken and self.calls.count(name) == 1:
            raise ZeroDivisionError
        return [b"claimed"] if name == "claim" else 1


def store_on(redis: Redis, events: RecordedEvents, clock: FakeClock) -> RedisIdempotency:
    supervisor = Supervisor(events, clock)
    return RedisIdempotency(redis, supervisor, lease_s=0.003)  # type: ignore[arg-type]


async def test_renewal_goes_on_after_an_unexpected_error():
    """It is reported; a lease that lapsed unseen would have the request run twice."""
    redis, events, clock = Redis(broken="renew"), RecordedEvents(), FakeClock()
    lease = await store_on(redis, events, clock).claim("t", "k", "d", Deadline.after(5))
    await until(lambda: events.of(InternalFault) != [])
    await clock.advance(RESTART_S_MAX)
    await until(lambda: redis.calls.count("renew") > 1)
    assert [fault.where for fault in events.of(InternalFault)] == ["idempotency_renewal"]
    await lease.release()  # type: ignore[union-attr]
    renewals = redis.calls.count("renew")
    await asyncio.sleep(0.01)
    assert redis.calls.count("renew") == renewals


@pytest.mark.parametrize("broken", ["", "release"])
async def test_a_claim_that_was_given_up_is_released_once(broken):
    """The caller went away while Redis was asked: it may have the claim all the same."""
    redis, events, clock = Redis(broken, hanging="claim"), RecordedEvents(), FakeClock()
    claiming = asyncio.create_task(
        store_on(redis, events, clock).claim("t", "k", "d", Deadline.after(5))
    )
    await clock.advance(0.0)
    claiming.cancel()
    await asyncio.gather(claiming, return_exceptions=True)
    await clock.advance(60.0)
    assert redis.calls == ["claim", "release"]
    faults = [fault.where for fault in events.of(InternalFault)]
    assert faults == (["idempotency_release"] if broken else [])
