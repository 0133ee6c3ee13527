"""Settling what was reserved off the request path, many reservations in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from assay.domain.errors import StoreUnavailable

WAITING_MAX = 10_000
BATCH_MAX = 16
"""One call to the store holds up everybody else's for as long as it takes."""
GATHER_S = 0.02
"""How long the first of a batch waits for others."""
FLUSH_S_MAX = 2.0

Item = TypeVar("Item")


class Settlements(Generic[Item]):
    """Hands what is to be settled to `settle`, in batches and in order, in the background.

    What finds no room, or no store, is dropped: its reservation stays charged as estimated and
    expires, which errs on the safe side of the quota.
    """

    def __init__(
        self, settle: Callable[[Sequence[Item]], Awaitable[None]], *, gather_s: float = GATHER_S
    ) -> None:
        self._settle = settle
        self._gather_s = gather_s
        self._queue: asyncio.Queue[Item] = asyncio.Queue(WAITING_MAX)
        self._worker: asyncio.Task[None] | None = None

    def add(self, item: Item) -> None:
        """Take over what is to be settled; never waits."""
        with suppress(asyncio.QueueFull):
            self._queue.put_nowait(item)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Settle what is waiting, for at most two seconds."""
        if self._worker is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S_MAX):
                await self._queue.join()
        self._worker.cancel()
        await asyncio.gather(self._worker, return_exceptions=True)
        self._worker = None

    async def _work(self) -> None:
        """Settle what is there; whoever brings more after that starts anew."""
        while not self._queue.empty():
            if self._queue.qsize() < BATCH_MAX:
                await asyncio.sleep(self._gather_s)
            batch: list[Item] = []
            while len(batch) < BATCH_MAX and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            try:
                await self._settle(batch)
            except StoreUnavailable:
                pass
            except Exception as error:  # noqa: BLE001 # or nothing would be settled ever after
                _report(error)
            finally:
                for _ in batch:
                    self._queue.task_done()


def _report(error: Exception) -> None:
    """Have an error that nobody expects logged by the event loop, as that of a lost task."""
    asyncio.get_running_loop().call_exception_handler(
        {"message": "a batch of settlements failed", "exception": error}
    )
