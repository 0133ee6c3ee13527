"""The router: asks one candidate after the other until one answers, within one deadline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from assay.domain.completion import EXTRA_ATTEMPTS, Attempt, CallContext, Completion, Prompt
from assay.domain.errors import (
    UNSENT_OUTCOMES,
    DeadlineExceeded,
    ModelError,
    NoCandidate,
)
from assay.domain.evaluation import OnRefusal
from assay.domain.events import FallbackTaken
from assay.domain.policy import Deadline
from assay.domain.ports import EventSink
from assay.routing.candidates import Candidate
from assay.routing.strategies import CandidateOrder

T = TypeVar("T")

RESERVE_SHARE = 0.25
"""Part of the remaining time that an attempt leaves for the candidates behind it."""

RESERVE_S_MAX = 5.0


class Router:
    """A `ChatModel` over several candidates: the first that answers serves the call.

    `on_refusal` says whether a content filter or a refusal goes to the next one, or ends the call.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        order: CandidateOrder,
        events: EventSink,
        on_refusal: OnRefusal = "next",
    ) -> None:
        self._candidates = candidates
        self._order = order
        self._events = events
        self._on_refusal = on_refusal

    async def complete(self, prompt: Prompt[T], context: CallContext) -> Completion[T]:
        """The answer of the first candidate that gives a usable one.

        Raises `NoCandidate` with every failure if none answers. Each candidate has a call of its
        own, and all share `EXTRA_ATTEMPTS`; candidates passed over unsent take none.
        """
        failures: list[ModelError] = []
        waiting: Sequence[Candidate] = self._order(self._candidates, prompt)
        if all(candidate.open_for_s() > 0 for candidate in waiting):
            waiting = sorted(waiting, key=lambda candidate: candidate.open_for_s())
        extra = EXTRA_ATTEMPTS
        while waiting and context.deadline.remaining_s() > 0:
            candidate, *waiting = waiting
            try:
                completion = await candidate.chat.complete(
                    prompt.for_model(candidate.model),
                    replace(
                        context,
                        deadline=_share(context.deadline) if waiting else context.deadline,
                        attempts_left=1 + extra,
                        other_in_s=min((other.ready_in_s() for other in waiting), default=math.inf),
                    ),
                )
            except ModelError as failure:
                failures.append(failure)
                sent = sum(attempt.outcome not in UNSENT_OUTCOMES for attempt in failure.attempts)
                extra -= max(sent - 1, 0)
                waiting = self._worth_trying(waiting, candidate, failure)
                if waiting and context.deadline.remaining_s() > 0:
                    self._events.emit(
                        FallbackTaken(
                            context.caller, candidate.model.id, waiting[0].model.id, failure.outcome
                        )
                    )
            else:
                candidate.latency.add(completion.latency_ms)
                return replace(completion, attempts=(*_attempts(failures), *completion.attempts))
        raise NoCandidate(failures or [DeadlineExceeded("No time was left to ask a judge.")])

    def _worth_trying(
        self, waiting: Sequence[Candidate], failed: Candidate, failure: ModelError
    ) -> Sequence[Candidate]:
        """The candidates that may still answer after this failure."""
        match failure.next_candidate:
            case "any":
                return waiting
            case "by_policy":
                return waiting if self._on_refusal == "next" else ()
            case "no_smaller_window":
                return [other for other in waiting if not other.is_smaller_than(failed)]
            case "none":
                return ()


def _share(deadline: Deadline) -> Deadline:
    """The deadline of an attempt that leaves time for the candidates behind it."""
    left_s = max(deadline.remaining_s(), 0.0)
    return deadline.earlier_by(min(left_s * RESERVE_SHARE, RESERVE_S_MAX))


def _attempts(failures: Sequence[ModelError]) -> list[Attempt]:
    return [attempt for failure in failures for attempt in failure.attempts]
