"""The router: asks one candidate after the other until one answers, within one deadline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from assay.domain.completion import Attempt, CallContext, Completion, Prompt
from assay.domain.errors import (
    UNSENT_OUTCOMES,
    DeadlineExceeded,
    ModelError,
    NoCandidate,
)
from assay.domain.events import FallbackTaken
from assay.domain.policy import Deadline
from assay.domain.ports import EventSink
from assay.routing.candidates import Candidate
from assay.routing.strategies import CandidateOrder

T = TypeVar("T")

RESERVE_SHARE = 0.25
"""Part of the remaining time that an attempt leaves for the candidates behind it."""

RESERVE_S_MAX = 5.0

PATIENCE_S = 1.0
"""Longest wait for a rate-limited model while another candidate could serve."""


class Router:
    """A `ChatModel` over several candidates: the first that answers serves the call."""

    def __init__(
        self, candidates: Sequence[Candidate], order: CandidateOrder, events: EventSink
    ) -> None:
        self._candidates = candidates
        self._order = order
        self._events = events

    async def complete(self, prompt: Prompt[T], context: CallContext) -> Completion[T]:
        """The answer of the first candidate that gives a usable one.

        Raises `NoCandidate` with every failure if none answers. Calls that were sent count
        against `context.attempts_left`; candidates passed over unsent cost nothing.
        """
        failures: list[ModelError] = []
        waiting = self._order(self._candidates, prompt)
        if all(candidate.open_for_s() > 0 for candidate in waiting):
            waiting = sorted(waiting, key=lambda candidate: candidate.open_for_s())
        attempts_left = context.attempts_left
        while waiting and attempts_left > 0 and context.deadline.remaining_s() > 0:
            candidate, *waiting = waiting
            try:
                completion = await candidate.chat.complete(
                    prompt.for_model(candidate.model),
                    replace(
                        context,
                        deadline=_share(context.deadline) if waiting else context.deadline,
                        attempts_left=attempts_left,
                        patience_s=PATIENCE_S if waiting else math.inf,
                    ),
                )
            except ModelError as failure:
                failures.append(failure)
                attempts_left -= sum(
                    attempt.outcome not in UNSENT_OUTCOMES for attempt in failure.attempts
                )
                waiting = _worth_trying(waiting, candidate, failure, context.deadline)
                if waiting and attempts_left > 0:
                    self._events.emit(
                        FallbackTaken(
                            context.caller, candidate.model.id, waiting[0].model.id, failure.outcome
                        )
                    )
            else:
                candidate.latency.add(completion.latency_ms)
                return replace(completion, attempts=(*_attempts(failures), *completion.attempts))
        raise NoCandidate(failures or [DeadlineExceeded("No time was left to ask a judge.")])


def _share(deadline: Deadline) -> Deadline:
    """The deadline of an attempt that leaves time for the candidates behind it."""
    left_s = max(deadline.remaining_s(), 0.0)
    return deadline.earlier_by(min(left_s * RESERVE_SHARE, RESERVE_S_MAX))


def _worth_trying(
    waiting: Sequence[Candidate], failed: Candidate, failure: ModelError, deadline: Deadline
) -> list[Candidate]:
    """The candidates that may still answer after this failure, in the time left."""
    if deadline.remaining_s() <= 0:
        return []
    match failure.next_candidate:
        case "any":
            return list(waiting)
        case "larger_window":
            return [other for other in waiting if other.window_tokens > failed.window_tokens]
        case "none":
            return []


def _attempts(failures: Sequence[ModelError]) -> list[Attempt]:
    return [attempt for failure in failures for attempt in failure.attempts]
