"""A circuit around Redis: after one failure nobody waits for it, and a probe heals the circuit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from redis.exceptions import RedisClusterException, RedisError

from assay.domain.errors import StoreUnavailable

CALL_BUDGET_S = 0.05
CALLS_MAX = 32
"""Calls under way at once, so at most that many connections of the pool."""
PROBE_EVERY_S = 0.25
FIRST_PROBE_S = 1.0
"""Nobody waits for a probe: its first try may take as long as new connections take, or learning
the nodes of a cluster. The second must keep to the budget of a call."""

STALLED_S = 0.01
"""A timer that is later than this says that the event loop was busy, not that Redis was slow."""

FAILURES = (RedisError, RedisClusterException, OSError, TimeoutError)
"""A cluster none of whose nodes can be reached is no `RedisError`."""

T = TypeVar("T")


class RedisCircuit:
    """Lets calls through while the store answers in time; else fails them at once.

    `slots` bounds the calls under way, over all circuits that share a pool of connections.
    `probe` must need the same node, and writing to it, as the calls do: a replica that answers
    PING is of no use. A stalled event loop can look like a silent store; the first probe follows
    at once, so that such an error costs milliseconds.
    """

    def __init__(
        self,
        probe: Callable[[], Awaitable[Any]],
        changed: Callable[[bool], None],
        *,
        budget_s: float = CALL_BUDGET_S,
        slots: asyncio.Semaphore | None = None,
    ) -> None:
        self._probe = probe
        self._changed = changed
        self._budget_s = budget_s
        self._slots = slots or asyncio.Semaphore(CALLS_MAX)
        self._probing: asyncio.Task[None] | None = None
        self._healed = asyncio.Event()
        self._healed.set()

    @property
    def closed(self) -> bool:
        """Whether calls go through."""
        return self._healed.is_set()

    async def call(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The store's answer within the budget; raises `StoreUnavailable`."""
        if not self.closed:
            raise StoreUnavailable("Redis does not answer")
        async with self._slots:
            if not self.closed:
                raise StoreUnavailable("Redis does not answer")
            try:
                async with within_budget(self._budget_s):
                    return await ask()
            except FAILURES as failure:
                self._open()
                raise StoreUnavailable(f"Redis failed: {type(failure).__name__}") from failure

    async def healed(self, timeout_s: float) -> None:
        """Wait until calls go through again, for at most `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._healed.wait()
        except TimeoutError:
            return

    async def close(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)

    def _open(self) -> None:
        if self.closed:
            self._healed.clear()
            self._changed(False)
            self._probing = asyncio.create_task(self._probe_until_healed())

    async def _probe_until_healed(self) -> None:
        while True:
            try:
                for limit_s in (FIRST_PROBE_S, self._budget_s):
                    async with asyncio.timeout(limit_s):
                        await self._probe()
            except FAILURES:
                await asyncio.sleep(PROBE_EVERY_S)
            else:
                self._healed.set()
                self._changed(True)
                return


@asynccontextmanager
async def within_budget(seconds: float) -> AsyncIterator[None]:
    """Bound a block in time; raises `TimeoutError`.

    Unlike `asyncio.timeout` it lets what has arrived be read first, and where the loop itself was
    stalled it gives the time once more: a busy process must not take its store for dead.
    """
    loop = asyncio.get_running_loop()
    due_s = loop.time() + seconds
    async with asyncio.timeout(None) as timeout:

        def look() -> None:
            now_s = loop.time()
            stalled = now_s - due_s > STALLED_S
            timeout.reschedule(now_s + seconds if stalled else now_s)

        timer = loop.call_at(due_s, look)
        try:
            yield
        finally:
            timer.cancel()
