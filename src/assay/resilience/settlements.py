"""Settling what was reserved off the request path, many reservations in one call."""

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
    """Hands what is to be settled to `settle`, in batches and in order, in the background.

    What finds no room, or no store, is dropped: its reservation stays charged as estimated and
    expires, which errs on the safe side of the quota. There is a task only while something waits.
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
        """Take over what is to be settled; never waits."""
        with suppress(asyncio.QueueFull):
            self._queue.put_nowait(item)
        if self._worker is None or self._worker.done:
            self._worker = self._supervisor.start("settlements", self._work)

    async def aclose(self) -> None:
        """Settle what is waiting, for at most two seconds."""
        if self._worker is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S_MAX):
                await self._queue.join()
        await self._worker.stop()

    async def _work(self, task: SupervisedTask) -> None:
        """Settle what is there; an item that comes after that starts a new task."""
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
