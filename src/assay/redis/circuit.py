"""A circuit around Redis: after one failure calls fail at once, until a probe closes it again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from assay.domain.errors import StoreUnavailable
from assay.domain.supervision import SupervisedTask, Supervisor
from assay.redis.outages import OUTAGES, UNAVAILABLE
from assay.redis.scripts import ScriptRunner, load_script
from assay.redis.time_budget import CALL_BUDGET_S, TimeBudget

PROBE = load_script(__package__, "probe")
CALLS_MAX = 32
"""Calls under way at once, so at most that many connections of the pool."""
PROBE_EVERY_S = 0.25
FIRST_PROBE_S = 1.0
"""No caller waits for a probe, so its first try may take as long as new connections take, or
learning the nodes of a cluster. The second must keep to the budget of a call."""

T = TypeVar("T")


def write_probe(redis: ScriptRunner, prefix: str) -> Callable[[], Awaitable[Any]]:
    """A probe that writes to the node that holds the keys with this prefix."""
    return lambda: PROBE.run(redis, (f"{prefix}:probe",))


class RedisCircuit:
    """Lets calls through while Redis answers in time; otherwise they fail at once.

    `slots` bounds the calls under way, over all circuits that share a pool of connections.
    `probe` must need the same node, and writing to it, as the calls do: a replica that answers
    PING is of no use. `opened` is called as calls begin to fail, and `closing` before they go
    through again: only once it has succeeded.
    """

    def __init__(
        self,
        probe: Callable[[], Awaitable[Any]],
        supervisor: Supervisor,
        *,
        opened: Callable[[], None] = lambda: None,
        closing: Callable[[], Awaitable[None]] | None = None,
        budget_s: float = CALL_BUDGET_S,
        slots: asyncio.Semaphore | None = None,
    ) -> None:
        self._probe = probe
        self._opened = opened
        self._closing = closing
        self._supervisor = supervisor
        self._budget_s = budget_s
        self._slots = slots or asyncio.Semaphore(CALLS_MAX)
        self._probing: SupervisedTask | None = None
        self._closed = True

    @property
    def closed(self) -> bool:
        """Whether calls go through."""
        return self._closed

    async def call(self, command: Callable[[], Awaitable[T]]) -> T:
        """Redis' answer within the budget; raises `StoreUnavailable`."""
        if self._closed:
            async with self._slots:
                if self._closed:
                    try:
                        async with TimeBudget(self._budget_s):
                            return await command()
                    except OUTAGES as outage:
                        self._open()
                        raise StoreUnavailable(UNAVAILABLE) from outage
        raise StoreUnavailable(UNAVAILABLE)

    async def aclose(self) -> None:
        if self._probing is not None:
            await self._probing.stop()

    def _open(self) -> None:
        if self._closed:
            self._closed = False
            self._opened()
            self._probing = self._supervisor.start("redis_probe", self._probe_until_healed)

    async def _probe_until_healed(self, task: SupervisedTask) -> None:
        while not task.stopping:
            try:
                for limit_s in (FIRST_PROBE_S, self._budget_s):
                    async with TimeBudget(limit_s):
                        await self._probe()
                if self._closing is not None:
                    async with TimeBudget(self._budget_s):
                        await self._closing()
            except OUTAGES:
                await asyncio.sleep(PROBE_EVERY_S)
            else:
                self._closed = True
                return
