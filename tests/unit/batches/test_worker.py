"""A worker: slots, fairness, an unavailable store, faults, and shutdown."""

import asyncio
import json
import time

import pytest

from assay.batches.gates import parse_gates
from assay.batches.in_hand import RowsInHand
from assay.batches.rows import BatchSpec, BatchSpecError, RetryLater
from assay.batches.worker import BatchWorker, WorkerLimits
from assay.domain.batches import Claim, FinishedRows, NewRow, RowResult
from assay.domain.errors import StoreUnavailable
from assay.domain.evaluation import JudgeSpec
from assay.domain.events import BatchEnded, BatchRowFinished, BatchRowReturned, InternalFault
from assay.domain.supervision import Supervisor
from assay.http.lifecycle import Lifecycle
from assay.http.operations import create_operations_app
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
        self.stalled, self.stalls = [], 0
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
        return [Claim(batch_id, f"{n}-1", n, "k", 0, 0, payload, self.stalls) for n in taken]

    async def renew(self, claims):
        self.renewed += claims

    async def settle(self, claim, result):
        self._check()
        self.settled.append(claim.index)
        return "stored"

    async def count_stall(self, batch_id, key):
        self._check()
        self.stalled.append((batch_id, key))

    async def give_back(self, claim, delay_s=0.0, document=None):
        self.returned.append((claim.index, delay_s))

    async def fail(self, batch_id, error):
        self.failed.append(batch_id)

    async def forget(self, batch_id):
        raise AssertionError("nothing to forget here")


FOLDER = []


@pytest.fixture(autouse=True)
def folder(tmp_path):
    """Where the worker's process keeps the list of its rows."""
    FOLDER[:] = [tmp_path]
    return tmp_path


class FastClock:
    """A clock on which a restart takes a millisecond and a task is stable after 50."""

    def monotonic_s(self):
        return time.monotonic() * 100

    async def sleep(self, seconds):
        await asyncio.sleep(seconds / 100)


class Runner:
    """Does the same work for every row, and counts the rows in progress."""

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


class NothingKept:
    """An archive without anything to copy."""

    async def copy(self, batch_id):
        pass


def make(queue, work, limits=LIMITS, webhooks=None, runner=None):
    events = RecordedEvents()
    runner = runner or Runner(work)
    supervisor = Supervisor(events, FastClock())
    in_hand = RowsInHand(FOLDER[0], "this")
    archive = NothingKept()
    worker = BatchWorker(queue, runner, webhooks, archive, events, supervisor, limits, in_hand)
    return worker, runner, events


async def until(condition):
    """Return when the condition holds."""
    async with asyncio.timeout(10):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


async def working(worker, condition):
    """Run the worker until the condition holds, then stop it."""
    worker.start()
    await until(condition)
    await asyncio.wait_for(worker.stop(), 5)


async def test_every_row_is_finished_and_no_more_than_the_slots_at_a_time():
    """Each row emits an event."""
    queue = Queue(a=50)
    worker, runner, events = make(queue, quick)
    await working(worker, lambda: len(queue.settled) == 50)
    assert sorted(queue.settled) == list(range(50))
    assert runner.most <= 4
    assert len(list(events.of(BatchRowFinished))) == 50


async def test_batches_are_served_evenly():
    """A large batch does not hold up a small one that came later."""
    queue = Queue(large=1_000, small=4)
    worker, *_ = make(queue, quick)
    await working(worker, lambda: not queue.rows["small"])
    assert len(queue.claimed) - queue.claimed[::-1].index("small") < 20


async def test_results_survive_an_unavailable_store():
    """A judged row is stored once the store is back, without a second judgement."""
    queue = Queue(a=4)
    judged = []

    async def work(claim):
        judged.append(claim.index)
        queue.away = True
        return await quick(claim)

    worker, *_ = make(queue, work)
    worker.start()
    await until(lambda: len(judged) == 4)
    assert queue.settled == []
    queue.away = False
    await until(lambda: len(queue.settled) == 4)
    await asyncio.wait_for(worker.stop(), 5)
    assert sorted(judged) == [0, 1, 2, 3]


async def test_rows_unfinished_after_the_grace_are_given_back():
    """At once, with no attempt counted, so that no lease has to lapse."""
    queue = Queue(a=3)
    worker, runner, events = make(queue, endless)
    await working(worker, lambda: runner.now == 3)
    assert sorted(queue.returned) == [(0, 0.0), (1, 0.0), (2, 0.0)]
    assert {event.reason for event in events.of(BatchRowReturned)} == {"shutdown"}
    assert queue.settled == []


async def test_a_row_that_swallows_its_cancellation_does_not_hold_up_the_shutdown():
    """It is cancelled again and given back; `asyncio.wait_for` of Python 3.11 may swallow one."""

    async def deaf_once(claim):
        try:
            await endless(claim)
        except asyncio.CancelledError:
            await endless(claim)

    queue = Queue(a=2)
    worker, runner, _ = make(queue, deaf_once)
    await working(worker, lambda: runner.now == 2)
    assert sorted(queue.returned) == [(0, 0.0), (1, 0.0)]
    assert runner.now == 0


async def test_rows_in_hand_are_renewed():
    """A slow row stays with its worker."""
    queue = Queue(a=1)
    worker, *_ = make(queue, endless)
    await working(worker, lambda: len(queue.renewed) >= 3)
    assert {claim.index for claim in queue.renewed} == {0}


async def test_transient_failures_slow_the_worker():
    """While no judge answers, rows do not use up their attempts at full speed."""
    queue = Queue(a=1_000)

    async def later(claim):
        return RetryLater(3.0)

    worker, *_ = make(queue, later)
    worker.start()
    await asyncio.sleep(0.3)
    await asyncio.wait_for(worker.stop(), 5)
    assert 4 <= len(queue.returned) < 100
    assert {delay for _, delay in queue.returned} == {3.0}


async def test_a_batch_without_a_readable_request_fails():
    """None of its rows could be evaluated."""
    queue = Queue(a=1)

    async def broken(claim):
        raise BatchSpecError("criteria are gone")

    worker, *_ = make(queue, broken)
    await working(worker, lambda: queue.failed == ["a"])


@pytest.mark.parametrize("error", [ValueError("odd"), ZeroDivisionError()])
async def test_a_fault_in_one_row_does_not_stop_the_worker(error):
    """The others are finished; the faulty one is reported and its lease lapses."""
    queue = Queue(a=10)

    async def faulty(claim):
        if claim.index == 3:
            raise error
        return await quick(claim)

    worker, _, events = make(queue, faulty)
    await working(worker, lambda: len(queue.settled) == 9)
    assert worker._claims == {}
    assert [fault.where for fault in events.of(InternalFault)] == ["batch_row"]


async def readyz(worker):
    """The status and body of /readyz in the worker's process."""
    lifecycle = Lifecycle(phase="serving")
    app = create_operations_app(
        lifecycle, lambda _: (b"", "text/plain"), lambda: worker._supervisor.failing
    )
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/readyz", "headers": [], "query_string": b""}
    await app(scope, None, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


@pytest.mark.parametrize(("call", "task"), [("active", "batch_worker"), ("renew", "batch_leases")])
async def test_readiness_follows_the_worker(call, task):
    """A worker that cannot take or renew rows is reported, restarted, and not ready meanwhile."""
    queue = Queue(a=2)
    broken = True
    works = getattr(queue, call)

    async def faulty(*arguments):
        if broken:
            raise KeyError("a bug")
        return await works(*arguments)

    setattr(queue, call, faulty)
    worker, _, events = make(queue, quick)
    worker.start()
    await until(lambda: len(list(events.of(InternalFault))) >= 2)
    assert await readyz(worker) == (503, {"status": "failing", "tasks": [task]})
    assert {fault.where for fault in events.of(InternalFault)} == {task}
    broken = False
    await until(lambda: len(queue.settled) == 2)
    await until(lambda: not worker._supervisor.failing)
    assert await readyz(worker) == (200, {"status": "serving"})
    await asyncio.wait_for(worker.stop(), 5)


async def test_a_fault_in_one_batch_does_not_stop_the_others():
    """The fault is reported, and the worker stays ready."""
    queue = Queue(broken=1, sound=5)
    claim = queue.claim

    async def faulty(batch_id, count):
        if batch_id == "broken":
            raise KeyError("a bug")
        return await claim(batch_id, count)

    queue.claim = faulty
    worker, _, events = make(queue, quick)
    await working(worker, lambda: len(queue.settled) == 5)
    assert {fault.where for fault in events.of(InternalFault)} == {"batch_claim"}
    assert worker._supervisor.failing == []


async def test_a_delivery_that_fails_is_reported_and_repeated():
    """A webhook whose delivery raises is attempted again in a later round."""
    attempts = []

    class Webhooks:
        async def deliver(self, batch_id):
            attempts.append(batch_id)
            if len(attempts) == 1:
                raise KeyError("a bug")

    class EndedQueue(Queue):
        async def claim(self, batch_id, count):
            return "completed"

        async def forget(self, batch_id):
            self.rows.pop(batch_id)

    queue = EndedQueue(a=0)
    worker, _, events = make(queue, quick, webhooks=Webhooks())
    await working(worker, lambda: not queue.rows)
    assert attempts == ["a", "a"]
    assert [fault.where for fault in events.of(InternalFault)] == ["webhook"]


async def test_the_rows_in_hand_are_on_file_while_they_are_held(folder):
    """The file of a process names its rows, and is gone when the process ends in order."""
    queue = Queue(a=2)
    worker, runner, _ = make(queue, endless)
    worker.start()
    await until(lambda: runner.now == 2)
    assert json.loads((folder / "this.rows").read_text()) == [["a", "k"]]
    await worker.stop()
    assert not list(folder.iterdir())


async def test_rows_of_a_process_that_was_ended_standing_still_are_counted_once(folder):
    """Only a process that left the stacks of its end was ended so; any other death counts not."""
    (folder / "ended.rows").write_text('[["b1", "k1"], ["b2", "k2"]]')
    (folder / "ended.trace").write_text("Thread 0x1 (most recent call first):")
    (folder / "killed.rows").write_text('[["b3", "k3"]]')
    (folder / "killed.trace").write_text("")
    queue = Queue(a=1)
    worker, _, _ = make(queue, quick)
    await working(worker, lambda: len(queue.settled) == 1)
    assert queue.stalled == [("b1", "k1"), ("b2", "k2")]
    assert sorted(path.name for path in folder.iterdir()) == ["killed.rows", "killed.trace"]


async def test_rows_that_are_suspected_run_one_by_one(folder):
    """Where the next process stands still, only the row that is the cause is in hand again."""
    queue = Queue(a=3)
    queue.stalls = 1
    seen = []

    async def look(claim):
        seen.append(json.loads((folder / "this.rows").read_text()))
        return await quick(claim)

    worker, runner, _ = make(queue, look)
    await working(worker, lambda: len(queue.settled) == 3)
    assert runner.most == 1
    assert seen == [[["a", "k"]]] * 3


class GatedQueue(Queue):
    """A batch whose gates are to be decided before its rows are given."""

    def __init__(self, scores, **batches):
        super().__init__(**batches)
        self.due, self.scores, self.steps = True, scores, []

    async def claim(self, batch_id, count):
        return "due" if self.due else await super().claim(batch_id, count)

    async def finished_rows(self, batch_id):
        return FinishedRows(10, 0, b"", self.scores)

    async def decide(self, batch_id, first, step):
        self.due = False
        self.steps.append((first, step.finished, step.status))
        return True

    async def fail(self, batch_id, error):
        self.due = False
        await super().fail(batch_id, error)


class GatedRunner(Runner):
    """Knows the gates of every batch."""

    async def batch_spec(self, batch_id):
        gates = parse_gates([{"min_score": 0.5}], ())
        return BatchSpec("one", (), JudgeSpec(), gates=gates, alpha=0.05)


@pytest.mark.parametrize(
    ("scores", "step", "ended"),
    [
        ([[1.0]] * 5, (0, 5, "decided"), ["decided"]),
        ([[1.0], [0.0]], (0, 2, None), []),
        ([[0.5]] * 10, (0, 10, "completed"), ["completed"]),
    ],
)
async def test_a_worker_decides_on_gates_when_it_is_asked_to(scores, step, ended):
    """The step is stored, its end of the batch is told, and rows are taken again."""
    queue = GatedQueue(scores, a=2)
    worker, _, events = make(queue, quick, runner=GatedRunner(quick))
    await working(worker, lambda: len(queue.settled) == 2)
    assert queue.steps == [step]
    assert [event.status for event in events.of(BatchEnded)] == ended


async def test_gates_that_cannot_be_decided_fail_their_batch():
    """The fault is reported; a batch that nobody can decide on would never end."""
    queue = GatedQueue([[2.0]], a=1)
    worker, _, events = make(queue, quick, runner=GatedRunner(quick))
    await working(worker, lambda: queue.failed)
    assert queue.failed == ["a"]
    assert [fault.where for fault in events.of(InternalFault)] == ["batch_gates"]
