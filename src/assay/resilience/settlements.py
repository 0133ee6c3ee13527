"""Settling reservations off the request path."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from assay.domain.errors import StoreUnavailable

WAITING_MAX = 10_000
WORKERS = 4
FLUSH_S_MAX = 2.0

Settlement = Callable[[], Awaitable[None]]


class Settlements:
    """Runs settlements in the background, a few at a time.

    One that finds no room, or no store, is dropped: its reservation stays charged as estimated
    and expires, which errs on the safe side of the quota.
    """

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Settlement] = asyncio.Queue(WAITING_MAX)
        self._workers: list[asyncio.Task[None]] = []
        self.dropped = 0

    def add(self, settlement: Settlement) -> None:
        """Take over a settlement; never waits."""
        if not self._workers:
            self._workers = [asyncio.create_task(self._work()) for _ in range(WORKERS)]
        try:
            self._queue.put_nowait(settlement)
        except asyncio.QueueFull:
            self.dropped += 1

    async def close(self) -> None:
        """Run what is waiting, for at most two seconds."""
        if self._workers:
            try:
                async with asyncio.timeout(FLUSH_S_MAX):
                    await self._queue.join()
            except TimeoutError:
                self.dropped += self._queue.qsize()
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._workers = []

    async def _work(self) -> None:
        while True:
            settlement = await self._queue.get()
            try:
                await settlement()
            except StoreUnavailable:
                self.dropped += 1
            finally:
                self._queue.task_done()
