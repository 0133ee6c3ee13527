"""Measures how late the event loop resumes a sleeping task, and ends a process that stands still.

A C extension may hold the interpreter, so that no thread of Python runs, no signal handler, and no
probe is answered. What acts here are timers of the kernel and signal handlers of `faulthandler`,
which need no interpreter; the loop only re-arms the timers.
"""

from __future__ import annotations

import asyncio
import faulthandler
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assay.domain.events import LoopLagged, LoopStalled
from assay.domain.ports import EventSink
from assay.domain.supervision import SupervisedTask

LOOK_EVERY_S = 0.25
STALL_S = 2.0
"""A loop that has stood still for so long is counted. If the process has worked for so long (a slow
machine does not count), the stack of every thread goes to stderr, by SIGPROF."""
STALL_S_MAX = 20.0
"""Then the process ends, by SIGALRM: nothing else would end it but a probe, blindly and later."""


class LoopWatchdog:
    """Re-armed by the loop while it turns; `trace` gets the stacks of a process that it ends."""

    def __init__(
        self, trace: Path, *, stall_s: float = STALL_S, stall_s_max: float = STALL_S_MAX
    ) -> None:
        self._trace = trace
        self._stall_s = stall_s
        self._stall_s_max = stall_s_max
        self._armed = False

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Act from now on; nothing acts any more afterwards."""
        self._trace.parent.mkdir(parents=True, exist_ok=True)
        with self._trace.open("w") as file:
            faulthandler.register(signal.SIGPROF, file=sys.__stderr__ or sys.stderr)
            # With `chain` the signal's default action follows, which ends the process.
            faulthandler.register(signal.SIGALRM, file=file, all_threads=True, chain=True)
            self._armed = True
            try:
                self.rearm()
                yield
            finally:
                self._armed = False
                signal.setitimer(signal.ITIMER_PROF, 0)
                signal.setitimer(signal.ITIMER_REAL, 0)
                faulthandler.unregister(signal.SIGPROF)
                faulthandler.unregister(signal.SIGALRM)
        self._trace.unlink()

    def rearm(self) -> None:
        """The loop turns: count from now."""
        if not self._armed:
            return
        signal.setitimer(signal.ITIMER_PROF, self._stall_s)
        signal.setitimer(signal.ITIMER_REAL, self._stall_s_max)


async def watch_loop(
    events: EventSink, task: SupervisedTask, watchdog: LoopWatchdog | None = None
) -> None:
    """Emit the loop's lag and its stalls until the task stops."""
    loop = asyncio.get_running_loop()
    while not task.stopping:
        due_s = loop.time() + LOOK_EVERY_S
        await asyncio.sleep(LOOK_EVERY_S)
        lag_s = max(0.0, loop.time() - due_s)
        if watchdog is not None:
            watchdog.rearm()
        events.emit(LoopLagged(lag_s))
        if lag_s >= STALL_S - LOOK_EVERY_S:
            events.emit(LoopStalled(lag_s))
