"""The fair queue at work: bounds, refusals, cancellation and overtaking."""

from __future__ import annotations

import asyncio
import random

import pytest

from assay.domain.completion import Caller, Priority
from assay.domain.errors import ModelError, Overloaded, ProviderDown, QuotaExhausted
from assay.domain.events import QueueRefused, WaitFinished
from assay.domain.policy import Deadline
from assay.resilience.queue.fair_order import QueuedWork, QueueLimits
from assay.resilience.queue.fair_queue import FairQueue, WaitReason
from assay.resilience.slotted import Slotted
from fakes.calls import call
from fakes.models import MODEL, GatedModel, ScriptedModel, ask
from fakes.queues import ROOMY, limits
from fakes.recorded_events import RecordedEvents


def queue_of(
    width: int = 1,
    limits: QueueLimits = ROOMY,
    waiting_for: WaitReason = "local_slot",
) -> tuple[FairQueue, RecordedEvents]:
    sink = RecordedEvents()
    return FairQueue(MODEL.id, waiting_for, width, sink, limits), sink


class Holder:
    """A caller that keeps its turn until `leave` is set."""

    def __init__(
        self,
        queue: FairQueue,
        tenant: str = "a",
        priority: Priority = "interactive",
        size: int = 1,
        deadline_s: float = 20.0,
        service_s: float = 0.0,
    ) -> None:
        self.entered = asyncio.Event()
        self.leave = asyncio.Event()
        self._turn = queue.turn(
            Caller(tenant, priority=priority), 1.0, size, Deadline.after(deadline_s), service_s
        )
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async with self._turn:
            self.entered.set()
            await self.leave.wait()


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_no_more_turns_than_slots_and_the_next_follows_at_once() -> None:
    """Two slots, three callers: the third waits, and has its turn as soon as one leaves."""
    queue, sink = queue_of(width=2)
    holders = [Holder(queue) for _ in range(3)]
    await settle()
    assert (queue.in_flight, queue.depth, queue.bytes) == (2, 1, 1)
    holders[0].leave.set()
    await settle()
    assert holders[2].entered.is_set()
    for holder in holders:
        holder.leave.set()
    await asyncio.gather(*(holder.task for holder in holders))
    assert (queue.in_flight, queue.depth, queue.bytes) == (0, 0, 0)
    assert [event.reason for event in sink.of(WaitFinished)] == ["local_slot"] * 3


@pytest.mark.parametrize("who", ["waiting", "holding", "granted a moment ago"])
async def test_cancelled_caller_leaves_at_once(who: str) -> None:
    """A caller that goes away, at any moment, takes no room and blocks no other."""
    queue, _ = queue_of()
    first, second, third = Holder(queue), Holder(queue), Holder(queue)
    await settle()
    if who == "waiting":
        second.task.cancel()
        await settle()
        assert (queue.depth, queue.bytes) == (1, 1)
        first.leave.set()
    elif who == "holding":
        first.task.cancel()
        second.leave.set()
    else:
        first.leave.set()
        await asyncio.sleep(0)
        second.task.cancel()
    await settle()
    assert third.entered.is_set()
    third.leave.set()
    second.leave.set()
    await asyncio.gather(first.task, second.task, third.task, return_exceptions=True)
    assert (queue.in_flight, queue.depth, queue.bytes) == (0, 0, 0)


@pytest.mark.parametrize(
    ("waiting_for", "error"), [("local_slot", Overloaded), ("provider_quota", QuotaExhausted)]
)
async def test_refusal_names_what_was_waited_for(
    waiting_for: WaitReason, error: type[ModelError]
) -> None:
    """More pods help against one kind of waiting only, so callers and gauges show which it is."""
    queue, sink = queue_of(waiting_for=waiting_for, limits=limits(calls_max=1))
    first, second = Holder(queue), Holder(queue)
    await settle()
    with pytest.raises(error) as caught:
        await Holder(queue).task
    assert caught.value.retry_after_s
    assert [(e.waiting_for, e.reason) for e in sink.of(QueueRefused)] == [
        (waiting_for, "full_count")
    ]
    for holder in (first, second):
        holder.leave.set()
        await holder.task


async def test_queue_is_bounded_by_bytes() -> None:
    """A few large prompts fill the queue as well as many small ones."""
    queue, sink = queue_of(limits=limits(bytes_max=100))
    holders = [Holder(queue), Holder(queue, size=60)]
    await settle()
    with pytest.raises(Overloaded):
        await Holder(queue, size=60).task
    with pytest.raises(Overloaded):
        await Holder(queue, "b", size=101).task
    assert queue.bytes == 60
    assert {event.reason for event in sink.of(QueueRefused)} == {"full_bytes"}
    for holder in holders:
        holder.leave.set()
        await holder.task


async def test_what_is_ahead_includes_those_whose_turn_it_is() -> None:
    """Whoever has its turn has not yet taken its quota, so it counts as ahead."""
    queue, _ = queue_of(waiting_for="provider_quota")
    holders = [Holder(queue, "flood") for _ in range(4)]
    await settle()
    assert queue.ahead_of(Caller("quiet")) == QueuedWork(2, 2.0)
    assert queue.ahead_of(Caller("flood")) == QueuedWork(4, 4.0)
    for holder in holders:
        holder.leave.set()
        await holder.task


async def test_flood_is_pushed_out_by_a_quiet_tenant() -> None:
    """A full queue makes room for a tenant that has less of it, and refuses the one with most."""
    queue, sink = queue_of(limits=limits(calls_max=3))
    first = Holder(queue, "flood")
    flood = [Holder(queue, "flood") for _ in range(3)]
    await settle()
    quiet = Holder(queue, "quiet")
    await settle()
    with pytest.raises(Overloaded):
        await flood[-1].task
    assert [event.reason for event in sink.of(QueueRefused)] == ["pushed_out"]
    for holder in (first, quiet, *flood):
        holder.leave.set()
    await asyncio.gather(first.task, quiet.task, flood[0].task, flood[1].task)


async def test_nobody_waits_in_order_to_fail() -> None:
    """Once the pace is known, a call that cannot have its turn in time is refused at once."""
    queue, sink = queue_of()
    holders = [Holder(queue) for _ in range(3)]
    for holder in holders:
        await holder.entered.wait()
        await asyncio.sleep(0.05)
        holder.leave.set()
    await asyncio.gather(*(holder.task for holder in holders))
    blocker, behind = Holder(queue), Holder(queue)
    await settle()
    assert queue.predicted_wait_s(Caller("a")) >= 0.09
    with pytest.raises(Overloaded) as caught:
        await Holder(queue, deadline_s=20.0, service_s=19.95).task
    assert caught.value.retry_after_s == pytest.approx(queue.predicted_wait_s(Caller("a")))
    assert sink.of(QueueRefused)[-1].reason == "deadline"
    assert queue.depth == 1
    for holder in (blocker, behind):
        holder.leave.set()
        await holder.task


async def test_wait_ends_when_too_little_time_is_left() -> None:
    """Where the wait could not be foretold, it ends with enough time left to try elsewhere."""
    queue, _ = queue_of()
    blocker = Holder(queue)
    await settle()
    with pytest.raises(Overloaded):
        await Holder(queue, deadline_s=10.0, service_s=9.98).task
    assert queue.depth == 0
    blocker.leave.set()
    await blocker.task


async def test_interactive_call_overtakes_a_pausing_batch_call() -> None:
    """A batch call that waits for quota in front of the queue lets an interactive one go first,
    and then has its turn again, before the rest of its tenant."""
    queue, _ = queue_of(waiting_for="provider_quota")
    course: list[str] = []

    async def batch(name: str) -> None:
        caller = Caller("b", priority="batch")
        async with queue.turn(caller, 5.0, 1, Deadline.after(20.0)) as turn:
            await turn.pause(30.0 if name == "first" and not course else 0.0)
            course.append(name)

    first = asyncio.create_task(batch("first"))
    second = asyncio.create_task(batch("second"))
    await settle()
    urgent = Holder(queue, "i")
    await settle()
    assert urgent.entered.is_set()
    assert (queue.in_flight, course) == (1, [])
    urgent.leave.set()
    await asyncio.gather(first, second, urgent.task)
    assert course == ["first", "second"]


async def test_pausing_caller_that_goes_away_blocks_nobody() -> None:
    """Cancelled in its pause, or overtaken and cancelled then: the queue moves on."""
    queue, _ = queue_of()

    async def pausing() -> None:
        caller = Caller("b", priority="batch")
        async with queue.turn(caller, 1.0, 1, Deadline.after(20.0)) as turn:
            await turn.pause(30.0)

    for overtake in (False, True):
        task = asyncio.create_task(pausing())
        await settle()
        urgent = Holder(queue, "i") if overtake else None
        await settle()
        task.cancel()
        await settle()
        if urgent is not None:
            urgent.leave.set()
            await urgent.task
        assert (queue.in_flight, queue.depth) == (0, 0)


async def test_quiet_tenant_passes_a_flood_on_a_real_loop() -> None:
    """With two hundred calls of one tenant waiting, another's call has its turn within a few."""
    queue, _ = queue_of(width=2)
    served: list[str] = []

    async def call(tenant: str) -> None:
        async with queue.turn(Caller(tenant), 1.0, 1, Deadline.after(20.0)):
            await asyncio.sleep(0)
            served.append(tenant)

    flood = [asyncio.create_task(call("flood")) for _ in range(200)]
    await settle()
    before = len(served)
    await call("quiet")
    assert served.index("quiet") - before <= 6
    await asyncio.gather(*flood)
    assert len(served) == 201


async def test_storm_of_callers_and_cancellations_leaves_nothing_behind() -> None:
    """However callers come, go and give up: never more turns than slots, and in the end none."""
    queue, _ = queue_of(width=3, limits=limits(calls_max=20, bytes_max=100))
    chance = random.Random(7)
    most = 0

    async def call(number: int) -> None:
        nonlocal most
        priority: Priority = "batch" if number % 3 else "interactive"
        caller = Caller(f"t{number % 5}", priority=priority)
        size = chance.randint(1, 20)
        async with queue.turn(caller, float(size), size, Deadline.after(5.0)) as turn:
            most = max(most, queue.in_flight)
            await (turn.pause(0.001) if number % 2 else asyncio.sleep(0.001))

    tasks = [asyncio.create_task(call(number)) for number in range(300)]
    for task in chance.sample(tasks, 100):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert most == 3
    assert (queue.in_flight, queue.depth, queue.bytes) == (0, 0, 0)


async def test_slotted_model_has_a_bounded_number_of_calls_under_way() -> None:
    """Five calls, two slots: two at the provider, and a utilization that says three wait."""
    model = GatedModel()
    slotted = Slotted(model, MODEL, RecordedEvents(), 2, ROOMY)
    calls = [asyncio.create_task(slotted.complete(ask(), call(20.0))) for _ in range(5)]
    await settle()
    assert (model.in_flight, slotted.utilization) == (2, 2.5)
    model.gate.set()
    await asyncio.gather(*calls)
    assert (model.in_flight_max, slotted.utilization) == (2, 0.0)


async def test_failed_call_gives_its_slot_back() -> None:
    """An error of the provider passes through and frees the slot."""
    slotted = Slotted(ScriptedModel(ProviderDown("503")), MODEL, RecordedEvents(), 1, ROOMY)
    for _ in range(2):
        with pytest.raises(ProviderDown):
            await slotted.complete(ask(), call(20.0))
    assert slotted.queue.in_flight == 0


async def test_one_bad_spell_is_not_held_against_a_queue_for_ever() -> None:
    """After one slow spell, quick turns bring the predicted wait down again, although
    no call had to queue for them."""
    now_s = [0.0]
    queue = FairQueue(MODEL.id, "local_slot", 1, RecordedEvents(), ROOMY, clock_s=lambda: now_s[0])

    async def keep(seconds: float) -> None:
        async with queue.turn(Caller(), 1.0, 1, Deadline.after(20.0)):
            now_s[0] += seconds

    await keep(30.0)
    for _ in range(200):
        await keep(0.1)
    blocker = Holder(queue)
    await settle()
    assert queue.predicted_wait_s(Caller()) < 0.2
    blocker.leave.set()
    await blocker.task


@pytest.mark.parametrize("waiting_for", ["local_slot", "provider_quota"])
async def test_only_the_wait_for_a_slot_is_foretold_by_the_past(waiting_for: WaitReason) -> None:
    """Redis knows how long the quota takes: however long it took before, a caller may queue."""
    now_s = [0.0]
    queue = FairQueue(MODEL.id, waiting_for, 1, RecordedEvents(), ROOMY, clock_s=lambda: now_s[0])
    slow = Holder(queue)
    await slow.entered.wait()
    now_s[0] += 100.0
    slow.leave.set()
    await slow.task
    blocker, hasty = Holder(queue), Holder(queue, deadline_s=20.0)
    await settle()
    assert queue.depth == (1 if waiting_for == "provider_quota" else 0)
    blocker.leave.set()
    hasty.leave.set()
    await asyncio.gather(blocker.task, hasty.task, return_exceptions=True)


async def test_a_batch_leaves_turns_for_interactive_calls_that_are_about() -> None:
    """An interactive call finds a free turn beside a batch that would take them all."""
    queue, _ = queue_of(width=8)
    seen = Holder(queue)
    await settle()
    seen.leave.set()
    await seen.task
    rows = [Holder(queue, priority="batch", deadline_s=60) for _ in range(20)]
    await settle()
    assert (queue.in_flight, queue.depth) == (6, 14)
    calls = [Holder(queue) for _ in range(2)]
    await settle()
    assert all(call.entered.is_set() for call in calls)
    calls[0].leave.set()
    await settle()
    assert (queue.in_flight, queue.depth) == (7, 14)
    for holder in (*rows, *calls):
        holder.leave.set()
    await asyncio.gather(*(holder.task for holder in (*rows, *calls)))
    assert queue.present == 0


async def test_a_batch_has_all_turns_where_nobody_else_calls() -> None:
    """A worker of its own sees no interactive call, and a minute after the last it is alike."""
    now_s = [0.0]
    queue = FairQueue(MODEL.id, "local_slot", 8, RecordedEvents(), ROOMY, clock_s=lambda: now_s[0])
    first = Holder(queue)
    await settle()
    first.leave.set()
    await first.task
    now_s[0] = 61.0
    rows = [Holder(queue, priority="batch", deadline_s=60) for _ in range(8)]
    await settle()
    assert (queue.in_flight, queue.depth) == (8, 0)
    for holder in rows:
        holder.leave.set()
    await asyncio.gather(*(holder.task for holder in rows))


async def test_interactive_calls_that_never_queue_do_not_starve_a_batch() -> None:
    """Where they keep all but a few turns, an aged batch call still gets one turn of eight."""
    now_s = [0.0]
    queue = FairQueue(MODEL.id, "local_slot", 8, RecordedEvents(), ROOMY, clock_s=lambda: now_s[0])
    steady = [Holder(queue) for _ in range(6)]
    await settle()
    row = Holder(queue, priority="batch", deadline_s=60)
    await settle()
    assert not row.entered.is_set()
    now_s[0] = 6.0
    for turn in range(8):
        assert not row.entered.is_set(), turn
        call = Holder(queue)
        await settle()
        call.leave.set()
        await call.task
        await settle()
        if row.entered.is_set():
            break
    assert row.entered.is_set()
    for holder in (*steady, row):
        holder.leave.set()
    await asyncio.gather(*(holder.task for holder in (*steady, row)))
