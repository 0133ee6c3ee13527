"""Asks a judge once: a finding or the reason for having none, with all that the call took."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from assay.criteria.base import Finding
from assay.criteria.results import FAILED_CHECK
from assay.domain.completion import (
    NO_USAGE,
    Attempt,
    CallContext,
    Caller,
    Completion,
    Prompt,
    Usage,
)
from assay.domain.errors import DeadlineExceeded, ModelError, Reason
from assay.domain.evaluation import JudgeSpec, LongInputRecord, SharedCall
from assay.domain.policy import Deadline, SpentQuota
from assay.domain.ports import ChatModel, Judges

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PanelMember:
    """One who judges: a model, or a router over several that may stand in for each other."""

    spec: JudgeSpec
    chat: ChatModel
    window_tokens: float


@dataclass(frozen=True, slots=True)
class Panel:
    """All who judge a question: one seat, or those of a panel."""

    spec: JudgeSpec
    seats: tuple[PanelMember, ...]

    @property
    def is_panel(self) -> bool:
        return len(self.seats) > 1


@dataclass(frozen=True, slots=True)
class Asker:
    """On whose behalf, until when, and what identifies the question."""

    caller: Caller
    deadline: Deadline
    identity: tuple[object, ...] = ()

    def context(self, spec: JudgeSpec) -> CallContext:
        """The context of one call by `spec`."""
        return CallContext(self.caller, self.deadline, budget=spec.purse, cacheable=spec.cache)


@dataclass(frozen=True, slots=True)
class JudgeReply:
    """What came of a question: a finding, or the reason for having none."""

    finding: Finding | None = None
    reason: Reason | None = None
    message: str = ""
    provider: str = ""
    model: str = ""
    attempts: tuple[Attempt, ...] = ()
    usage: Usage = NO_USAGE
    cost_usd: float = 0.0
    cached: bool = False
    simulated: bool = False
    retry_after_s: float | None = None
    spent: SpentQuota | None = None
    reading: object = None
    shared_call: SharedCall | None = None
    shortened: LongInputRecord | None = None


class ConcurrencyLimited:
    """A `ChatModel` that sends no more calls at a time than its slots allow."""

    def __init__(self, inner: ChatModel, slots: asyncio.Semaphore) -> None:
        self._inner = inner
        self._slots = slots

    async def complete(self, prompt: Prompt[T], context: CallContext) -> Completion[T]:
        async with self._slots:
            if context.deadline.remaining_s() <= 0:
                raise DeadlineExceeded("no time was left to ask the judge")
            return await self._inner.complete(prompt, context)


def panel_for(judges: Judges, spec: JudgeSpec, slots: asyncio.Semaphore) -> Panel:
    """Who judges by `spec`; raises `RequestError` for a judge or model that is not configured."""
    return Panel(
        spec,
        tuple(
            PanelMember(
                member,
                ConcurrencyLimited(judges.select(member), slots),
                judges.window_tokens(member),
            )
            for member in judges.members(spec)
        ),
    )


async def ask(prompt: Prompt[Any], chat: ChatModel, context: CallContext) -> JudgeReply:
    """The judge's reply; a `ModelError` is a reply too, with every attempt it cost."""
    try:
        completion = await chat.complete(prompt, context)
    except ModelError as error:
        return failed(error)
    except Exception:  # noqa: BLE001  # one call's fault must not take the other votes along
        return JudgeReply(reason="check_error", message=FAILED_CHECK)
    return answered(completion)


def answered(completion: Completion[Any]) -> JudgeReply:
    """The reply in a completion; its reading is a finding, or kept as it is."""
    attempts = completion.attempts
    found = completion.reading if isinstance(completion.reading, Finding) else None
    # A bare provider lists no attempts; a cached answer took none and costs nothing.
    bare = not attempts and not completion.cached
    return JudgeReply(
        finding=found,
        reason=None if found else "check_error",
        message="" if found else FAILED_CHECK,
        provider=completion.provider,
        model=completion.model,
        attempts=attempts,
        usage=completion.usage if bare else total_usage(attempts),
        cost_usd=completion.cost_usd if bare else total_cost_usd(attempts),
        cached=completion.cached,
        simulated=completion.simulated,
        reading=completion.reading,
    )


def failed(error: ModelError) -> JudgeReply:
    """The reply that a failure makes: what failed may have cost money all the same."""
    last = error.attempts[-1] if error.attempts else None
    return JudgeReply(
        reason=error.reason,
        message=error.message,
        provider=last.provider if last else "",
        model=last.model if last else "",
        attempts=error.attempts,
        usage=total_usage(error.attempts),
        cost_usd=total_cost_usd(error.attempts),
        retry_after_s=error.retry_after_s,
        spent=error.spent,
    )


def total_usage(spent: Sequence[Attempt | JudgeReply]) -> Usage:
    return sum((each.usage for each in spent), NO_USAGE)


def total_cost_usd(spent: Sequence[Attempt | JudgeReply]) -> float:
    return sum(each.cost_usd for each in spent)
