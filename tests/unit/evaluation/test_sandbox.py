"""Checks in real worker processes, and what keeps them from stalling the service."""

# ruff: noqa: ASYNC110, ASYNC240 - another process can only be watched by polling

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from assay.criteria import parse_criteria
from assay.domain.case_text import case_size, size_of
from assay.domain.completion import Caller
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case
from assay.domain.events import InternalFault
from assay.domain.policy import Deadline
from assay.evaluation.sandbox.pool import SandboxPool
from fakes.checks import (
    Broken,
    Chatty,
    EnvironmentOf,
    Greedy,
    Hungry,
    Killed,
    ProcessOf,
    Slow,
    SlowToLoad,
    Stuck,
    Unable,
)
from fakes.recorded_events import RecordedEvents

GOOD, BAD, THIRD = Caller("good"), Caller("bad"), Caller("third")
LONG = Case("a text of more than a hundred characters, " * 3)


@pytest.fixture
def events():
    return RecordedEvents()


@pytest.fixture
async def pool(events):
    """One worker and short limits; closed after the test."""
    pool = SandboxPool(events, workers_max=1, waiting_max=1, check_time_max_s=2.0)
    yield pool
    await pool.aclose()


def soon() -> Deadline:
    return Deadline.after(20)


async def gone(pid: int) -> bool:
    """Whether the process ends within a few seconds."""
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        await asyncio.sleep(0.05)
    return False


async def written(file: Path) -> int:
    """The process id that a stuck check leaves behind once it has begun."""
    while not (file.exists() and file.read_text()):
        await asyncio.sleep(0.01)
    return int(file.read_text())


async def test_a_small_case_stays_in_the_service_and_starts_no_process(pool):
    """Up to its limit a check runs on the event loop."""
    finding = await pool.run(ProcessOf(), Case("tiny"), soon())
    assert finding.value == os.getpid()
    assert not pool._workers


async def test_a_large_case_runs_in_another_process_that_is_kept(pool):
    """Above its limit a check runs in a worker, and the next one in the same."""
    first = await pool.run(ProcessOf(), LONG, soon())
    second = await pool.run(ProcessOf(), LONG, soon())
    assert first.value == second.value != os.getpid()
    assert first.explanation == LONG.output


async def test_long_parameters_count_like_a_long_case(pool):
    """Parameters count toward the limit like the case."""
    named = ProcessOf(name="n" * 200)
    assert (await pool.run(named, Case("tiny"), soon())).value != os.getpid()


async def test_a_worker_sees_none_of_the_services_environment(pool, monkeypatch):
    """Provider keys stay out of the process that parses hostile text."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    finding = await pool.run(EnvironmentOf(), LONG, soon())
    assert "OPENAI_API_KEY" not in finding.value
    assert "PATH" in finding.value


async def test_a_check_that_never_ends_is_killed_at_its_time_limit(pool, tmp_path):
    """Not even a C extension that holds the GIL outlives the limit."""
    file = tmp_path / "pid"
    with pytest.raises(NotApplicable, match="longer than 2 s") as caught:
        await pool.run(Stuck(), Case(str(file)), soon())
    assert caught.value.reason == "check_error"
    assert await gone(await written(file))


async def test_loading_a_library_is_no_part_of_a_checks_time(events):
    """On a busy machine an import may take longer than the check may."""
    pool = SandboxPool(events, workers_max=1, check_time_max_s=1.0)
    assert (await pool.run(SlowToLoad(load_s=1.5), LONG, soon())).score == 1.0
    with pytest.raises(NotApplicable) as caught:
        await pool.run(SlowToLoad(load_s=5.0), LONG, Deadline.after(1))
    assert caught.value.reason == "deadline_exceeded"
    await pool.aclose()


async def test_a_check_is_killed_with_its_request(pool, tmp_path):
    """A cancelled request frees the CPU, and the next check gets a fresh worker."""
    file = tmp_path / "pid"
    task = asyncio.create_task(pool.run(Stuck(), Case(str(file)), soon()))
    pid = await written(file)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await gone(pid)
    assert (await pool.run(ProcessOf(), LONG, soon())).value != pid


async def test_the_deadline_of_the_request_ends_a_check(pool, tmp_path):
    """A deadline that is earlier than the check's own limit is reported as such."""
    file = tmp_path / "pid"
    await pool.run(ProcessOf(), LONG, soon())
    with pytest.raises(NotApplicable) as caught:
        await pool.run(Stuck(), Case(str(file)), Deadline.after(0.4))
    assert caught.value.reason == "deadline_exceeded"
    assert await gone(await written(file))


async def test_a_deadline_that_is_past_starts_nothing(pool):
    """No process is started for a request whose time is up."""
    with pytest.raises(NotApplicable) as caught:
        await pool.run(ProcessOf(), LONG, Deadline.after(-1))
    assert caught.value.reason == "deadline_exceeded"
    assert not pool._workers


async def test_a_worker_that_crashes_costs_only_its_own_request(pool, events):
    """The request whose worker was killed is unscored and reported; the one behind it is served."""
    dying = asyncio.create_task(pool.run(Killed(), LONG, soon(), Caller(request_id="req_1")))
    behind = asyncio.create_task(pool.run(ProcessOf(), LONG, soon()))
    with pytest.raises(NotApplicable, match="worker process crashed") as caught:
        await dying
    assert caught.value.reason == "check_error"
    assert (await behind).score == 1.0
    [fault] = events.of(InternalFault)
    assert (fault.where, fault.error_type) == ("sandbox_worker", "WorkerCrashed")
    assert fault.request_id == "req_1"


async def test_a_worker_that_was_killed_while_idle_costs_no_request(pool):
    """A dead worker is noticed before it is asked."""
    pid = (await pool.run(ProcessOf(), LONG, soon())).value
    os.kill(pid, signal.SIGKILL)
    [worker] = pool._workers
    await worker._process.wait()
    assert (await pool.run(ProcessOf(), LONG, soon())).value != pid


async def test_memory_is_limited_and_running_out_of_it_costs_no_worker(pool):
    """A check over the memory limit is unscored, and its worker goes on."""
    pid = (await pool.run(ProcessOf(), LONG, soon())).value
    with pytest.raises(NotApplicable, match="more memory"):
        await pool.run(Hungry(), LONG, soon())
    assert (await pool.run(ProcessOf(), LONG, soon())).value == pid


async def test_a_worker_that_grew_large_is_replaced_after_it_has_answered(events):
    """The memory of a check is given back, and no request is lost."""
    pool = SandboxPool(events, workers_max=1)
    small = await pool.run(Greedy(), Case("1"), soon())
    large = await pool.run(Greedy(), Case("600"), soon())
    after = await pool.run(Greedy(), Case("1"), soon())
    assert small.value == large.value != after.value
    await pool.aclose()


@pytest.mark.parametrize("output", ["tiny", LONG.output])
async def test_a_check_that_cannot_judge_is_no_fault(pool, events, output):
    """NotApplicable is the same inline and from a worker, and nothing is reported."""
    with pytest.raises(NotApplicable, match="nothing to compare with") as caught:
        await pool.run(Unable(), Case(output), soon())
    assert caught.value.reason == "reference_missing"
    assert not events.events


@pytest.mark.parametrize("output", ["tiny", LONG.output])
async def test_a_bug_in_a_check_is_reported_without_the_callers_text(pool, events, output):
    """Inline and from a worker, the caller gets check_error, and we get the type and code lines."""
    with pytest.raises(NotApplicable, match="failed with KeyError") as caught:
        await pool.run(Broken(), Case(output), soon(), Caller(request_id="req_1"))
    assert caught.value.reason == "check_error"
    assert output not in caught.value.message
    [fault] = events.events
    assert (fault.where, fault.error_type) == ("check", "KeyError")
    assert fault.request_id == "req_1"
    assert "raise KeyError(str(case.output))" in fault.trace
    assert output not in fault.trace


async def test_prints_of_a_library_do_not_reach_the_answers(pool):
    """What a check writes to its streams is thrown away."""
    for _ in range(2):
        finding = await pool.run(Chatty(), LONG, soon())
        assert (finding.score, finding.label, finding.passed) == (0.25, "said", None)


async def test_a_tenant_whose_workers_are_killed_leaves_the_others_theirs(events, tmp_path):
    """The next job of the tenant starts a new worker, and takes an idle one where all are there."""
    pool = SandboxPool(events, workers_max=2, tenant_workers_max=1, check_time_max_s=0.5)
    pid = (await pool.run(ProcessOf(), LONG, soon(), GOOD)).value
    for number in range(2):
        with pytest.raises(NotApplicable, match="longer than"):
            await pool.run(Stuck(), Case(str(tmp_path / str(number))), soon(), BAD)
        assert (await pool.run(ProcessOf(), LONG, soon(), GOOD)).value == pid
    other = (await pool.run(ProcessOf(), LONG, soon(), BAD)).value
    assert (await pool.run(ProcessOf(), LONG, soon(), THIRD)).value in (pid, other)
    await pool.aclose()


async def test_a_spare_worker_starts_while_the_first_one_works(events, tmp_path):
    """The next tenant finds it, and needs to start none of its own."""
    pool = SandboxPool(events, workers_max=2, tenant_workers_max=1)
    stuck = asyncio.create_task(pool.run(Stuck(), Case(str(tmp_path / "pid")), soon(), BAD))
    busy = await written(tmp_path / "pid")
    while not pool._idle:
        await asyncio.sleep(0.01)
    [spare] = pool._idle
    found = (await pool.run(ProcessOf(), LONG, soon(), GOOD)).value
    assert found == spare._process.pid != busy
    stuck.cancel()
    await pool.aclose()


async def test_the_queue_is_bounded(pool):
    """With one worker and one waiting check, a third check is refused at once."""
    await pool.run(ProcessOf(), LONG, soon())
    two = [asyncio.create_task(pool.run(Slow(), Case("0.3"), soon())) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(NotApplicable, match="Too many checks") as caught:
        await pool.run(Slow(), Case("0.3"), soon())
    assert caught.value.reason == "overloaded"
    assert [each.score for each in await asyncio.gather(*two)] == [1.0, 1.0]


async def test_a_worker_that_cannot_start_leaves_the_check_unscored(events):
    """The process ends before it is ready, here because of an impossible memory limit."""
    pool = SandboxPool(events, memory_bytes_max=2**70)
    with pytest.raises(NotApplicable, match="could be started") as caught:
        await pool.run(ProcessOf(), LONG, soon())
    assert caught.value.reason == "check_error"
    assert [fault.where for fault in events.of(InternalFault)] == ["sandbox_worker"]
    await pool.aclose()


async def test_a_request_that_goes_away_while_its_worker_starts_leaves_no_process(pool):
    """Cancelling at any point of the start is clean."""
    for pause_s in (0.0, 0.01, 0.05, 0.2):
        task = asyncio.create_task(pool.run(ProcessOf(), LONG, soon()))
        await asyncio.sleep(pause_s)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await pool.aclose()
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    commands = [Path(f"/proc/{pid}/cmdline").read_text() for pid in children]
    assert not [command for command in commands if "assay.evaluation.sandbox.process" in command]


async def test_an_idle_worker_is_stopped(events):
    """A worker without work gives its memory back after a while."""
    pool = SandboxPool(events, idle_s=0.05)
    pid = (await pool.run(ProcessOf(), LONG, soon())).value
    assert await gone(pid)
    await pool.aclose()


async def test_closing_ends_what_runs_and_what_waits(pool, events, tmp_path):
    """After aclose no process and no timer is left, none is started, and nothing is reported."""
    file = tmp_path / "pid"
    running = asyncio.create_task(pool.run(Stuck(), Case(str(file)), soon()))
    waiting = asyncio.create_task(pool.run(ProcessOf(), LONG, soon()))
    pid = await written(file)
    await pool.aclose()
    for task in (running, waiting, asyncio.create_task(pool.run(ProcessOf(), LONG, soon()))):
        with pytest.raises(NotApplicable, match="shutting down"):
            await task
    assert await gone(pid)
    assert not pool._workers
    assert not pool._idle
    assert not events.events


async def test_closing_stops_idle_workers_and_their_timers(pool):
    """A worker that rests is killed, and the timer that would have dismissed it is cancelled."""
    pid = (await pool.run(ProcessOf(), LONG, soon())).value
    [timer] = pool._idle.values()
    await pool.aclose()
    assert timer.cancelled()
    assert await gone(pid)


async def test_the_event_loop_turns_while_a_check_is_stuck(pool, tmp_path):
    """Cheap checks are answered while a worker spins in C."""
    stuck = asyncio.create_task(pool.run(Stuck(), Case(str(tmp_path / "pid")), soon()))
    await written(tmp_path / "pid")
    turns = 0
    until = time.monotonic() + 0.2
    while time.monotonic() < until:
        await pool.run(ProcessOf(), Case("tiny"), soon())
        await asyncio.sleep(0)
        turns += 1
    assert not stuck.done()
    assert turns > 10
    with pytest.raises(NotApplicable):
        await stuck


async def test_a_megabyte_goes_through_whole(pool):
    """A frame may be longer than a pipe's buffer, in both directions."""
    text = "é" * 1_000_000
    finding = await pool.run(ProcessOf(), Case(text), soon())
    assert finding.explanation == text


def test_a_case_is_as_large_as_all_its_texts():
    """Messages, references, passages and tools count, at any depth."""
    case = Case(
        output=({"role": "assistant", "content": [{"text": "four"}]},),
        input="in",
        reference=("abc",),
        context=("de",),
        tools=({"name": "f"},),
    )
    texts = "roleassistantcontenttextfourinabcdenamef"
    assert case_size(case) == len(texts) + 20


def test_a_value_counts_even_where_it_has_no_characters():
    """A megabyte of brackets is no small case; counting stops where a bound is passed."""
    assert size_of([[]] * 1_000) == 1_001
    assert size_of([[]] * 1_000, counted_max=10) == 11


async def test_a_schema_whose_references_double_at_each_step_is_stopped(pool):
    """Forty references take 2^40 steps; the event loop keeps running and the check is stopped."""
    steps = {f"a{i}": {"allOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(40)}
    schema = {"$defs": {**steps, "a40": {"type": "object"}}, "$ref": "#/$defs/a0"}
    [check] = parse_criteria([{"type": "json_schema", "schema": schema}])
    with pytest.raises(NotApplicable) as caught:
        await pool.run(check, Case("{}"), soon())
    assert caught.value.reason == "check_error"


async def test_a_worker_of_a_large_service_is_kept(pool):
    """The memory of the service does not count as the worker's."""
    ballast = bytearray(600 * 1024**2)
    ballast[::4_096] = b"\1" * len(ballast[::4_096])
    pids = {(await pool.run(ProcessOf(), LONG, soon())).value for _ in range(2)}
    assert len(pids) == 1
    assert len(ballast) > 0
