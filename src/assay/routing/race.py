"""A call and its hedge: the first answer counts, and the other call is cancelled.

Dean and Barroso, The Tail at Scale, 2013.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Generic, TypeVar

from assay.domain.completion import Attempt, Completion
from assay.domain.errors import ModelError
from assay.domain.events import HedgeOutcome
from assay.domain.hedging import HedgedCall
from assay.routing.candidates import Candidate

T = TypeVar("T")


class Contender(Generic[T]):
    """One of the two calls, under way as a task."""

    def __init__(
        self,
        candidate: Candidate,
        call: HedgedCall,
        asking: Coroutine[Any, Any, Completion[T]],
    ) -> None:
        self.candidate = candidate
        self.call = call
        self.task = asyncio.create_task(asking)
        self.won = False

    @property
    def outcome(self) -> HedgeOutcome | None:
        """What became of the call; None if nothing was sent."""
        if self.won or not self.call.was_sent:
            return "won" if self.won else None
        has_failed = self.task.done() and not self.task.cancelled() and self.task.exception()
        return "failed" if has_failed else "lost"

    async def end(self) -> tuple[Attempt, ...]:
        """Cancel the call unless it has ended, and return what it took.

        A failure has its attempts noted already.
        """
        if not self.task.done():
            self.call.superseded = True
            self.candidate.hedge_times.add(self.call)
            self.task.cancel()
            await asyncio.wait({self.task})
        if self.task.cancelled():
            return tuple(self.call.attempts)
        try:
            return self.task.result().attempts
        except ModelError:
            return ()


async def race(
    first: Contender[T],
    late_after_s: float,
    hedge: Callable[[], Contender[T] | None],
    may_follow: Callable[[Contender[T], ModelError], bool],
) -> Completion[T]:
    """The first answer, with the attempts of both calls; no call outlives it.

    `hedge` starts the second call if it is allowed. `may_follow` says whether that call is worth
    waiting for after a failure of the first one. Raises the `ModelError` of the last call.
    """
    tasks: list[asyncio.Task[Any]] = [
        first.task,
        asyncio.create_task(first.call.overdue(late_after_s)),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        second = None if first.task.done() else hedge()
        if second is None:
            return await first.task
        tasks.append(second.task)
        first.call.rival = second.call
        return await _first_answer(first, second, may_follow)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _first_answer(
    first: Contender[T],
    second: Contender[T],
    may_follow: Callable[[Contender[T], ModelError], bool],
) -> Completion[T]:
    await asyncio.wait({first.task, second.task}, return_when=asyncio.FIRST_COMPLETED)
    ended, other = (first, second) if first.task.done() else (second, first)
    try:
        completion = await ended.task
    except ModelError as failure:
        other.call.rival = None
        if ended is first and not may_follow(second, failure):
            failure.attempts = (*failure.attempts, *await second.end())
            raise
        other.won = True
        return await other.task
    ended.won = True
    return replace(completion, attempts=(*await other.end(), *completion.attempts))
