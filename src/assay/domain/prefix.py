"""What several judge calls begin with, and which of them goes first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from assay.domain.completion import AnswerSchema
from assay.domain.evaluation import JudgeSpec
from assay.domain.policy import Deadline

WAIT_SHARE_MAX = 0.5
"""Of the time left that a call waits for the first one."""


@dataclass(eq=False, slots=True)
class CommonPrefix:
    """What several calls begin with, and the schema `answer` by which all are answered.

    The judges of `spec` get them all. Later ones of a cascade may be asked once: for them, a cache
    is not worth its price.
    """

    spec: JudgeSpec
    answer: AnswerSchema | None
    _first: dict[str, asyncio.Event] = field(default_factory=dict)

    @asynccontextmanager
    async def turn(self, model: str, deadline: Deadline) -> AsyncIterator[None]:
        """The time to make a call: the first one to a model is over before the others start."""
        first = self._first.get(model)
        if first is None:
            first = self._first[model] = asyncio.Event()
            try:
                yield
            finally:
                first.set()
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline.remaining_s() * WAIT_SHARE_MAX):
                await first.wait()
        yield
