"""A clock that stands still until the test moves it."""

from __future__ import annotations

import asyncio
import heapq
import itertools

ROUNDS = 20
"""Turns of the event loop in which woken tasks do their work."""


class FakeClock:
    """A `Clock` whose sleepers wake when `advance` reaches their time, in order."""

    def __init__(self, now_s: float = 1_000.0) -> None:
        self.now_s = now_s
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    @property
    def sleeping(self) -> int:
        """How many tasks sleep."""
        return sum(not future.done() for _, _, future in self._sleepers)

    def monotonic_s(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now_s + seconds, next(self._numbers), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass; all that wakes in this time does its work before this returns."""
        until_s = self.now_s + seconds
        await settled()
        while self._sleepers and self._sleepers[0][0] <= until_s:
            due_s, _, future = heapq.heappop(self._sleepers)
            self.now_s = max(self.now_s, due_s)
            if not future.done():
                future.set_result(None)
            await settled()
        self.now_s = until_s


async def settled() -> None:
    """Return when the tasks that are ready have run."""
    for _ in range(ROUNDS):
        await asyncio.sleep(0)
