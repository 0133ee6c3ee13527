"""Retry: what is repeated, how often, and what is noted of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.domain import errors
from assay.domain.clock import SYSTEM_CLOCK, Clock
from assay.domain.completion import EXTRA_ATTEMPTS, Completion
from assay.domain.errors import UNSENT_OUTCOMES, ModelError
from assay.domain.events import AttemptFinished, InternalFault
from assay.domain.policy import RetryBudgetPolicy
from assay.resilience.retried import REPAIR_ANSWER_CHARS_MAX, Retried
from assay.resilience.retry_budget import WINDOW_S, RetryBudget
from fakes.calls import call
from fakes.clock import FakeClock
from fakes.models import MODEL, USAGE, ScriptedModel, answer, ask, outcomes
from fakes.policies import retry_budget_policy
from fakes.recorded_events import RecordedEvents

PLENTY = retry_budget_policy(budget_per_s=100.0, backoff_s=0.0)
NONE_LEFT = retry_budget_policy(budget_share=0.0, budget_per_s=0.0)


def retried(
    model: ScriptedModel, policy: RetryBudgetPolicy = PLENTY, clock: Clock = SYSTEM_CLOCK
) -> tuple[Retried, RecordedEvents]:
    sink = RecordedEvents()
    return Retried(model, MODEL, policy, RetryBudget(policy), sink, clock=clock), sink


def refuses_once(text: str = "no JSON here"):
    """A reader that finds one given text unreadable."""

    def read(completion: Completion) -> str:
        if completion.text == text:
            raise errors.AnswerUnreadable("The answer is not JSON.")
        return completion.text.upper()

    return read


async def test_answer_carries_its_reading_and_its_attempt() -> None:
    """A readable answer comes back with what was read from it and the one call it took."""
    chat, sink = retried(ScriptedModel(answer("yes", first_byte_ms=4.0)))
    completion = await chat.complete(ask(read=lambda c: c.text.upper()), call())
    assert completion.reading == "YES"
    (attempt,) = completion.attempts
    assert (attempt.outcome, attempt.usage, attempt.cost_usd) == ("ok", USAGE, 2.0)
    assert attempt.latency_ms == 10.0
    (event,) = sink.of(AttemptFinished)
    assert (event.seconds, event.first_byte_seconds) == (0.010, 0.004)


async def test_unreadable_answer_is_shown_to_the_judge_once() -> None:
    """The judge sees its own answer and the fault; both calls are paid for and noted."""
    model = ScriptedModel(answer("no JSON here"), answer("fine"))
    chat, sink = retried(model)
    completion = await chat.complete(ask(read=refuses_once(), key=("q",)), call())
    assert completion.reading == "FINE"
    assert outcomes(completion.attempts) == ["answer_unreadable", "ok"]
    assert [attempt.cost_usd for attempt in completion.attempts] == [2.0, 2.0]
    assert [turn.text for turn in model.prompts[1].turns[1:]] == [
        "no JSON here",
        "The answer is not JSON.",
    ]
    assert model.prompts[1].key is None
    assert outcomes(sink.of(AttemptFinished)) == ["answer_unreadable", "ok"]


async def test_a_failed_call_is_noted_with_the_tokens_that_it_took() -> None:
    """A filtered answer has been written, and is paid for."""
    failure = errors.ContentFiltered("filtered")
    failure.usage = USAGE
    chat, _ = retried(ScriptedModel(failure))
    with pytest.raises(errors.ContentFiltered) as caught:
        await chat.complete(ask(), call())
    (attempt,) = caught.value.attempts
    assert (attempt.usage, attempt.cost_usd) == (USAGE, 2.0)


async def test_an_error_while_reading_is_reported_and_paid_for() -> None:
    """Attempts, tokens and cost are kept, and the operator learns of it."""

    words = "the judge's own"

    def broken(_: Completion) -> str:
        raise KeyError(words)

    chat, sink = retried(ScriptedModel(answer("yes")))
    with pytest.raises(errors.ReadingFailed) as caught:
        await chat.complete(ask(read=broken), call())
    (attempt,) = caught.value.attempts
    assert (attempt.outcome, attempt.usage, attempt.cost_usd) == ("internal_error", USAGE, 2.0)
    assert caught.value.reason == "check_error"
    (fault,) = sink.of(InternalFault)
    assert (fault.where, fault.error_type) == ("reading", "KeyError")
    assert words not in repr(fault) + caught.value.message


async def test_second_unreadable_answer_is_final() -> None:
    """A judge that does not heed the advice is not asked a third time."""
    model = ScriptedModel(answer("no JSON here"))
    chat, _ = retried(model)
    with pytest.raises(errors.AnswerUnreadable) as caught:
        await chat.complete(ask(read=refuses_once()), call())
    assert model.calls == 2
    assert outcomes(caught.value.attempts) == ["answer_unreadable"] * 2
    assert sum(attempt.cost_usd for attempt in caught.value.attempts) == 4.0


async def test_long_unreadable_answer_is_cut_in_the_repair() -> None:
    """A runaway answer is not sent back whole."""
    text = "x" * (REPAIR_ANSWER_CHARS_MAX + 1)
    model = ScriptedModel(answer(text), answer("fine"))
    chat, _ = retried(model)
    await chat.complete(ask(read=refuses_once(text)), call())
    assert model.prompts[1].turns[1].size == REPAIR_ANSWER_CHARS_MAX


async def test_provider_down_is_asked_once_more() -> None:
    """A provider that is down gets one second chance, and no third."""
    model = ScriptedModel(errors.ProviderDown("503"))
    chat, _ = retried(model)
    with pytest.raises(errors.ProviderDown) as caught:
        await chat.complete(ask(), call())
    assert outcomes(caught.value.attempts) == ["provider_down"] * 2


async def test_a_wait_that_a_server_error_names_is_not_waited_for_past_another() -> None:
    """A 503 may name a wait as well: only the jitter of a retry is spent on it."""
    model = ScriptedModel(errors.ServerError("503", retry_after_s=2.0))
    chat, _ = retried(model)
    with pytest.raises(errors.ServerError):
        await chat.complete(ask(), call(9.0, other_in_s=1.0))
    assert model.calls == 1


async def test_a_rate_limited_model_is_asked_twice_at_the_most() -> None:
    """A wait that the provider does not keep to is no reason to wait for ever."""
    model = ScriptedModel(errors.RateLimited("429", retry_after_s=0.0))
    chat, _ = retried(model)
    with pytest.raises(errors.RateLimited):
        await chat.complete(ask(), call(9.0, attempts_left=9))
    assert model.calls == 2


async def test_each_attempt_says_what_went_wrong() -> None:
    """In the caller's record with the provider's words, in events without what it may quote."""
    unreadable = answer("no JSON here")
    chat, sink = retried(ScriptedModel(errors.TlsFailed("acme: TLS: expired"), unreadable))
    with pytest.raises(errors.AnswerUnreadable) as caught:
        await chat.complete(ask(read=refuses_once()), call())
    said = [attempt.message for attempt in caught.value.attempts]
    assert said == ["acme: TLS: expired", "The answer is not JSON.", "The answer is not JSON."]
    assert [(event.error, event.message) for event in sink.of(AttemptFinished)] == [
        ("TlsFailed", "acme: TLS: expired"),
        ("AnswerUnreadable", ""),
        ("AnswerUnreadable", ""),
    ]


async def test_rate_limited_model_is_asked_after_its_wait() -> None:
    """A wait that the provider names, and that fits the deadline, is kept to."""
    clock = FakeClock()
    model = ScriptedModel(errors.RateLimited("429", retry_after_s=3.0), answer())
    chat, _ = retried(model, clock=clock)
    waiting = asyncio.create_task(chat.complete(ask(), call(5.0)))
    await clock.advance(2.9)
    assert model.calls == 1
    await clock.advance(0.2)
    completion = await waiting
    assert outcomes(completion.attempts) == ["rate_limited", "ok"]


@pytest.mark.parametrize(
    ("retry_after_s", "other_in_s", "deadline_s"),
    [(None, 9.0, 9.0), (2.0, 1.0, 9.0), (2.0, 9.0, 1.0)],
    ids=["no wait named", "longer than another takes", "longer than the deadline"],
)
async def test_rate_limit_not_worth_waiting_for_is_passed_on(
    retry_after_s: float | None, other_in_s: float, deadline_s: float
) -> None:
    """Nobody waits without knowing for what, past a quicker candidate, or in order to fail."""
    model = ScriptedModel(errors.RateLimited("429", retry_after_s=retry_after_s))
    chat, _ = retried(model)
    with pytest.raises(errors.RateLimited):
        await chat.complete(ask(), call(deadline_s, other_in_s=other_in_s))
    assert model.calls == 1


@pytest.mark.parametrize(
    "error",
    errors.error_classes(),
    ids=lambda kind: kind.__name__,
)
async def test_error_tree_alone_decides_what_is_repeated(error: type[ModelError]) -> None:
    """Each failure takes one call, or two where its class allows a second."""
    model = ScriptedModel(error("x") if error is not errors.NoCandidate else error([]))
    chat, _ = retried(model)
    with pytest.raises(error) as caught:
        await chat.complete(ask(), call())
    assert model.calls == (2 if error.retry in {"once", "repair"} else 1)
    assert len(caught.value.attempts) == model.calls


@pytest.mark.parametrize("error", [errors.BreakerOpen, errors.QuotaExhausted])
async def test_passed_over_candidate_leaves_a_mark_without_latency(
    error: type[ModelError],
) -> None:
    """A refusal by our own breaker or quota is listed, as a call that took no time."""
    chat, _ = retried(ScriptedModel(error("not now")))
    with pytest.raises(error) as caught:
        await chat.complete(ask(), call())
    (attempt,) = caught.value.attempts
    assert attempt.outcome in UNSENT_OUTCOMES
    assert attempt.latency_ms == 0.0


async def test_no_retry_without_budget() -> None:
    """With the process's retry budget spent, a failure is final at once."""
    model = ScriptedModel(errors.ProviderDown("503"))
    chat, _ = retried(model, NONE_LEFT)
    with pytest.raises(errors.ProviderDown):
        await chat.complete(ask(), call())
    assert model.calls == 1


async def test_no_attempt_after_the_deadline() -> None:
    """A call whose time is over reaches no provider."""
    model = ScriptedModel()
    chat, _ = retried(model)
    with pytest.raises(errors.DeadlineExceeded):
        await chat.complete(ask(), call(-0.001))
    assert model.calls == 0


async def test_cancelled_call_is_noted_as_cancelled() -> None:
    """A caller that goes away is neither a success nor a failure of the model."""
    model = ScriptedModel(30.0)
    chat, sink = retried(model)
    task = asyncio.create_task(chat.complete(ask(), call()))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert model.cancelled == 1
    assert outcomes(sink.of(AttemptFinished)) == ["cancelled"]


STEPS = st.sampled_from(
    [
        errors.ProviderDown("503"),
        errors.RateLimited("429", retry_after_s=0.0),
        errors.ProviderSilent("silent"),
        answer("no JSON here"),
        answer("fine"),
    ]
)


@settings(max_examples=50, deadline=None)
@given(script=st.lists(STEPS, min_size=1, max_size=6), left=st.integers(0, 1 + EXTRA_ATTEMPTS))
def test_attempts_never_exceed_what_is_left(
    script: list[Completion | ModelError], left: int
) -> None:
    """Over any course of failures: calls ≤ attempts left, and every call is accounted for."""
    model = ScriptedModel(*script)
    chat, sink = retried(model)

    async def run() -> tuple[Completion | ModelError, int]:
        try:
            done = await chat.complete(ask(read=refuses_once()), call(attempts_left=left))
        except ModelError as error:
            return error, len(error.attempts)
        return done, len(done.attempts)

    _, noted = asyncio.run(run())
    assert model.calls <= left
    assert noted == model.calls == len(sink.of(AttemptFinished))
    cost_usd = sum(event.cost_usd for event in sink.of(AttemptFinished))
    answered = [step for step in script[: model.calls] if isinstance(step, Completion)]
    assert cost_usd >= 2.0 * len(answered)


@settings(max_examples=50, deadline=None)
@given(requests=st.lists(st.floats(0.0, 0.2), min_size=1, max_size=400))
def test_retries_stay_within_share_and_trickle(requests: list[float]) -> None:
    """However calls fall in time: retries ≤ 10 % of the window's requests + 1 a second."""
    now = [0.0]
    budget = RetryBudget(retry_budget_policy(), lambda: now[0])
    made: list[tuple[float, bool]] = []
    for gap_s in requests:
        now[0] += gap_s
        budget.note_request()
        made.append((now[0], budget.spend()))
        recent = [granted for at_s, granted in made if at_s > now[0] - WINDOW_S]
        assert sum(recent) <= 0.1 * (len(recent) + 20) + WINDOW_S
    assert made[0][1]


def cut_below(limit_tokens: int):
    """A reader that finds an answer cut; the script says how long each was."""

    def read(completion: Completion) -> str:
        if completion.finish == "length":
            raise errors.AnswerTruncated(f"The answer was cut at {limit_tokens}.")
        return completion.text

    return read


@pytest.mark.parametrize(("model_max", "second"), [(8_192, 4_096), (3_000, 3_000)])
async def test_a_cut_answer_gets_twice_the_room_once(model_max: int, second: int) -> None:
    """Within the model's own limit; both answers are paid for."""
    model = ScriptedModel(answer("", finish="length"), answer("fine"))
    sink = RecordedEvents()
    roomy = replace(MODEL, max_output_tokens=model_max)
    chat = Retried(model, roomy, PLENTY, RetryBudget(PLENTY), sink)
    completion = await chat.complete(ask(read=cut_below(2_048)), call())
    assert outcomes(completion.attempts) == ["answer_truncated", "ok"]
    assert [prompt.sampling.max_output_tokens for prompt in model.prompts] == [2_048, second]


@pytest.mark.parametrize("model_max", [2_048, 8_192])
async def test_an_answer_that_is_cut_again_is_given_up(model_max: int) -> None:
    """And at once where the model writes no longer ones."""
    model = ScriptedModel(answer("", finish="length"))
    roomy = replace(MODEL, max_output_tokens=model_max)
    chat = Retried(model, roomy, PLENTY, RetryBudget(PLENTY), RecordedEvents())
    with pytest.raises(errors.AnswerTruncated):
        await chat.complete(ask(read=cut_below(2_048)), call())
    assert model.calls == (1 if model_max == 2_048 else 2)
