"""Measures how late the event loop resumes a sleeping task."""

from __future__ import annotations

import asyncio

from assay.domain.events import LoopLagged
from assay.domain.ports import EventSink
from assay.domain.supervision import SupervisedTask

LOOK_EVERY_S = 0.25


async def watch_loop(events: EventSink, task: SupervisedTask) -> None:
    """Emit the loop's lag until the task stops."""
    loop = asyncio.get_running_loop()
    while not task.stopping:
        due_s = loop.time() + LOOK_EVERY_S
        await asyncio.sleep(LOOK_EVERY_S)
        events.emit(LoopLagged(max(0.0, loop.time() - due_s)))
