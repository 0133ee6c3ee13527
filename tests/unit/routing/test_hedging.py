"""Hedging: a call that is late gets a rival, and the first verdict counts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from assay.domain.completion import Attempt, CallContext, Completion, Prompt, Usage
from assay.domain.errors import (
    AnswerRefused,
    AnswerTruncated,
    AnswerUnreadable,
    CostCapReached,
    ModelError,
    NoCandidate,
    Overloaded,
    ProviderDown,
    QuotaExhausted,
)
from assay.domain.evaluation import JudgeSpec, OnRefusal
from assay.domain.events import AttemptFinished, HedgeFinished
from assay.domain.hedging import HedgedCall
from assay.domain.models import Model
from assay.domain.ports import ChatModel, Estimator
from assay.resilience.coalesced import Coalesced
from assay.resilience.queue.fair_order import QueueLimits
from assay.resilience.retried import Retried
from assay.resilience.retry_budget import RetryBudget
from assay.resilience.slotted import Slotted
from assay.routing.candidates import Candidate
from assay.routing.hedge_times import ANSWERS_MIN, HedgeTimes
from assay.routing.judges import ConfiguredJudge, ConfiguredJudges
from assay.routing.router import Router
from assay.routing.strategies import ordered
from fakes.calls import call
from fakes.clock import FakeClock, settled
from fakes.models import answer, ask, outcomes
from fakes.policies import retry_budget_policy
from fakes.recorded_events import RecordedEvents

USUAL_S = 1.0
ESTIMATED = Usage(70, 7)
CLOSING_ROUNDS = 5
"""Turns of the event loop that a provider's connection takes to close."""
PLENTY = retry_budget_policy(budget_per_s=100.0, backoff_s=0.0)


Step = float | asyncio.Event | tuple[float, Exception]


class Provider:
    """Takes the seconds of each step, and then answers with its name or raises the step's error.

    A step is seconds (or an event to wait for), and an error after them; the last one repeats.
    """

    def __init__(self, name: str, clock: FakeClock, *steps: Step):
        self.name, self._clock, self._steps = name, clock, list(steps)
        self.prompts: list[Prompt] = []
        self.contexts: list[CallContext] = []
        self.cancelled = 0

    @property
    def calls(self) -> int:
        return len(self.prompts)

    async def complete(self, prompt: Prompt, context: CallContext) -> Completion:
        self.prompts.append(prompt)
        self.contexts.append(context)
        step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        seconds, error = step if isinstance(step, tuple) else (step, None)
        try:
            if isinstance(seconds, asyncio.Event):
                await seconds.wait()
            else:
                await self._clock.sleep(seconds)
        except asyncio.CancelledError:
            for _ in range(CLOSING_ROUNDS):
                await asyncio.sleep(0)
            self.cancelled += 1
            raise
        if error is not None:
            raise error
        return answer(self.name, model=self.name, provider="p")


class Delayed:
    """Lets some time pass before a call reaches its slot."""

    def __init__(self, inner: ChatModel, clock: FakeClock, seconds: float) -> None:
        self._inner, self._clock, self._seconds = inner, clock, seconds

    async def complete(self, prompt: Prompt, context: CallContext) -> Completion:
        await self._clock.sleep(self._seconds)
        return await self._inner.complete(prompt, context)


@dataclass
class House:
    """Candidates in their layers on one fake clock, and the router over them."""

    clock: FakeClock = field(default_factory=FakeClock)
    events: RecordedEvents = field(default_factory=RecordedEvents)
    hedges: int = 100
    slots: int = 4
    on_refusal: OnRefusal = "next"
    known: int = ANSWERS_MIN
    candidates: list[Candidate] = field(default_factory=list)

    def add(self, name: str, *steps: Step, delay_s: float = 0.0, **fields) -> Provider:
        """A model whose usual answer takes `USUAL_S`."""
        provider = Provider(name, self.clock, *steps)
        model = Model(name, "p", name, output_usd_per_mtok=1_000_000.0, input_usd_per_mtok=0.0)
        slotted = Slotted(provider, model, self.events, self.slots, QueueLimits(100, 1_000_000))
        inner = Delayed(slotted, self.clock, delay_s) if delay_s else slotted
        retried = Retried(inner, model, PLENTY, RetryBudget(PLENTY), self.events, clock=self.clock)
        chat = Coalesced(retried)
        estimator = Estimator(model, tokens=lambda _: ESTIMATED)
        candidate = Candidate(model, chat, estimator=estimator, **fields)
        for _ in range(self.known):
            candidate.hedge_times.add(answered(USUAL_S))
        self.candidates.append(candidate)
        return provider

    def router(self) -> Router:
        return Router(
            self.candidates, ordered, self.events, self.on_refusal, self._may_hedge, self.clock
        )

    def judge(
        self, prompt: Prompt | None = None, context: CallContext | None = None
    ) -> asyncio.Task[Completion]:
        return asyncio.create_task(
            self.router().complete(prompt or ask(key=("q",)), context or call(600.0))
        )

    async def judged(self, seconds: float = 100.0, prompt: Prompt | None = None) -> Completion:
        task = self.judge(prompt)
        await self.clock.advance(seconds)
        assert task.done()
        return await task

    def won(self) -> list[tuple[str, str]]:
        return [(event.model, event.outcome) for event in self.events.of(HedgeFinished)]

    def _may_hedge(self) -> bool:
        self.hedges -= 1
        return self.hedges >= 0


def answered(seconds: float) -> HedgedCall:
    hedged = HedgedCall(lambda: ESTIMATED)
    hedged.took_s = seconds
    return hedged


def seen(completion: Completion) -> list[tuple[str, str]]:
    return [(attempt.model, attempt.outcome) for attempt in completion.attempts]


async def test_a_late_call_is_sent_to_the_next_model_and_the_first_verdict_counts() -> None:
    """The late call is cancelled, and stands in the attempts with what it is expected to cost."""
    house = House()
    late, other = house.add("a", 10.0), house.add("b", 0.5)
    task = house.judge()
    await house.clock.advance(USUAL_S - 0.01)
    assert other.calls == 0
    await house.clock.advance(0.6)
    completion = await task
    assert seen(completion) == [("a", "superseded"), ("b", "ok")]
    assert completion.model == "b"
    assert (late.calls, late.cancelled, other.calls) == (1, 1, 1)
    superseded = completion.attempts[0]
    assert superseded.usage == ESTIMATED
    assert superseded.cost_usd == 7.0
    assert superseded.message
    assert house.won() == [("a", "won")]
    finished = house.events.of(AttemptFinished)
    assert [(one.outcome, one.cost_usd) for one in finished] == [("ok", 1.0), ("superseded", 7.0)]


async def test_a_call_within_its_usual_time_is_not_hedged() -> None:
    """Nothing more is sent than without hedging."""
    house = House()
    house.add("a", USUAL_S - 0.01)
    other = house.add("b", 0.5)
    assert seen(await house.judged()) == [("a", "ok")]
    assert other.calls == 0
    assert house.won() == []
    assert house.hedges == 100


async def test_the_first_model_may_still_answer_first() -> None:
    """Then the hedge is the one that is cancelled and paid for."""
    house = House()
    house.add("a", 1.2)
    other = house.add("b", 5.0)
    assert seen(await house.judged()) == [("b", "superseded"), ("a", "ok")]
    assert other.cancelled == 1
    assert house.won() == [("a", "lost")]


async def test_a_hedge_that_was_not_sent_yet_is_not_shown() -> None:
    """It took nothing, and won or lost nothing."""
    house = House()
    house.add("a", 2.0)
    other = house.add("b", 0.1, delay_s=5.0)
    assert seen(await house.judged()) == [("a", "ok")]
    assert other.calls == 0
    assert house.won() == []


async def test_two_answers_at_once_are_both_paid_for() -> None:
    """The answer that is not used has its usage as the provider counted it."""
    house = House()
    both = asyncio.Event()
    house.add("a", both)
    house.add("b", both)
    task = house.judge()
    await house.clock.advance(2.0)
    both.set()
    completion = await task
    assert seen(completion) == [("b", "ok"), ("a", "ok")]
    assert house.won() == [("a", "lost")]


async def test_few_answers_say_nothing_about_the_slowest() -> None:
    """Until enough answers are known, no call is late; each answer is learned from."""
    house = House(known=ANSWERS_MIN - 1)
    house.add("a", 50.0)
    other = house.add("b", 0.5)
    assert seen(await house.judged()) == [("a", "ok")]
    assert other.calls == 0
    assert house.candidates[0].hedge_times.late_after_s == USUAL_S


async def test_no_hedge_beyond_the_retry_budget() -> None:
    """A provider in trouble makes every call late, and is not sent twice as many for it."""
    house = House(hedges=0)
    house.add("a", 10.0)
    other = house.add("b", 0.5)
    assert seen(await house.judged()) == [("a", "ok")]
    assert other.calls == 0


async def test_the_time_in_our_own_queue_makes_no_call_late() -> None:
    """Only while the provider owes an answer does the time run."""
    house = House(slots=1)
    first = house.add("a", 0.9)
    other = house.add("b", 0.5)
    tasks = [house.judge(ask(key=(number,))) for number in range(5)]
    await house.clock.advance(5 * 0.9)
    assert [seen(await task) for task in tasks] == [[("a", "ok")]] * 5
    assert (first.calls, other.calls) == (5, 0)


async def test_a_hedge_is_not_sent_where_it_would_wait_for_a_slot() -> None:
    """The first call goes on, and no attempt is shown for what was not sent."""
    house = House(slots=1)
    house.add("a", 3.0)
    other = house.add("b", 1.5, 0.1)
    busy = asyncio.create_task(house.candidates[1].chat.complete(ask("other"), call(600.0)))
    await settled()
    assert seen(await house.judged(3.0)) == [("a", "ok")]
    assert (other.calls, busy.done()) == (1, True)
    assert house.won() == []


@pytest.mark.parametrize("refusal", [QuotaExhausted, CostCapReached, Overloaded])
async def test_a_hedge_that_is_refused_unsent_leaves_the_first_call_alone(refusal) -> None:
    """Quota or a cost cap may be short: the model can still be the fallback afterwards."""
    house = House()
    house.add("a", (3.0, ProviderDown("down")), (0.1, ProviderDown("down")))
    house.add("b", 0.5)
    asked: list[bool] = []

    class Refusing:
        def __init__(self, inner) -> None:
            self._inner = inner

        async def complete(self, prompt: Prompt, context: CallContext) -> Completion:
            asked.append(context.hedged.may_wait)
            if not context.hedged.may_wait:
                raise refusal("no", attempts=[Attempt("p", "b", refusal.outcome, 0.0)])
            return await self._inner.complete(prompt, context)

    house.candidates[1] = replace(house.candidates[1], chat=Refusing(house.candidates[1].chat))
    completion = await house.judged()
    assert seen(completion) == [("a", "provider_down"), ("a", "provider_down"), ("b", "ok")]
    assert asked == [False, True]
    assert house.won() == []


async def test_a_model_that_would_have_to_wait_is_passed_over() -> None:
    """The hedge goes to the next one that can serve at once."""
    house = House()
    house.add("a", 10.0)
    waits = house.add("b", 0.1, wait_s=lambda: 2.0)
    opened = house.add("c", 0.1, open_for_s=lambda: 2.0)
    house.add("d", 0.5)
    assert seen(await house.judged()) == [("a", "superseded"), ("d", "ok")]
    assert waits.calls == opened.calls == 0


async def test_a_model_alone_is_hedged_with_itself_on_a_second_connection() -> None:
    """The question is sent again, and shares neither the late call nor a stored answer."""
    house = House()
    provider = house.add("a", 10.0, 0.5)
    completion = await house.judged()
    assert seen(completion) == [("a", "superseded"), ("a", "ok")]
    assert [prompt.key for prompt in provider.prompts] == [("q",), None]
    assert house.won() == [("a", "won")]


async def test_the_hedge_is_the_fallback_of_a_call_that_fails_meanwhile() -> None:
    """No third call is sent: neither to the same model again nor to the next."""
    house = House()
    first = house.add("a", (1.5, ProviderDown("down")))
    house.add("b", 5.0)
    third = house.add("c", 0.1)
    assert seen(await house.judged()) == [("a", "provider_down"), ("b", "ok")]
    assert (first.calls, third.calls) == (1, 0)
    assert house.won() == [("a", "won")]


async def test_a_hedge_that_fails_leaves_the_first_call_with_its_repetitions() -> None:
    """As if it had been the first to fail of several candidates."""
    house = House()
    first = house.add("a", (5.0, ProviderDown("down")), 0.2)
    second = house.add("b", (0.5, ProviderDown("down")))
    assert seen(await house.judged()) == [
        ("b", "provider_down"),
        ("a", "provider_down"),
        ("a", "ok"),
    ]
    assert (first.calls, second.calls) == (2, 1)
    assert house.won() == [("a", "failed")]


async def test_where_both_fail_the_next_model_is_asked() -> None:
    """Every attempt is shown, in order."""
    house = House()
    house.add("a", (5.0, AnswerRefused("no")))
    house.add("b", (0.5, AnswerRefused("no")))
    house.add("c", 0.5)
    completion = await house.judged()
    assert seen(completion) == [("b", "answer_refused"), ("a", "answer_refused"), ("c", "ok")]


@pytest.mark.parametrize("failure", [AnswerRefused, AnswerTruncated, AnswerUnreadable])
async def test_what_is_no_verdict_does_not_win(failure: type[ModelError]) -> None:
    """A refused, cut or unreadable answer of the hedge leaves the first call to answer."""
    house = House()
    house.add("a", 3.0)
    house.add("b", (0.5, failure("no")))
    assert seen(await house.judged()) == [("b", failure.outcome), ("a", "ok")]


@pytest.mark.parametrize("failure", [ProviderDown, AnswerUnreadable])
async def test_a_hedge_that_is_left_alone_has_its_repetitions(failure: type[ModelError]) -> None:
    """It is an ordinary fallback from then on: its answer is asked for once more."""
    house = House()
    first = house.add("a", (1.2, failure("no")))
    second = house.add("b", (2.0, failure("no")), 0.1)
    assert seen(await house.judged()) == [
        ("a", failure.outcome),
        ("b", failure.outcome),
        ("b", "ok"),
    ]
    assert (first.calls, second.calls) == (1, 2)


async def test_a_refusal_that_ends_the_call_ends_the_hedge() -> None:
    """With on_refusal = stop no other model may judge; what the hedge took is shown."""
    house = House(on_refusal="stop")
    house.add("a", (1.5, AnswerRefused("no")))
    second = house.add("b", 5.0)
    task = house.judge()
    await house.clock.advance(1.6)
    with pytest.raises(NoCandidate) as raised:
        await task
    assert [(one.model, one.outcome) for one in raised.value.attempts] == [
        ("a", "answer_refused"),
        ("b", "superseded"),
    ]
    assert raised.value.reason == "judge_refused"
    assert second.cancelled == 1
    assert house.won() == [("a", "lost")]


async def test_the_calls_for_one_verdict_stay_bounded() -> None:
    """Two calls more than there are candidates, hedged or not."""
    house = House()
    down = ProviderDown("down")
    first = house.add("a", (0.5, down), (3.0, down))
    second = house.add("b", (2.0, down), (0.1, down))
    third = house.add("c", (0.1, down))
    task = house.judge()
    await house.clock.advance(100.0)
    with pytest.raises(NoCandidate):
        await task
    assert first.calls + second.calls + third.calls == 3 + 2
    assert [provider.contexts[0].attempts_left for provider in (first, second, third)] == [3, 2, 1]


async def test_a_caller_who_leaves_cancels_both_calls() -> None:
    """No task is left behind, and the cancellation goes on to the caller."""
    house = House()
    first, second = house.add("a", 10.0), house.add("b", 10.0)
    before = asyncio.all_tasks()
    task = house.judge()
    await house.clock.advance(2.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (first.cancelled, second.cancelled) == (1, 1)
    assert asyncio.all_tasks() == before
    assert outcomes(house.events.of(AttemptFinished)) == ["cancelled", "cancelled"]


async def test_no_task_outlives_a_verdict() -> None:
    """Neither the cancelled call nor the timer that made it late."""
    house = House()
    house.add("a", 10.0, 0.1)
    house.add("b", 0.5)
    before = asyncio.all_tasks()
    await house.judged(2.0)
    await house.judged(0.2)
    assert asyncio.all_tasks() == before
    assert house.clock.sleeping == 0


async def test_a_call_that_others_share_goes_on_and_is_theirs() -> None:
    """A caller whose hedge has won leaves the late call to those who wait for it, with its cost."""
    house = House()
    late = house.add("a", (0.1, ProviderDown("down")), 10.0)
    house.add("b", 0.5)
    hedging = house.judge()
    await settled()
    sharing = asyncio.create_task(
        house.candidates[0].chat.complete(
            ask(key=("q",)).for_model(house.candidates[0].model), call(600.0)
        )
    )
    await house.clock.advance(20.0)
    assert seen(await hedging) == [("b", "ok")]
    shared = await sharing
    assert seen(shared) == [("a", "provider_down"), ("a", "ok")]
    assert (late.calls, late.cancelled) == (2, 0)
    assert not shared.cached


async def test_an_unexpected_error_of_a_hedge_is_not_swallowed() -> None:
    """It ends the verdict, as it would from any call, and the first call with it."""
    house = House()
    first = house.add("a", 10.0)
    house.add("b", (0.5, ZeroDivisionError("a bug")))
    task = house.judge()
    await house.clock.advance(3.0)
    with pytest.raises(ZeroDivisionError):
        await task
    assert first.cancelled == 1


async def test_a_hedge_has_the_time_that_is_left_for_it() -> None:
    """The first call leaves time for the candidates behind it; the last has all that is left."""
    house = House()
    first, second = house.add("a", 10.0), house.add("b", 0.5)
    context = call(60.0)
    task = house.judge(context=context)
    await house.clock.advance(5.0)
    await task
    assert first.contexts[0].deadline.at_s < context.deadline.at_s - 4.0
    assert second.contexts[0].deadline == context.deadline


def times(*seconds: float) -> HedgeTimes:
    known = HedgeTimes()
    for value in seconds:
        known.add(answered(value))
    return known


def test_a_call_is_late_after_the_p95() -> None:
    """Of the last answers alone, so that a model that has become slower is followed."""
    known = times(*(value / 100 for value in range(100)))
    assert known.late_after_s == 0.95
    for _ in range(500):
        known.add(answered(3.0))
    assert known.late_after_s == 3.0


def test_hedges_are_not_learned_from() -> None:
    """Only those are answered that were quicker than the call that they hedged."""
    known = times(*[1.0] * ANSWERS_MIN)
    hedge = HedgedCall(lambda: ESTIMATED, rival=answered(1.0))
    hedge.took_s = 0.1
    for _ in range(500):
        known.add(hedge)
    assert known.late_after_s == 1.0


def test_the_members_of_a_panel_are_hedged_each_by_itself() -> None:
    """No other model answers in place of a member, and so none is its hedge."""
    house = House()
    house.add("a", 1.0)
    house.add("b", 1.0)
    panel = ConfiguredJudge(("a", "b"), "panel", hedge=True)
    members = ConfiguredJudges(house.candidates, {"default": panel}, house.events).panel(
        JudgeSpec()
    )
    assert [len(member.chat._candidates) for member in members] == [1, 1]
    assert all(member.chat._may_hedge for member in members)


def test_a_group_of_slow_answers_is_late_although_the_p95_is_one_of_them() -> None:
    """Where 5 % of the answers take ten times as long, chance decides which the p95 is."""
    for slow in (3, 5, 7, 9):
        known = times(*[1.0] * (100 - slow), *[10.0] * slow)
        assert 1.0 <= known.late_after_s <= 1.1


async def test_a_superseded_call_counts_as_a_long_one() -> None:
    """Else the p95 would be that of the quick answers alone, and ever more would be late."""
    house = House(known=0)
    house.add("a", *[number * 37 % 100 / 100 for number in range(600)])
    other = house.add("b", 0.01)
    for _ in range(600):
        await house.judged(2.0)
    assert 20 <= other.calls <= 30


@pytest.mark.parametrize(
    ("configured", "asked", "hedges"),
    [(False, None, False), (False, True, True), (True, None, True), (True, False, False)],
)
def test_a_judge_hedges_where_it_is_told_to(
    configured: bool, asked: bool | None, hedges: bool
) -> None:
    """As the judge is configured, unless the request says otherwise; off by default."""
    house = House()
    house.add("a", 1.0)
    default = ConfiguredJudge(("a",), hedge=configured)
    judges = ConfiguredJudges(house.candidates, {"default": default}, house.events)
    [member] = judges.panel(JudgeSpec(hedge=asked))
    assert (member.chat._may_hedge is not None) == hedges
    plain = ConfiguredJudges(
        house.candidates, {"default": ConfiguredJudge(("a",))}, house.events
    ).panel(JudgeSpec())[0]
    assert (member.fingerprint == plain.fingerprint) == (not hedges)


async def test_without_hedging_no_task_is_made_and_nothing_is_learned() -> None:
    """A request that does not ask for it does no work for it."""
    house = House(known=0)
    provider = house.add("a", 1.0)
    router = Router(house.candidates, ordered, house.events)
    task = asyncio.create_task(router.complete(ask(), call(600.0)))
    await settled()
    assert house.clock.sleeping == 1
    await house.clock.advance(1.0)
    await task
    assert provider.contexts[0].hedged is None
    assert house.candidates[0].hedge_times.late_after_s is None
    assert len(house.candidates[0].hedge_times._answers) == 0
