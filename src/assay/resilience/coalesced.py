"""Coalescing: identical calls in flight share one upstream call.

It goes around the retry, `Coalesced(Retried(...))`, so that callers share a readable verdict. The
first waiter that takes the answer gets it with its attempts and cost: the call is paid for once.
The others get it marked as `cached`, without attempts, usage or cost; errors are shared the same
way.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from assay.domain.completion import NO_USAGE, CallContext, Completion, Prompt
from assay.domain.errors import DeadlineExceeded, ModelError, NoCandidate
from assay.domain.policy import Deadline
from assay.domain.ports import ChatModel

T = TypeVar("T")

JOINS_MAX = 3
"""How many calls that failed for lack of time a caller joins before it sends its own."""

LATER_S_MIN = 0.1
"""A deadline that is later by less than this counts as the same."""

REPORT_S = 0.25
"""How long past its deadline a call may take to report its outcome."""

HASHED_CHARS = 512
"""How much of a long text is hashed, at each end."""


@dataclass(eq=False, slots=True)
class _Shared:
    """One upstream call and how many wait for it."""

    task: asyncio.Task[Completion[Any]]
    deadline: Deadline
    waiters: int = 0
    taken: bool = False


class _Question:
    """A question as the key of a dictionary, whose long texts are not hashed whole.

    The lengths and ends of the texts make the hash: to hash a megabyte takes ten times as long as
    to compare it, and few questions agree that far.
    """

    __slots__ = ("_hash", "_parts")

    def __init__(self, parts: tuple[object, ...]) -> None:
        self._parts = parts
        self._hash = hash(_brief(parts))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Question) and self._parts == other._parts


def _brief(part: object) -> object:
    if isinstance(part, tuple):
        return tuple([_brief(one) if isinstance(one, str | tuple) else one for one in part])
    if isinstance(part, str) and len(part) > 2 * HASHED_CHARS:
        return len(part), part[:HASHED_CHARS], part[-HASHED_CHARS:]
    return part


class Coalesced:
    """A `ChatModel` that sends a question once, however many callers ask it at the same time.

    Questions are the same where tenant, priority, sampling and `Prompt.key` are equal; a prompt
    without a key is never shared.
    """

    def __init__(self, inner: ChatModel) -> None:
        self._inner = inner
        self._in_flight: dict[_Question, _Shared] = {}
        self._tasks: set[asyncio.Task[Completion[Any]]] = set()

    async def complete(self, prompt: Prompt[T], context: CallContext) -> Completion[T]:
        """The answer of the one call; raises as that call does."""
        if prompt.key is None:
            return await self._inner.complete(prompt, context)
        question = _Question(
            (context.caller.tenant, context.caller.priority, prompt.sampling, prompt.key)
        )
        for _ in range(JOINS_MAX):
            shared = self._in_flight.get(question)
            if shared is None:
                break
            try:
                return await self._wait(question, shared, context)
            except ModelError as error:
                # Its caller had less time than this one, so a call of its own may well succeed.
                later_s = context.deadline.at_s - shared.deadline.at_s
                if not error.wants_time or later_s < LATER_S_MIN:
                    raise
        return await self._wait(question, self._send(question, prompt, context), context)

    def _send(self, question: _Question, prompt: Prompt[Any], context: CallContext) -> _Shared:
        """Start the call as a task of its own, which may outlive its first caller."""
        task = asyncio.create_task(self._inner.complete(prompt, context))
        shared = self._in_flight[question] = _Shared(task, context.deadline)
        self._tasks.add(task)

        def done(task: asyncio.Task[Completion[Any]]) -> None:
            self._tasks.discard(task)
            self._forget(question, shared)
            if not task.cancelled():
                task.exception()  # retrieved here, since the last waiter may have gone

        task.add_done_callback(done)
        return shared

    async def _wait(
        self, question: _Question, shared: _Shared, context: CallContext
    ) -> Completion[Any]:
        deadline = context.deadline
        shared.waiters += 1
        try:
            # The call itself reports that its deadline passed, and what it cost.
            ends_itself = deadline.at_s >= shared.deadline.at_s
            timeout_s = deadline.remaining_s() + (REPORT_S if ends_itself else 0.0)
            done, _ = await asyncio.wait({shared.task}, timeout=max(timeout_s, 0.0))
        finally:
            shared.waiters -= 1
            if not shared.waiters and not shared.task.done():
                self._forget(question, shared)
                shared.task.cancel()
                if context.hedged is not None:
                    await asyncio.wait({shared.task})  # until its attempts are known
            elif context.hedged is not None:
                context.hedged.attempts = []  # others wait for the call, and pay for it
        if not done:
            raise DeadlineExceeded("The shared call took longer than the deadline.")
        return _take(shared)

    def _forget(self, question: _Question, shared: _Shared) -> None:
        """Let no caller join a call that is over, or about to be cancelled."""
        if self._in_flight.get(question) is shared:
            del self._in_flight[question]


def _take(shared: _Shared) -> Completion[Any]:
    """The answer: with its cost for the first caller that takes it, without for the others."""
    first, shared.taken = not shared.taken, True
    error = shared.task.exception()
    if error is None:
        completion = shared.task.result()
        return completion if first else without_cost(completion)
    raise error if first or not isinstance(error, ModelError) else _without_attempts(error)


def without_cost(completion: Completion[T]) -> Completion[T]:
    """The same answer for a caller that did not cause the call."""
    return replace(completion, cached=True, usage=NO_USAGE, cost_usd=0.0, attempts=())


def _without_attempts(error: ModelError) -> ModelError:
    """The same failure; a copy, since each caller adds its own attempts to the error it raises."""
    if isinstance(error, NoCandidate):
        return NoCandidate([_without_attempts(failure) for failure in error.failures])
    copy = type(error)(error.message, retry_after_s=error.retry_after_s)
    copy.spent = error.spent
    return copy
