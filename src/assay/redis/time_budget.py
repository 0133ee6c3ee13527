"""How long a caller waits for Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

CALL_BUDGET_S = 0.05
"""What a call to Redis may take on the path of a request."""

STALLED_S = 0.01
"""A timer that is later than this says that the event loop was busy, not that Redis was slow."""


@asynccontextmanager
async def within_budget(seconds: float) -> AsyncIterator[None]:
    """Bound a block in time; raises `TimeoutError`.

    Unlike `asyncio.timeout` it lets what has arrived be read first, and where the loop itself was
    stalled it grants the time once more: a busy process must not take its store for dead.
    """
    loop = asyncio.get_running_loop()
    due_s = loop.time() + seconds
    async with asyncio.timeout(None) as timeout:

        def check() -> None:
            now_s = loop.time()
            stalled = now_s - due_s > STALLED_S
            timeout.reschedule(now_s + seconds if stalled else now_s)

        timer = loop.call_at(due_s, check)
        try:
            yield
        finally:
            timer.cancel()
