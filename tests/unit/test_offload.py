"""Checks off the event loop, in real processes."""

# ruff: noqa: ASYNC110, ASYNC240 - what another process does is seen only by looking again

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from assay.criteria import parse_criteria
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case
from assay.domain.policy import Deadline
from assay.evaluation.sandbox.pool import Sandbox, case_chars
from fakes.checks import (
    Broken,
    Chatty,
    EnvironmentOf,
    Greedy,
    Hungry,
    Killed,
    ProcessOf,
    Slow,
    Stuck,
    Unable,
)

LONG = Case("a text of more than a hundred characters, " * 3)


@pytest.fixture
async def offload():
    """One worker, short limits; closed after the test."""
    offloaded = Sandbox(workers_max=1, waiting_max=1, check_time_max_s=2.0)
    yield offloaded
    await offloaded.aclose()


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


async def test_a_small_case_stays_in_the_service_and_starts_no_process(offload):
    """Up to its limit a check runs on the event loop."""
    finding = await offload.run(ProcessOf(), Case("tiny"), soon())
    assert finding.value == os.getpid()
    assert not offload._workers


async def test_a_large_case_runs_in_another_process_that_is_kept(offload):
    """Above its limit a check runs in a worker, and the next one in the same."""
    first = await offload.run(ProcessOf(), LONG, soon())
    second = await offload.run(ProcessOf(), LONG, soon())
    assert first.value == second.value != os.getpid()
    assert first.explanation == LONG.output


async def test_long_parameters_count_like_a_long_case(offload):
    """What a check compares with costs as much as what it compares."""
    named = ProcessOf(name="n" * 200)
    assert (await offload.run(named, Case("tiny"), soon())).value != os.getpid()


async def test_a_worker_sees_none_of_the_services_environment(offload, monkeypatch):
    """Provider keys stay out of the process that parses hostile text."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    finding = await offload.run(EnvironmentOf(), LONG, soon())
    assert "OPENAI_API_KEY" not in finding.value
    assert "PATH" in finding.value


async def test_a_check_that_never_ends_is_killed_at_its_time_limit(offload, tmp_path):
    """Not even a C extension that holds the GIL outlives the limit."""
    file = tmp_path / "pid"
    with pytest.raises(NotApplicable, match="longer than 2 s") as caught:
        await offload.run(Stuck(), Case(str(file)), soon())
    assert caught.value.reason == "check_error"
    assert await gone(await written(file))


async def test_a_check_is_killed_with_its_request(offload, tmp_path):
    """A cancelled request frees the CPU, and the next check gets a fresh worker."""
    file = tmp_path / "pid"
    task = asyncio.create_task(offload.run(Stuck(), Case(str(file)), soon()))
    pid = await written(file)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await gone(pid)
    assert (await offload.run(ProcessOf(), LONG, soon())).value != pid


async def test_the_deadline_of_the_request_ends_a_check(offload, tmp_path):
    """A deadline before the check's own limit is reported as what it is."""
    file = tmp_path / "pid"
    await offload.run(ProcessOf(), LONG, soon())
    with pytest.raises(NotApplicable) as caught:
        await offload.run(Stuck(), Case(str(file)), Deadline.after(0.4))
    assert caught.value.reason == "deadline_exceeded"
    assert await gone(await written(file))


async def test_a_deadline_that_is_past_starts_nothing(offload):
    """No process is started for a request whose time is up."""
    with pytest.raises(NotApplicable) as caught:
        await offload.run(ProcessOf(), LONG, Deadline.after(-1))
    assert caught.value.reason == "deadline_exceeded"
    assert not offload._workers


async def test_a_worker_that_dies_costs_only_its_own_request(offload):
    """The request whose worker was killed is unscored; the one behind it is served."""
    dying = asyncio.create_task(offload.run(Killed(), LONG, soon()))
    behind = asyncio.create_task(offload.run(ProcessOf(), LONG, soon()))
    with pytest.raises(NotApplicable, match="died") as caught:
        await dying
    assert caught.value.reason == "check_error"
    assert (await behind).score == 1.0


async def test_a_worker_that_was_killed_while_idle_costs_no_request(offload):
    """A dead worker is noticed before it is asked."""
    pid = (await offload.run(ProcessOf(), LONG, soon())).value
    os.kill(pid, signal.SIGKILL)
    [worker] = offload._workers
    await worker._process.wait()
    assert (await offload.run(ProcessOf(), LONG, soon())).value != pid


async def test_memory_is_limited_and_running_out_of_it_costs_no_worker(offload):
    """A check over the memory limit is unscored, and its worker goes on."""
    pid = (await offload.run(ProcessOf(), LONG, soon())).value
    with pytest.raises(NotApplicable, match="more memory"):
        await offload.run(Hungry(), LONG, soon())
    assert (await offload.run(ProcessOf(), LONG, soon())).value == pid


async def test_a_worker_that_grew_large_is_replaced_after_it_has_answered():
    """What a check took of memory is given back, and no request is lost over it."""
    offload = Sandbox(workers_max=1)
    small = await offload.run(Greedy(), Case("1"), soon())
    large = await offload.run(Greedy(), Case("600"), soon())
    after = await offload.run(Greedy(), Case("1"), soon())
    assert small.value == large.value != after.value
    await offload.aclose()


@pytest.mark.parametrize("output", ["tiny", LONG.output])
async def test_what_a_check_raises_is_the_same_inline_and_in_a_worker(offload, output):
    """NotApplicable crosses the process border; a bug becomes check_error without caller's text."""
    with pytest.raises(NotApplicable, match="nothing to compare with") as unable:
        await offload.run(Unable(), Case(output), soon())
    assert unable.value.reason == "reference_missing"
    with pytest.raises(NotApplicable, match="failed with KeyError") as broken:
        await offload.run(Broken(), Case(output), soon())
    assert broken.value.reason == "check_error"
    assert output not in broken.value.message


async def test_prints_of_a_library_do_not_reach_the_answers(offload):
    """What a check writes to its streams is thrown away."""
    for _ in range(2):
        finding = await offload.run(Chatty(), LONG, soon())
        assert (finding.score, finding.label, finding.passed) == (0.25, "said", None)


async def test_the_queue_is_bounded(offload):
    """With one worker and one place to wait the third check is refused at once."""
    await offload.run(ProcessOf(), LONG, soon())
    two = [asyncio.create_task(offload.run(Slow(), Case("0.3"), soon())) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(NotApplicable, match="too many checks"):
        await offload.run(Slow(), Case("0.3"), soon())
    assert [each.score for each in await asyncio.gather(*two)] == [1.0, 1.0]


async def test_a_worker_that_cannot_start_leaves_the_check_unscored():
    """Where the process ends before it is ready, here over a limit that no system has."""
    offload = Sandbox(memory_bytes_max=2**70)
    with pytest.raises(NotApplicable, match="could be started") as caught:
        await offload.run(ProcessOf(), LONG, soon())
    assert caught.value.reason == "check_error"
    await offload.aclose()


async def test_a_request_that_goes_away_while_its_worker_starts_leaves_no_process(offload):
    """Cancelling at any point of the start is clean."""
    for pause_s in (0.0, 0.01, 0.05, 0.2):
        task = asyncio.create_task(offload.run(ProcessOf(), LONG, soon()))
        await asyncio.sleep(pause_s)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await offload.aclose()
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    commands = [Path(f"/proc/{pid}/cmdline").read_text() for pid in children]
    assert not [command for command in commands if "assay.evaluation.sandbox.worker" in command]


async def test_an_idle_worker_is_let_go():
    """A worker without work gives its memory back after a while."""
    offload = Sandbox(idle_s=0.05)
    pid = (await offload.run(ProcessOf(), LONG, soon())).value
    assert await gone(pid)
    await offload.aclose()


async def test_closing_ends_what_runs(tmp_path):
    """After aclose no process is left, and who waited learns of it."""
    offload = Sandbox()
    file = tmp_path / "pid"
    task = asyncio.create_task(offload.run(Stuck(), Case(str(file)), soon()))
    pid = await written(file)
    await offload.aclose()
    with pytest.raises(NotApplicable):
        await task
    assert await gone(pid)


async def test_the_event_loop_turns_while_a_check_is_stuck(offload, tmp_path):
    """Cheap checks are answered while a worker spins in C."""
    stuck = asyncio.create_task(offload.run(Stuck(), Case(str(tmp_path / "pid")), soon()))
    await written(tmp_path / "pid")
    turns = 0
    until = time.monotonic() + 0.2
    while time.monotonic() < until:
        await offload.run(ProcessOf(), Case("tiny"), soon())
        await asyncio.sleep(0)
        turns += 1
    assert not stuck.done()
    assert turns > 10
    with pytest.raises(NotApplicable):
        await stuck


async def test_a_megabyte_goes_through_whole(offload):
    """Frames are longer than a pipe's buffer both ways."""
    text = "é" * 1_000_000
    finding = await offload.run(ProcessOf(), Case(text), soon())
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
    assert case_chars(case) == len("roleassistantcontenttextfourinabcdenamef")


async def test_a_schema_whose_references_double_at_each_step_is_stopped(offload):
    """Forty references make 2^40 steps of a short schema: the loop turns, the check is ended."""
    steps = {f"a{i}": {"allOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(40)}
    schema = {"$defs": {**steps, "a40": {"type": "object"}}, "$ref": "#/$defs/a0"}
    [check] = parse_criteria([{"type": "json_schema", "schema": schema}])
    with pytest.raises(NotApplicable) as caught:
        await offload.run(check, Case("{}"), soon())
    assert caught.value.reason == "check_error"


def test_a_schema_that_meets_each_value_many_times_is_no_small_check():
    """The work is the product of schema and output, not their sum."""
    schemas = [{"type": "object"}, {"allOf": [{"items": {"not": {"const": -1}}}] * 500}]
    small, wide = parse_criteria(
        [{"type": "json_schema", "name": str(i), "schema": each} for i, each in enumerate(schemas)]
    )
    assert small.inline_chars(Case("1")) == small.inline_chars_max
    assert wide.inline_chars(Case("1")) < 20_000


async def test_a_worker_of_a_large_service_is_kept(offload):
    """What the service itself holds in memory says nothing about the worker's size."""
    ballast = bytearray(600 * 1024**2)
    ballast[::4_096] = b"\1" * len(ballast[::4_096])
    pids = {(await offload.run(ProcessOf(), LONG, soon())).value for _ in range(2)}
    assert len(pids) == 1
    assert len(ballast) > 0
