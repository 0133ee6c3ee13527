"""The circuit around Redis: open after a failure, closed again by a probe."""

from __future__ import annotations

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException

from assay.domain.errors import StoreUnavailable
from assay.domain.events import InternalFault
from assay.domain.supervision import RESTART_S_MAX, Supervisor
from assay.redis.circuit import RedisCircuit
from fakes.clock import FakeClock
from fakes.recorded_events import RecordedEvents


class Redis:
    """Answers, or fails with the errors it is given, one for each call."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def call(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "PONG"


class Guarded:
    """A circuit, and what it reports."""

    def __init__(self, probed: Redis) -> None:
        self.clock, self.events = FakeClock(), RecordedEvents()
        self.openings = 0
        supervisor = Supervisor(self.events, self.clock)
        self.circuit = RedisCircuit(probed.call, supervisor, opened=self.count_opening)

    def count_opening(self) -> None:
        self.openings += 1


@pytest.mark.parametrize(
    "outage",
    [RedisConnectionError("reset"), RedisClusterException("no node"), OSError(), TimeoutError()],
)
async def test_an_outage_opens_the_circuit_and_a_probe_closes_it(outage: Exception) -> None:
    """While it is open, calls fail at once and do not reach Redis."""
    redis, guarded = Redis(outage), Guarded(Redis())
    with pytest.raises(StoreUnavailable):
        await guarded.circuit.call(redis.call)
    with pytest.raises(StoreUnavailable):
        await guarded.circuit.call(redis.call)
    assert (redis.calls, guarded.openings) == (1, 1)
    await guarded.clock.advance(0.0)
    assert await guarded.circuit.call(redis.call) == "PONG"
    assert guarded.openings == 1


async def test_an_error_of_ours_is_no_outage() -> None:
    """It reaches the caller, and the circuit stays closed."""
    guarded = Guarded(Redis())
    with pytest.raises(ZeroDivisionError):
        await guarded.circuit.call(Redis(ZeroDivisionError()).call)
    assert guarded.circuit.closed


async def test_an_unexpected_error_of_the_probe_does_not_leave_the_circuit_open() -> None:
    """It is reported, and the next probe closes the circuit."""
    guarded = Guarded(Redis(ZeroDivisionError()))
    with pytest.raises(StoreUnavailable):
        await guarded.circuit.call(Redis(OSError()).call)
    await guarded.clock.advance(RESTART_S_MAX)
    assert guarded.circuit.closed
    [fault] = guarded.events.of(InternalFault)
    assert (fault.where, fault.error_type) == ("redis_probe", "ZeroDivisionError")


async def test_a_closed_circuit_leaves_no_probe_behind() -> None:
    """Closing it ends a probe that still waits for Redis."""
    endless = Redis(*(OSError() for _ in range(1_000)))
    guarded = Guarded(endless)
    with pytest.raises(StoreUnavailable):
        await guarded.circuit.call(Redis(OSError()).call)
    await guarded.circuit.aclose()
    calls = endless.calls
    await guarded.clock.advance(60.0)
    assert endless.calls == calls
