"""The watchdog of the event loop, in processes of its own: it ends them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from assay.domain.events import LoopStalled
from assay.domain.supervision import Supervisor
from assay.telemetry import event_loop
from assay.telemetry.event_loop import watch_loop
from fakes.recorded_events import RecordedEvents

PROGRAM = """
import asyncio, re, sys, time
from pathlib import Path
from assay.telemetry.event_loop import LoopWatchdog, watch_loop
from assay.domain.supervision import SupervisedTask
from fakes.recorded_events import RecordedEvents

async def main(trace, work):
    events = RecordedEvents()
    watchdog = LoopWatchdog(trace, stall_s=0.2, stall_s_max=4)
    with watchdog.armed():
        task = SupervisedTask("loop", events)
        task.start(lambda task: watch_loop(events, task, watchdog))
        await asyncio.sleep(0.1)
        await work()
        await task.stop()
    await asyncio.sleep(0.5)

async def stuck():
    re.match(r"(a+)+$", "a" * 64 + "b")  # holds the interpreter, and never ends

async def waits():
    await asyncio.sleep(4.5)

asyncio.run(main(Path(sys.argv[1]), globals()[sys.argv[2]]))
"""


def run(trace: Path, work: str) -> subprocess.CompletedProcess[str]:
    tests = str(Path(__file__).parents[2])
    environment = {"PYTHONPATH": ":".join([tests, *filter(None, sys.path)])}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(trace), work],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_process_that_stands_still_in_c_writes_its_stacks_and_ends(tmp_path: Path) -> None:
    """First the stacks go to stderr, then to the trace, and SIGALRM ends the process."""
    ended = run(tmp_path / "stalls" / "one.trace", "stuck")
    assert ended.returncode == -signal.SIGALRM
    assert "in stuck" in ended.stderr
    assert "in stuck" in (tmp_path / "stalls" / "one.trace").read_text()


def test_a_process_whose_loop_turns_is_left_alone(tmp_path: Path) -> None:
    """Waiting is no stall, nothing is written, and a disarmed watchdog acts no more."""
    ended = run(tmp_path / "one.trace", "waits")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert not list(tmp_path.iterdir())


async def test_a_stall_that_passes_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop says how long it stood still, once it turns again."""
    monkeypatch.setattr(event_loop, "STALL_S", event_loop.LOOK_EVERY_S)
    events = RecordedEvents()
    async with Supervisor(events) as supervisor:
        supervisor.start("event_loop_lag", lambda task: watch_loop(events, task))
        while not events.of(LoopStalled):
            await event_loop.asyncio.sleep(0.01)
