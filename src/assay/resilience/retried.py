"""Retry: repeats a failed call if the failure's class says that it is worth repeating."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from assay.domain.clock import SYSTEM_CLOCK, Clock
from assay.domain.completion import NO_USAGE, Attempt, CallContext, Completion, Prompt, to_ms
from assay.domain.errors import UNSENT_OUTCOMES, DeadlineExceeded, ModelError, ReadingFailed
from assay.domain.events import AttemptFinished
from assay.domain.faults import internal_fault
from assay.domain.hedging import SUPERSEDED, SUPERSEDED_MESSAGE
from assay.domain.models import Model
from assay.domain.moving_average import MovingAverage
from assay.domain.policy import RetryBudgetPolicy
from assay.domain.ports import ChatModel, EventSink
from assay.resilience.retry_budget import RetryBudget

T = TypeVar("T")

REPAIR_ANSWER_CHARS_MAX = 4_000
"""How much of an unreadable answer the judge is shown again."""

NO_ANSWER = "(an empty answer)"
"""Stands for an answer without text, since providers refuse an empty turn."""

CANCELLED = "cancelled"
"""Outcome of a call whose caller is gone: it stands in no response."""

USUAL_CALL_WEIGHT = 0.1
"""Weight of the newest call in the moving mean of how long a call takes."""


@dataclass(slots=True)
class _Run(Generic[T]):
    """One verdict in the making: the prompt as it now stands and what has been tried."""

    prompt: Prompt[T]
    context: CallContext
    attempts: list[Attempt]
    repetitions: set[str] = field(default_factory=set)
    answer: str = ""

    @property
    def attempts_left(self) -> int:
        sent = sum(attempt.outcome not in UNSENT_OUTCOMES for attempt in self.attempts)
        return self.context.attempts_left - sent


class Retried:
    """A `ChatModel` that reads each answer, notes each attempt and repeats within its bounds.

    A prompt is sent again once, repaired once, and given twice the output limit once. That needs
    all of: a failure worth repeating (`ModelError.retry`), an attempt left, time left for the pause
    and a usual call, no other candidate that could serve before the pause ends or is asked already
    as a hedge, and room in the process's retry budget.
    """

    def __init__(
        self,
        inner: ChatModel,
        model: Model,
        policy: RetryBudgetPolicy,
        budget: RetryBudget,
        events: EventSink,
        uniform: Callable[[float, float], float] = random.uniform,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._inner = inner
        self._model = model
        self._policy = policy
        self._budget = budget
        self._events = events
        self._uniform = uniform
        self._clock = clock
        self._usual_call_s = MovingAverage(USUAL_CALL_WEIGHT, 0.0)

    async def complete(self, prompt: Prompt[T], context: CallContext) -> Completion[T]:
        """The first readable answer, with its reading and every attempt it took.

        Raises the last `ModelError`, with every attempt made here.
        """
        hedged = context.hedged
        run = _Run(prompt, context, hedged.attempts if hedged else [])
        if hedged is None or hedged.may_wait:
            self._budget.note_request()
        while True:
            try:
                completion = await self._attempt(run)
            except ModelError as error:
                error.attempts = tuple(run.attempts)
                pause_s = self._pause_s(error, run)
                if pause_s is None:
                    raise
                run.repetitions.add(_repetition(error))
                if error.retry == "repair":
                    repaired = prompt.repaired(run.answer or NO_ANSWER, error.message)
                    run.prompt = replace(repaired, sampling=run.prompt.sampling)
                elif error.retry == "longer":
                    run.prompt = self._lengthened(run.prompt)
            else:
                return replace(completion, attempts=tuple(run.attempts))
            await self._clock.sleep(pause_s)

    async def _attempt(self, run: _Run[T]) -> Completion[T]:
        """One call and the reading of its answer; every attempt is noted."""
        if run.context.deadline.remaining_s() <= 0:
            raise DeadlineExceeded("No time was left to ask the model.")
        if run.attempts_left <= 0:
            raise ModelError("No attempt was left for this verdict.")
        started_s = self._clock.monotonic_s()
        completion: Completion[T] | None = None
        failure: ModelError | None = None
        outcome = "internal_error"
        try:
            completion = await self._inner.complete(run.prompt, run.context)
            run.answer = completion.text.strip()[:REPAIR_ANSWER_CHARS_MAX]
            reading = self._read(run, completion)
            outcome = "ok"
        except ModelError as error:
            outcome, failure = error.outcome, error
            raise
        except asyncio.CancelledError:
            hedged = run.context.hedged
            was_sent = hedged is not None and hedged.sent_s >= started_s
            outcome = SUPERSEDED if hedged and hedged.superseded and was_sent else CANCELLED
            raise
        finally:
            elapsed_s = self._clock.monotonic_s() - started_s
            self._note(run, outcome, elapsed_s, failure, completion)
        return completion.with_reading(reading)

    def _read(self, run: _Run[T], completion: Completion[object]) -> T:
        """The reading; an unexpected error is reported, and costs no more than the verdict."""
        try:
            return run.prompt.read(completion)
        except ModelError:
            raise
        except Exception as error:
            self._events.emit(internal_fault("reading", error, run.context.caller.request_id))
            raise ReadingFailed("The judge's answer could not be read.") from error

    def _note(
        self,
        run: _Run[T],
        outcome: str,
        elapsed_s: float,
        failure: ModelError | None,
        completion: Completion[T] | None,
    ) -> None:
        usage = (failure.usage if failure else None) or NO_USAGE
        message = failure.message if failure else ""
        if outcome == SUPERSEDED and run.context.hedged:
            usage, message = run.context.hedged.usual(), SUPERSEDED_MESSAGE
        seconds, first_byte_s, cost_usd = elapsed_s, None, self._model.cost_usd(usage)
        if completion is not None:
            seconds, first_byte_s = completion.latency_ms / 1000, completion.first_byte_ms / 1000
            usage = completion.usage
            cost_usd = completion.cost_usd or self._model.cost_usd(usage)
            self._usual_call_s.add(elapsed_s)
        elif outcome in UNSENT_OUTCOMES:
            seconds = 0.0
        provider, model = self._model.provider, self._model.id
        if outcome != CANCELLED:
            run.attempts.append(
                Attempt(provider, model, outcome, to_ms(seconds), usage, cost_usd, message)
            )
        self._events.emit(
            AttemptFinished(
                run.context.caller,
                provider,
                model,
                outcome,
                seconds,
                first_byte_s,
                usage,
                cost_usd,
                host=self._model.host,
                error=type(failure).__name__ if failure else "",
                message=failure.log_message if failure else "",
                criteria=run.context.criteria,
                finish=completion.finish if completion else "",
                served_by=completion.model if completion else "",
                sampling=run.prompt.sampling,
                structured=run.prompt.answer is not None,
            )
        )

    def _was_repeated(self, error: ModelError, run: _Run[Any]) -> bool:
        """Whether the prompt was repeated in this way before, or cannot be."""
        limit_tokens = run.prompt.sampling.max_output_tokens
        is_longest = error.retry == "longer" and limit_tokens >= self._model.max_output_tokens
        return is_longest or _repetition(error) in run.repetitions

    def _lengthened(self, prompt: Prompt[T]) -> Prompt[T]:
        """The prompt with twice the output limit, within the model's own."""
        doubled = 2 * prompt.sampling.max_output_tokens
        limit_tokens = min(doubled, self._model.max_output_tokens)
        return replace(prompt, sampling=replace(prompt.sampling, max_output_tokens=limit_tokens))

    def _pause_s(self, error: ModelError, run: _Run[T]) -> float | None:
        """How long to pause before the next attempt; None for no further attempt."""
        if error.retry == "no" or run.attempts_left <= 0 or self._was_repeated(error, run):
            return None
        if run.context.hedged and run.context.hedged.rival:
            return None
        if error.retry == "after_wait" and error.retry_after_s is None:
            return None
        pause_s = error.retry_after_s or 0.0
        if pause_s > run.context.other_in_s:
            return None
        if error.retry == "once":
            # Full jitter: callers that failed together do not return together.
            pause_s += self._uniform(0.0, self._policy.backoff_s)
        if (
            pause_s + self._usual_call_s.value >= run.context.deadline.remaining_s()
            or not self._budget.spend()
        ):
            return None
        return pause_s


def _repetition(error: ModelError) -> str:
    """The way in which a call is repeated, each of them once: as it was, repaired or longer."""
    return error.retry if error.retry in {"repair", "longer"} else "as_it_was"
