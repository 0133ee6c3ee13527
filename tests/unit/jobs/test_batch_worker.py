"""A worker: slots, turns, a store that goes away, and the end."""

import asyncio

import pytest

from assay.batches.rows import BatchSpecError, RetryLater
from assay.batches.worker import BatchWorker, WorkerLimits
from assay.domain.batches import Claim, NewRow, RowResult
from assay.domain.errors import StoreUnavailable
from assay.domain.events import BatchRowFinished, BatchRowReturned
from fakes.recorded_events import RecordedEvents

LIMITS = WorkerLimits(
    slots=4, poll_s=0.01, renew_s=0.02, grace_s=0.2, store_pause_s=0.01, store_pause_max_s=0.02
)


class Queue:
    """Rows in memory; `away` makes every call fail."""

    def __init__(self, **batches):
        self.rows = {name: list(range(count)) for name, count in batches.items()}
        self.claimed = []
        self.settled, self.returned, self.failed, self.renewed = [], [], [], []
        self.away = False

    def _check(self):
        if self.away:
            raise StoreUnavailable("away")

    async def active(self):
        self._check()
        return list(self.rows)

    async def claim(self, batch_id, count):
        self._check()
        taken, self.rows[batch_id] = self.rows[batch_id][:count], self.rows[batch_id][count:]
        self.claimed += [batch_id] * len(taken)
        payload = NewRow(0, "row", b"{}")
        return [Claim(batch_id, f"{n}-1", n, "k", 0, 0, payload) for n in taken]

    async def renew(self, claims):
        self.renewed += claims

    async def settle(self, claim, result):
        self._check()
        self.settled.append(claim.index)
        return "stored"

    async def give_back(self, claim, delay_s=0.0):
        self.returned.append((claim.index, delay_s))

    async def fail(self, batch_id, error):
        self.failed.append(batch_id)

    async def forget(self, batch_id):
        raise AssertionError("nothing to forget here")


class Runner:
    """Does every row alike, and counts how many at a time."""

    def __init__(self, work):
        self.work = work
        self.now = self.most = 0

    async def run(self, claim):
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await self.work(claim)
        finally:
            self.now -= 1


async def quick(claim):
    await asyncio.sleep(0)
    return RowResult("row", "scored", b"{}")


async def endless(claim):
    await asyncio.Event().wait()


def make(queue, work, limits=LIMITS):
    events = RecordedEvents()
    runner = Runner(work)
    return BatchWorker(queue, runner, None, events, limits), runner, events


async def working(worker, condition):
    """Run the worker until the condition holds, then stop it."""
    task = asyncio.create_task(worker.run())
    async with asyncio.timeout(10):
        while True:
            if condition():
                break
            await asyncio.sleep(0.005)
    worker.stop()
    await asyncio.wait_for(task, 5)


async def test_every_row_is_done_and_no_more_than_the_slots_at_a_time():
    """Each has its event."""
    queue = Queue(a=50)
    worker, runner, events = make(queue, quick)
    await working(worker, lambda: len(queue.settled) == 50)
    assert sorted(queue.settled) == list(range(50))
    assert runner.most <= 4
    assert len(list(events.of(BatchRowFinished))) == 50


async def test_batches_take_turns():
    """A large batch does not hold up a small one that came later."""
    queue = Queue(large=1_000, small=4)
    worker, *_ = make(queue, quick)
    await working(worker, lambda: not queue.rows["small"])
    assert len(queue.claimed) - queue.claimed[::-1].index("small") < 20


async def test_results_outlive_a_store_that_is_away():
    """What is judged is stored when the store is back, without judging it again."""
    queue = Queue(a=4)
    judged = []

    async def work(claim):
        judged.append(claim.index)
        queue.away = True
        return await quick(claim)

    worker, *_ = make(queue, work)
    task = asyncio.create_task(worker.run())
    await asyncio.sleep(0.15)
    assert queue.settled == []
    queue.away = False
    await working_end(task, worker, lambda: len(queue.settled) == 4, queue)
    assert sorted(judged) == [0, 1, 2, 3]


async def working_end(task, worker, condition, queue):
    async with asyncio.timeout(10):
        while True:
            if condition():
                break
            queue.away = False
            await asyncio.sleep(0.005)
    worker.stop()
    await asyncio.wait_for(task, 5)


async def test_what_is_not_done_within_the_grace_is_handed_back():
    """At once, with no attempt counted, so that nobody waits for a take-over."""
    queue = Queue(a=3)
    worker, runner, events = make(queue, endless)
    await working(worker, lambda: runner.now == 3)
    assert sorted(queue.returned) == [(0, 0.0), (1, 0.0), (2, 0.0)]
    assert {each.reason for each in events.of(BatchRowReturned)} == {"shutdown"}
    assert queue.settled == []


async def test_rows_at_work_are_renewed():
    """A row that takes long is not another's."""
    queue = Queue(a=1)
    worker, *_ = make(queue, endless)
    await working(worker, lambda: len(queue.renewed) >= 3)
    assert {each.index for each in queue.renewed} == {0}


async def test_rows_that_fail_in_passing_come_back_later_and_slow_the_worker():
    """While nobody can judge, rows are not burnt at full speed."""
    queue = Queue(a=1_000)

    async def later(claim):
        return RetryLater(3.0)

    worker, *_ = make(queue, later)
    task = asyncio.create_task(worker.run())
    await asyncio.sleep(0.3)
    worker.stop()
    await asyncio.wait_for(task, 5)
    assert 4 <= len(queue.returned) < 100
    assert {delay for _, delay in queue.returned} == {3.0}


async def test_a_broken_batch_is_ended():
    """Its rows could never be done."""
    queue = Queue(a=1)

    async def broken(claim):
        raise BatchSpecError("criteria are gone")

    worker, *_ = make(queue, broken)
    await working(worker, lambda: queue.failed == ["a"])


@pytest.mark.parametrize("error", [ValueError("odd"), ZeroDivisionError()])
async def test_a_fault_in_one_row_ends_no_worker(error):
    """The others are done; the faulty one is not renewed, and so becomes another worker's."""
    queue = Queue(a=10)

    async def faulty(claim):
        if claim.index == 3:
            raise error
        return await quick(claim)

    worker, *_ = make(queue, faulty)
    await working(worker, lambda: len(queue.settled) == 9)
    assert worker._claims == {}
