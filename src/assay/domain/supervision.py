"""Background tasks: every fault is reported, a failed task restarts, and every task can be stopped.

A task that dies unseen is the worst kind of outage: the process looks healthy and does not do its
work. So nothing in the service calls `create_task` for work that should go on: it asks a
`Supervisor`.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from typing import Self

from assay.domain.clock import SYSTEM_CLOCK, Clock
from assay.domain.faults import internal_fault
from assay.domain.ports import EventSink

RESTART_S_MIN = 0.1
RESTART_S_MAX = 10.0
JITTER_SHARE = 0.2
STABLE_S = 5.0
"""A task that has run this long since its restart counts as recovered."""
CANCEL_AGAIN_S = 1.0
CANCELLATIONS_MAX = 5
"""A task that outlives this many cancellations, one per second, is reported."""

Work = Callable[["SupervisedTask"], Awaitable[None]]


class SupervisedTask:
    """One background task; its work looks at `stopping` in each round."""

    def __init__(
        self,
        name: str,
        events: EventSink,
        *,
        essential: bool = False,
        restarts: bool = True,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.name = name
        self.essential = essential
        self.stopping = False
        self._events = events
        self._restarts = restarts
        self._clock = clock
        self._failures = 0
        self._stable_at_s = math.inf
        self._task: asyncio.Task[None] | None = None

    @property
    def done(self) -> bool:
        return self._task is None or self._task.done()

    @property
    def failing(self) -> bool:
        """Whether the last run ended in an error and the present one is not yet stable."""
        return self._failures > 0 and not self.done and not self._is_stable

    def start(self, work: Work, ended: Callable[[SupervisedTask], None] | None = None) -> None:
        """Run `work` until it returns; an error restarts it after a pause that doubles."""
        self._task = asyncio.get_running_loop().create_task(self._run(work), name=self.name)
        if ended is not None:
            self._task.add_done_callback(lambda _: ended(self))

    async def stop(self, grace_s: float = 0.0) -> None:
        """End the task: by the flag, then by cancelling it until it is gone, within a bound.

        It has `grace_s` to end by itself.

        One cancellation is not enough. Code below may swallow it: `asyncio.wait_for` of Python
        3.11, through which the Redis client sends, does where its inner future has just finished.
        """
        self.stopping = True
        task = self._task
        if task is None:
            return
        if grace_s:
            await self._wait(task, grace_s)
        for _ in range(CANCELLATIONS_MAX):
            if task.done():
                return
            task.cancel()
            await self._wait(task, CANCEL_AGAIN_S)
        if not task.done():
            self._events.emit(internal_fault(self.name, TimeoutError("the task did not stop")))

    async def _wait(self, task: asyncio.Task[None], seconds: float) -> None:
        pause = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait({task, pause}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pause.cancel()
            await asyncio.gather(pause, return_exceptions=True)

    async def _run(self, work: Work) -> None:
        while not self.stopping:
            self._stable_at_s = self._clock.monotonic_s() + STABLE_S
            try:
                await work(self)
            except asyncio.CancelledError as error:
                # Something that the work awaits may have been cancelled, and not the task itself.
                if _is_cancelled():
                    raise
                self._failed(error)
            except Exception as error:  # noqa: BLE001  # reported, and the task is restarted
                self._failed(error)
            else:
                return
            if not self._restarts:
                return
            doubled_s = RESTART_S_MIN * 2.0 ** min(self._failures - 1, 16)
            jitter = random.uniform(1 - JITTER_SHARE, 1 + JITTER_SHARE)  # noqa: S311  # no secret
            await self._clock.sleep(min(doubled_s, RESTART_S_MAX) * jitter)

    def _failed(self, error: BaseException) -> None:
        self._events.emit(internal_fault(self.name, error))
        self._failures = 1 if self._is_stable else self._failures + 1
        self._stable_at_s = math.inf

    @property
    def _is_stable(self) -> bool:
        return self._clock.monotonic_s() >= self._stable_at_s


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Supervisor:
    """The background tasks of one process; they end with its `async with` block."""

    def __init__(self, events: EventSink, clock: Clock = SYSTEM_CLOCK) -> None:
        self._events = events
        self._clock = clock
        self._tasks: set[SupervisedTask] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def failing(self) -> list[str]:
        """The essential tasks that fail; while there is one, the process is not ready."""
        return sorted(task.name for task in self._tasks if task.essential and task.failing)

    def start(
        self, name: str, work: Work, *, essential: bool = False, restarts: bool = True
    ) -> SupervisedTask:
        """Run `work` in the background, until it returns or is stopped.

        `essential`: the process cannot do its work without it. `restarts`: run it again after an
        error, which is reported in any case.
        """
        task = SupervisedTask(
            name, self._events, essential=essential, restarts=restarts, clock=self._clock
        )
        self._tasks.add(task)
        task.start(work, self._tasks.discard)
        return task

    async def stop(self) -> None:
        """End all tasks, within a bound."""
        await asyncio.gather(*(task.stop() for task in self._tasks))
