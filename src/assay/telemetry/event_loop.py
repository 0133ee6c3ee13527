"""Watches how late the event loop wakes those who sleep on it."""

from __future__ import annotations

import asyncio

from assay.domain.events import LoopLagged
from assay.domain.ports import EventSink

LOOK_EVERY_S = 0.25


async def watch_loop(events: EventSink) -> None:
    """Emit the loop's lag for as long as the task lives."""
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + LOOK_EVERY_S
        await asyncio.sleep(LOOK_EVERY_S)
        events.emit(LoopLagged(max(0.0, loop.time() - due_s)))
