"""One judge call: the verdict or the reason for having none, and what the call took."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Generic, Never, TypeVar

from assay.criteria.base import Judgement, Question
from assay.criteria.results import FAILED_CHECK
from assay.domain.completion import (
    NO_USAGE,
    Attempt,
    CallContext,
    Completion,
    Prompt,
    Usage,
    total_spent,
)
from assay.domain.errors import DeadlineExceeded, ModelError, NotApplicable, Reason
from assay.domain.evaluation import (
    JudgeSign,
    JudgeSpec,
    LongInputRecord,
    RetryAdvice,
    SharedCall,
)
from assay.domain.faults import internal_fault
from assay.domain.ports import ChatModel, EventSink, Judges, PanelMember
from assay.judging.prompt import to_prompt

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

CALLS_MAX = 16
"""Judge calls of one request in flight at a time."""


@dataclass(frozen=True, slots=True)
class JudgeReply(Generic[T_co]):
    """A judge's verdict, or the reason for having none."""

    verdict: T_co | None = None
    reason: Reason | None = None
    message: str = ""
    provider: str = ""
    model: str = ""
    attempts: tuple[Attempt, ...] = ()
    usage: Usage = NO_USAGE
    cost_usd: float = 0.0
    cached: bool = False
    simulated: bool = False
    retry: RetryAdvice | None = None
    shared_call: SharedCall | None = None
    long_input: LongInputRecord | None = None
    manipulations: tuple[JudgeSign, ...] = ()
    """How the case tries to sway the judge, as the judge saw it."""


async def ask(
    question: Question[T], member: PanelMember, context: CallContext, *, sample: int = 0
) -> JudgeReply[T]:
    """The judge's reply; a call that failed is a reply too, with every attempt it cost."""
    prompt = to_prompt(question, member.spec, context, sample=sample)
    prefix = question.prefix
    turn = nullcontext() if prefix is None else prefix.turn(member.fingerprint, context.deadline)
    try:
        async with turn:
            completion = await member.chat.complete(prompt, context)
    except ModelError as error:
        return _failed(error)
    except NotApplicable as error:
        return JudgeReply(reason=error.reason, message=error.message)
    return _answered(completion)


def _answered(completion: Completion[Judgement[T]]) -> JudgeReply[T]:
    attempts, judgement = completion.attempts, completion.reading
    # A bare provider lists no attempts; a cached answer took none and costs nothing.
    bare = not attempts and not completion.cached
    spent = (completion.usage, completion.cost_usd) if bare else total_spent(attempts)
    return JudgeReply(
        verdict=judgement.verdict if judgement else None,
        reason=None if judgement else "check_error",
        message="" if judgement else FAILED_CHECK,
        provider=completion.provider,
        model=completion.model,
        attempts=attempts,
        usage=spent[0],
        cost_usd=spent[1],
        cached=completion.cached,
        simulated=completion.simulated,
        manipulations=(judgement.manipulation,) if judgement and judgement.manipulation else (),
    )


def _failed(error: ModelError) -> JudgeReply[Never]:
    """A call that failed may have cost money all the same."""
    last = error.attempts[-1] if error.attempts else None
    usage, cost_usd = total_spent(error.attempts)
    wait_s = error.retry_after_s
    return JudgeReply(
        reason=error.reason,
        message=error.message,
        provider=last.provider if last else "",
        model=last.model if last else "",
        attempts=error.attempts,
        usage=usage,
        cost_usd=cost_usd,
        retry=None if wait_s is None else RetryAdvice(wait_s, error.spent),
    )


class RequestJudges:
    """The judges of one request: `CALLS_MAX` bounds the calls of all its members together."""

    def __init__(self, judges: Judges, events: EventSink) -> None:
        self._judges = judges
        self._events = events
        self._slots = asyncio.Semaphore(CALLS_MAX)

    def panel(self, spec: JudgeSpec) -> Sequence[PanelMember]:
        """The members that `spec` names; raises `RequestError` for an unknown one."""
        return [
            replace(member, chat=RequestBounded(member.chat, self._slots, self._events))
            for member in self._judges.panel(spec)
        ]


class RequestBounded:
    """A `ChatModel` for the calls of one request.

    It sends no more calls at a time than there are slots. An unexpected error is reported and
    ends its own call alone: the request's other calls go on.
    """

    def __init__(self, inner: ChatModel, slots: asyncio.Semaphore, events: EventSink) -> None:
        self._inner = inner
        self._slots = slots
        self._events = events

    async def complete(self, prompt: Prompt[T], context: CallContext) -> Completion[T]:
        """The inner model's answer; raises `NotApplicable` for an unexpected error."""
        async with self._slots:
            if context.deadline.remaining_s() <= 0:
                raise DeadlineExceeded("No time was left to ask the judge.")
            try:
                return await self._inner.complete(prompt, context)
            except ModelError:
                raise
            except Exception as error:
                fault = internal_fault("judge_call", error, context.caller.request_id)
                self._events.emit(fault)
                raise NotApplicable("check_error", FAILED_CHECK) from error
