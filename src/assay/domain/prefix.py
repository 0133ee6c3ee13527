"""What several judge calls begin with, and which of them goes first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from assay.domain.completion import AnswerSchema
from assay.domain.evaluation import JudgeSpec
from assay.domain.policy import Deadline

T = TypeVar("T")

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

    async def in_turn(self, model: str, deadline: Deadline, call: Callable[[], Awaitable[T]]) -> T:
        """The result of the call; the first one to a model is over before the others start."""
        first = self._first.get(model)
        if first is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(deadline.remaining_s() * WAIT_SHARE_MAX):
                    await first.wait()
            return await call()
        first = self._first[model] = asyncio.Event()
        try:
            return await call()
        finally:
            first.set()
