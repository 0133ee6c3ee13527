"""Watches whether Redis can be written to: gone, read-only and out of memory look the same."""

from __future__ import annotations

import asyncio

from assay.domain.events import StoreDegraded
from assay.domain.ports import EventSink
from assay.domain.supervision import SupervisedTask
from assay.redis.circuit import write_probe
from assay.redis.client import Client
from assay.redis.outages import OUTAGES
from assay.redis.time_budget import TimeBudget

EVERY_S = 1.0
ANSWER_S = 1.0
PREFIX = "assay:{store}"


class StoreWatch:
    """Writes a key every second, and reports when that begins to fail or to succeed."""

    def __init__(self, redis: Client, events: EventSink) -> None:
        self._probe = write_probe(redis, PREFIX)
        self._events = events
        self.available = True

    async def run(self, task: SupervisedTask) -> None:
        while not task.stopping:
            fault = ""
            try:
                async with TimeBudget(ANSWER_S):
                    await self._probe()
            except OUTAGES as outage:
                fault = str(outage) or type(outage).__name__
            if self.available == bool(fault):
                self.available = not fault
                self._events.emit(StoreDegraded(self.available, fault))
            await asyncio.sleep(EVERY_S)
