"""Background tasks: reported, restarted and stopped."""

from __future__ import annotations

import asyncio

import pytest

from assay.domain.events import InternalFault
from assay.domain.supervision import (
    CANCEL_AGAIN_S,
    CANCELLATIONS_MAX,
    JITTER_SHARE,
    RESTART_S_MAX,
    RESTART_S_MIN,
    STABLE_S,
    SupervisedTask,
    Supervisor,
)
from fakes.clock import FakeClock, settled
from fakes.recorded_events import RecordedEvents

LATEST = 1 + JITTER_SHARE


class Supervised:
    """A supervisor on a clock that the test moves."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.events = RecordedEvents()
        self.supervisor = Supervisor(self.events, self.clock)

    @property
    def faults(self) -> list[InternalFault]:
        return self.events.of(InternalFault)


@pytest.fixture
async def tasks():
    made = Supervised()
    yield made
    stopping = asyncio.create_task(made.supervisor.stop())
    await made.clock.advance(CANCEL_AGAIN_S * CANCELLATIONS_MAX)
    await stopping


class Work:
    """Fails as often as it is to, then waits for ever; notes when it was begun."""

    def __init__(self, clock: FakeClock, failures: int, lasts_s: float = 0.0) -> None:
        self._clock = clock
        self._failures = failures
        self._lasts_s = lasts_s
        self.begun_s: list[float] = []

    async def __call__(self, task: SupervisedTask) -> None:
        self.begun_s.append(self._clock.now_s)
        if len(self.begun_s) > self._failures:
            await asyncio.Event().wait()
        await self._clock.sleep(self._lasts_s)
        raise RuntimeError("a secret of the caller")


async def test_an_error_is_reported_without_its_message(tasks):
    """The event names the task, the type of the error and the code, and no values."""
    tasks.supervisor.start("sweep", Work(tasks.clock, failures=1))
    await tasks.clock.advance(0.0)
    [fault] = tasks.faults
    assert (fault.where, fault.error_type) == ("sweep", "RuntimeError")
    assert "__call__" in fault.trace
    assert "secret" not in fault.trace.replace('raise RuntimeError("a secret of the caller")', "")


async def test_a_failing_task_restarts_after_pauses_that_double_up_to_a_bound(tasks):
    """It goes on trying for ever, and hardly ever in the end."""
    work = Work(tasks.clock, failures=2_000)
    tasks.supervisor.start("sweep", work)
    await tasks.clock.advance(60.0)
    pauses = [later - begun for begun, later in zip(work.begun_s, work.begun_s[1:], strict=False)]
    for number, pause_s in enumerate(pauses):
        usual_s = min(RESTART_S_MIN * 2**number, RESTART_S_MAX)
        assert pause_s == pytest.approx(usual_s, rel=JITTER_SHARE + 1e-9)
    assert len(tasks.faults) == len(work.begun_s) > 8


async def test_two_thousand_failures_do_not_end_a_task(tasks):
    """The doubling pause is no number that could overflow."""
    work = Work(tasks.clock, failures=2_000)
    tasks.supervisor.start("sweep", work)
    for _ in range(2_000):
        await tasks.clock.advance(RESTART_S_MAX * LATEST)
    assert len(work.begun_s) == 2_001


async def test_a_task_that_ran_well_for_a_while_restarts_quickly(tasks):
    """An error now and then is not a series of errors."""
    work = Work(tasks.clock, failures=5, lasts_s=STABLE_S)
    tasks.supervisor.start("sweep", work)
    await tasks.clock.advance(60.0)
    pauses = [
        later - begun - STABLE_S
        for begun, later in zip(work.begun_s, work.begun_s[1:], strict=False)
    ]
    assert len(pauses) == 5
    assert max(pauses) <= RESTART_S_MIN * LATEST + 1e-9


async def test_work_that_returns_is_over(tasks):
    """A task that has nothing more to do is neither restarted nor kept."""

    async def once(_: SupervisedTask) -> None:
        runs.append(1)

    runs: list[int] = []
    task = tasks.supervisor.start("once", once)
    await tasks.clock.advance(60.0)
    assert (runs, task.done, tasks.faults) == ([1], True, [])


async def test_what_is_done_once_is_reported_and_not_repeated(tasks):
    """With `restarts=False` an error ends the task."""
    work = Work(tasks.clock, failures=5)
    task = tasks.supervisor.start("release", work, restarts=False)
    await tasks.clock.advance(60.0)
    assert (len(work.begun_s), len(tasks.faults), task.done) == (1, 1, True)


async def test_a_cancellation_from_within_is_an_error_like_any_other(tasks):
    """Where something that the work awaits is cancelled, the task itself is not to die of it."""
    other = asyncio.create_task(asyncio.sleep(3_600))
    other.cancel()
    runs: list[int] = []

    async def awaits_another(_: SupervisedTask) -> None:
        runs.append(1)
        await (other if len(runs) == 1 else asyncio.Event().wait())

    tasks.supervisor.start("poll", awaits_another)
    await tasks.clock.advance(1.0)
    assert len(runs) == 2
    assert [fault.error_type for fault in tasks.faults] == ["CancelledError"]


async def test_an_essential_task_counts_as_failing_until_it_has_run_for_a_while(tasks):
    """The process is not ready from the first error until the restarted work is stable."""
    tasks.supervisor.start("worker", Work(tasks.clock, failures=1), essential=True)
    tasks.supervisor.start("trim", Work(tasks.clock, failures=99))
    assert tasks.supervisor.failing == []
    await tasks.clock.advance(0.0)
    assert tasks.supervisor.failing == ["worker"]
    await tasks.clock.advance(STABLE_S)
    assert tasks.supervisor.failing == ["worker"]
    await tasks.clock.advance(RESTART_S_MIN * LATEST)
    assert tasks.supervisor.failing == []


async def test_a_stopped_task_is_not_failing(tasks):
    """Stopping in the pause before a restart ends the task at once."""
    task = tasks.supervisor.start("worker", Work(tasks.clock, failures=9), essential=True)
    await tasks.clock.advance(0.0)
    await task.stop()
    assert task.done
    assert tasks.supervisor.failing == []


async def test_a_swallowed_cancellation_is_made_good_by_the_flag(tasks):
    """Work that goes on after its cancellation sees `stopping` in its next round."""

    async def deaf_once(task: SupervisedTask) -> None:
        while not task.stopping:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    task = tasks.supervisor.start("share", deaf_once)
    await settled()
    await task.stop()
    assert task.done
    assert tasks.faults == []


async def test_a_swallowed_cancellation_is_made_good_by_the_next(tasks):
    """Work that waits on after its cancellation is cancelled again within a second."""

    async def waits_on(_: SupervisedTask) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    task = tasks.supervisor.start("share", waits_on)
    await settled()
    stopping = asyncio.create_task(task.stop())
    await tasks.clock.advance(CANCEL_AGAIN_S / 2)
    assert not stopping.done()
    await tasks.clock.advance(CANCEL_AGAIN_S)
    await stopping
    assert task.done
    assert tasks.faults == []


async def test_a_task_that_never_ends_is_left_and_reported(tasks):
    """Stopping takes no longer than its bound, whatever the work does."""
    gate = asyncio.Event()

    async def deaf(_: SupervisedTask) -> None:
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue

    task = tasks.supervisor.start("deaf", deaf)
    await settled()
    stopping = asyncio.create_task(tasks.supervisor.stop())
    await tasks.clock.advance(CANCEL_AGAIN_S * CANCELLATIONS_MAX)
    await stopping
    assert not task.done
    assert [(fault.where, fault.error_type) for fault in tasks.faults] == [("deaf", "TimeoutError")]
    gate.set()
    await settled()
    assert task.done
