"""How long a caller waits for Redis."""

from __future__ import annotations

import asyncio
from types import TracebackType

CALL_BUDGET_S = 0.05
"""What a call to Redis may take on the path of a request."""

STALLED_S = 0.01
"""A timer that is later than this says that the event loop was busy, not that Redis was slow."""


class TimeBudget:
    """Bounds a block in time; raises `TimeoutError`.

    Unlike `asyncio.timeout` it lets what has arrived be read first, and where the loop itself was
    stalled it grants the time once more: a busy process must not take its store for dead.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._loop = asyncio.get_running_loop()
        self._due_s = self._loop.time() + self._seconds
        self._timer = self._loop.call_at(self._due_s, self._check)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def _check(self) -> None:
        now_s = self._loop.time()
        stalled = now_s - self._due_s > STALLED_S
        self._timeout.reschedule(now_s + self._seconds if stalled else now_s)
