"""Background tasks: every fault is reported, a failed task restarts, and every task can be stopped.

A task that dies unseen is the worst kind of outage: the process looks healthy and does not do its
work. So nothing in the service calls `create_task` for work that should go on: it asks a
`Supervisor`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from assay.domain.faults import internal_fault
from assay.domain.ports import EventSink

RESTART_S_MIN = 0.1
RESTART_S_MAX = 10.0
STABLE_S = 5.0
"""A task that has run this long since its restart counts as recovered."""
CANCEL_AGAIN_S = 1.0
STOP_S_MAX = 5.0
"""Longest time that stopping one task takes; a task that is still there then is reported."""


class SupervisedTask:
    """One background task; its work looks at `stopping` in each round."""

    def __init__(
        self,
        name: str,
        events: EventSink,
        *,
        essential: bool = False,
        stable_s: float = STABLE_S,
    ) -> None:
        self.name = name
        self.essential = essential
        self._stable_s = stable_s
        self.stopping = False
        self.failing = False
        """Whether the last run ended in an error and the present one is not yet stable."""
        self._events = events
        self._task: asyncio.Task[None] | None = None

    @property
    def done(self) -> bool:
        return self._task is None or self._task.done()

    def start(self, work: Callable[[SupervisedTask], Awaitable[None]]) -> None:
        """Run `work` until it returns; an error restarts it after a pause that doubles."""
        self._task = asyncio.get_running_loop().create_task(self._run(work), name=self.name)

    async def stop(self, grace_s: float = 0.0) -> None:
        """End the task: by the flag, and by cancelling it until it is gone or the bound is reached.

        The work has `grace_s` to see the flag and return by itself. One cancellation is not enough.
        Code below may swallow it: `asyncio.wait_for` of Python 3.11 does where its inner future has
        just finished.
        """
        self.stopping = True
        task = self._task
        if task is None:
            return
        if grace_s:
            await asyncio.wait({task}, timeout=grace_s)
        attempts = round(STOP_S_MAX / CANCEL_AGAIN_S)
        while not task.done() and attempts:
            task.cancel()
            await asyncio.wait({task}, timeout=CANCEL_AGAIN_S)
            attempts -= 1
        if not task.done():
            self._events.emit(internal_fault(self.name, TimeoutError("the task did not stop")))

    async def _run(self, work: Callable[[SupervisedTask], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while not self.stopping:
            started_s = loop.time()
            stable = loop.call_later(self._stable_s, self._recovered)
            try:
                await work(self)
            except Exception as error:  # noqa: BLE001  # reported, and the task is restarted
                self._events.emit(internal_fault(self.name, error))
                failures = 0 if loop.time() - started_s > self._stable_s else failures + 1
                self.failing = True
            else:
                self.failing = False
                return
            finally:
                stable.cancel()
            pause_s = min(RESTART_S_MIN * 2.0**failures, RESTART_S_MAX)
            await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))  # noqa: S311  # no secret

    def _recovered(self) -> None:
        self.failing = False


class Supervisor:
    """The background tasks of one process."""

    def __init__(self, events: EventSink, *, stable_s: float = STABLE_S) -> None:
        self._events = events
        self._stable_s = stable_s
        self._tasks: set[SupervisedTask] = set()

    @property
    def failing(self) -> list[str]:
        """The essential tasks that fail; while there is one, the process is not ready."""
        return sorted(task.name for task in self._tasks if task.essential and task.failing)

    def start(
        self,
        name: str,
        work: Callable[[SupervisedTask], Awaitable[None]],
        *,
        essential: bool = False,
    ) -> SupervisedTask:
        """Run `work` in the background, and again after an error, until it returns or is stopped.

        `essential`: the process cannot do its work without it.
        """
        self._tasks = {task for task in self._tasks if not task.done or task.failing}
        task = SupervisedTask(name, self._events, essential=essential, stable_s=self._stable_s)
        task.start(work)
        self._tasks.add(task)
        return task

    async def stop(self) -> None:
        """End all tasks, within a bound."""
        tasks, self._tasks = self._tasks, set()
        await asyncio.gather(*(task.stop() for task in tasks))
