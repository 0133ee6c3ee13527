"""Settles reservations off the request path, many in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from assay.domain.clock import SYSTEM_CLOCK, Clock
from assay.domain.errors import StoreUnavailable
from assay.domain.supervision import SupervisedTask, Supervisor

WAITING_MAX = 10_000
BATCH_MAX = 16
"""Redis serves nothing else while it settles a batch."""
GATHER_S = 0.02
"""How long the first of a batch waits for others."""
FLUSH_S_MAX = 2.0

Item = TypeVar("Item")


class Settlements(Generic[Item]):
    """Passes items to `settle` in the background, in order and in batches.

    An item is dropped if the queue is full or the store unavailable: its reservation stays charged
    as estimated and expires, which never exceeds the quota. A task runs only while items wait.
    """

    def __init__(
        self,
        settle: Callable[[Sequence[Item]], Awaitable[None]],
        supervisor: Supervisor,
        *,
        gather_s: float = GATHER_S,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._settle = settle
        self._supervisor = supervisor
        self._gather_s = gather_s
        self._clock = clock
        self._queue: asyncio.Queue[Item] = asyncio.Queue(WAITING_MAX)
        self._worker: SupervisedTask | None = None

    def add(self, item: Item) -> None:
        """Settle an item soon; never waits."""
        with suppress(asyncio.QueueFull):
            self._queue.put_nowait(item)
        if self._worker is None or self._worker.done:
            self._worker = self._supervisor.start("settlements", self._work)

    async def aclose(self) -> None:
        """Settle the items that wait, within `FLUSH_S_MAX`."""
        if self._worker is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S_MAX):
                await self._queue.join()
        await self._worker.stop()

    async def _work(self, task: SupervisedTask) -> None:
        """Settle until the queue is empty; a later item starts a new task."""
        while not (task.stopping or self._queue.empty()):
            if self._queue.qsize() < BATCH_MAX:
                await self._clock.sleep(self._gather_s)
            batch = [self._queue.get_nowait() for _ in range(min(self._queue.qsize(), BATCH_MAX))]
            try:
                with suppress(StoreUnavailable):
                    await self._settle(batch)
            finally:
                for _ in batch:
                    self._queue.task_done()
