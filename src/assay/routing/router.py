"""The router: asks one candidate after the other until one answers, within one deadline."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter
from typing import TypeVar

from assay.domain.completion import EXTRA_ATTEMPTS, Attempt, CallContext, Completion, Prompt
from assay.domain.errors import (
    UNSENT_OUTCOMES,
    DeadlineExceeded,
    ModelBlind,
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

RESERVE_S_MAX = 5.0
"""Time that an attempt leaves for each candidate behind it, at the most."""
OWN_SHARES = 3
"""An attempt gets three shares of the remaining time, and each candidate behind it one."""


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
        run = _Run(context.deadline)
        seeing = run.seeing(self._candidates) if prompt.has_images else self._candidates
        waiting: Sequence[Candidate] = self._order(seeing, prompt)
        if all(candidate.open_for_s() > 0 for candidate in waiting):
            waiting = sorted(waiting, key=lambda candidate: candidate.open_for_s())
        while waiting and context.deadline.remaining_s() > 0:
            candidate, *waiting = waiting
            try:
                completion = await candidate.chat.complete(
                    prompt.for_model(candidate.model),
                    replace(
                        context,
                        deadline=_share(context.deadline, len(waiting)),
                        attempts_left=1 + run.extra,
                        other_in_s=min((other.ready_in_s() for other in waiting), default=math.inf),
                    ),
                )
            except ModelError as failure:
                run.note(candidate, failure)
                waiting = self._worth_trying(waiting, candidate, failure)
                if not waiting and failure.next_candidate == "any":
                    waiting = await run.limited_before()
                if waiting and context.deadline.remaining_s() > 0:
                    self._events.emit(
                        FallbackTaken(
                            context.caller, candidate.model.id, waiting[0].model.id, failure.outcome
                        )
                    )
            else:
                candidate.latency.add(completion.latency_ms)
                if not run.failures:
                    return completion
                return replace(completion, attempts=(*run.attempts, *completion.attempts))
        raise NoCandidate(run.failures or [DeadlineExceeded("No time was left to ask a judge.")])

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


class _Run:
    """What happened to one prompt so far."""

    def __init__(self, deadline: Deadline) -> None:
        self.failures: list[ModelError] = []
        self.extra = EXTRA_ATTEMPTS
        self._deadline = deadline
        self._limited: list[tuple[float, Candidate]] = []
        """Candidates to return to, each with the time that is left when it can serve again."""

    def seeing(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The candidates that take images; the others are passed over."""
        blind = [one.model for one in candidates if not one.model.capabilities.vision]
        for model in blind:
            message = (
                f"{model.id} is not known to take images; if it does, set vision = true in "
                f'[models."{model.id}"].'
            )
            attempt = Attempt(model.provider, model.id, ModelBlind.outcome, 0.0, message=message)
            self.failures.append(ModelBlind(message, attempts=[attempt]))
        return [one for one in candidates if one.model.capabilities.vision]

    def note(self, candidate: Candidate, failure: ModelError) -> None:
        self.failures.append(failure)
        sent = sum(attempt.outcome not in UNSENT_OUTCOMES for attempt in failure.attempts)
        self.extra -= max(sent - 1, 0)
        if failure.retry == "after_wait" and failure.retry_after_s is not None and sent <= 1:
            left_s = self._deadline.remaining_s() - failure.retry_after_s
            self._limited.append((left_s, candidate))

    async def limited_before(self) -> list[Candidate]:
        """The candidate that can serve again first, once it can; none where time is too short."""
        left_s, candidate = max(self._limited, default=(0.0, None), key=itemgetter(0))
        if candidate is None or left_s <= 0 or self.extra <= 0:
            return []
        self.extra -= 1
        self._limited = [entry for entry in self._limited if entry[1] is not candidate]
        await asyncio.sleep(max(0.0, self._deadline.remaining_s() - left_s))
        return [candidate]

    @property
    def attempts(self) -> list[Attempt]:
        return [attempt for failure in self.failures for attempt in failure.attempts]


def _share(deadline: Deadline, behind: int) -> Deadline:
    """The deadline of an attempt that leaves time for the candidates behind it."""
    left_s = max(deadline.remaining_s(), 0.0)
    share = behind / (behind + OWN_SHARES)
    return deadline.earlier_by(min(left_s * share, RESERVE_S_MAX * behind))
