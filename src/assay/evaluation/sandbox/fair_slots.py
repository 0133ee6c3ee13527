"""Slots that tenants take in turn, so that none keeps the others from their checks."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class SlotsFull(Exception):
    """Too many wait for a slot already, of this tenant or of all."""


class FairSlots:
    """A number of slots, of which one tenant holds `tenant_slots_max` at the most.

    Those who wait form a queue by tenant, and the queues are served in turn. Both the number that
    waits and each tenant's part of it are bounded.
    """

    def __init__(
        self, slots: int, tenant_slots_max: int, waiting_max: int, tenant_waiting_max: int
    ) -> None:
        self._free = slots
        self._tenant_slots_max = tenant_slots_max
        self._waiting_max = waiting_max
        self._tenant_waiting_max = tenant_waiting_max
        self._held: Counter[str] = Counter()
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def slot(self, tenant: str) -> AsyncIterator[None]:
        """Hold a slot; raises `SlotsFull` at once where there is no place to wait for one."""
        if self._may_hold(tenant):
            self._take(tenant)  # tenants that wait are at their own bound: none is overtaken
        else:
            await self._wait(tenant)
        try:
            yield
        finally:
            self._give_back(tenant)

    def _may_hold(self, tenant: str) -> bool:
        return self._free > 0 and self._held[tenant] < self._tenant_slots_max

    def _take(self, tenant: str) -> None:
        self._free -= 1
        self._held[tenant] += 1

    async def _wait(self, tenant: str) -> None:
        queue = self._queues.get(tenant, deque())
        waiting = sum(map(len, self._queues.values()))
        if waiting >= self._waiting_max or len(queue) >= self._tenant_waiting_max:
            raise SlotsFull
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(tenant, queue).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._drop(tenant, turn)
            else:
                self._give_back(tenant)  # the slot was given in the same moment
            raise

    def _give_back(self, tenant: str) -> None:
        self._free += 1
        self._held[tenant] -= 1
        if not self._held[tenant]:
            del self._held[tenant]
        while (following := next(filter(self._may_hold, self._queues), None)) is not None:
            self._queues.move_to_end(following)
            turn = self._queues[following][0]
            self._drop(following, turn)
            if not turn.cancelled():
                self._take(following)
                turn.set_result(None)

    def _drop(self, tenant: str, turn: asyncio.Future[None]) -> None:
        queue = self._queues.get(tenant, deque())
        with suppress(ValueError):  # a cancelled turn may have been passed over already
            queue.remove(turn)
        if not queue:
            self._queues.pop(tenant, None)
