"""One call for up to sixteen callers who ask while the last one is under way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from assay.domain.errors import StoreUnavailable
from assay.domain.supervision import SupervisedTask, Supervisor
from assay.redis.outages import UNAVAILABLE

QUESTIONS_MAX = 16
"""In one call: Redis serves nothing else while it answers them."""

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class GroupedCalls(Generic[Question, Answer]):
    """Asks at once for a single caller; the more there are, the fewer calls each of them costs.

    `ask` answers questions in order. What it raises is raised in all callers whose question it had.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[Question]], Awaitable[Sequence[Answer]]],
        supervisor: Supervisor,
    ) -> None:
        self._ask = ask
        self._supervisor = supervisor
        self._asking = False
        self._waiting: deque[tuple[Question, asyncio.Future[Answer]]] = deque()

    async def answer(self, question: Question) -> Answer:
        """The answer to this question.

        As many may wait as there are requests in flight. To refuse one of them would send it to
        the process's own share of a quota, and so beyond the quota that the others ask for.
        """
        if self._asking:
            future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            self._waiting.append((question, future))
            return await future
        self._asking = True
        try:
            return (await self._ask((question,)))[0]
        finally:
            self._asking = bool(self._waiting)
            if self._asking:
                self._supervisor.start("grouped_calls", self._answer_all, restarts=False)

    async def _answer_all(self, task: SupervisedTask) -> None:
        """Ask until no caller waits; if the process stops first, there is no answer for them."""
        del task
        try:
            while self._waiting:
                await self._answer_next()
        finally:
            self._asking = False
            _fail(self._waiting, StoreUnavailable(UNAVAILABLE))
            self._waiting.clear()

    async def _answer_next(self) -> None:
        count = min(len(self._waiting), QUESTIONS_MAX)
        asked = [self._waiting.popleft() for _ in range(count)]
        asked = [(question, future) for question, future in asked if not future.done()]
        if not asked:
            return
        try:
            answers = await self._ask([question for question, _ in asked])
            for (_, future), answer in zip(asked, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
        except BaseException as error:
            cancelled = not isinstance(error, Exception)
            _fail(asked, StoreUnavailable(UNAVAILABLE) if cancelled else error)
            if cancelled:
                raise


def _fail(asked: Iterable[tuple[object, asyncio.Future[Any]]], error: BaseException) -> None:
    for _, future in asked:
        if not future.done():
            future.set_exception(error)
