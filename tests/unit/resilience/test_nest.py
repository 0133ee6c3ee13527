"""The layers around one model, put together as the service has them."""

from __future__ import annotations

import asyncio

import pytest

from assay.domain.completion import Completion
from assay.domain.errors import AnswerUnreadable, BreakerOpen, ProviderDown, ProviderSilent
from assay.domain.events import AttemptFinished, BreakerChanged
from assay.domain.policy import BreakerPolicy
from assay.domain.ports import ChatModel
from assay.resilience.breaker.breaker import Breaker
from assay.resilience.coalesced import Coalesced
from assay.resilience.guarded import Guarded
from assay.resilience.retried import Retried
from assay.resilience.retry_budget import RetryBudget
from assay.resilience.slotted import Slotted
from fakes.calls import call
from fakes.models import MODEL, GatedModel, ScriptedModel, answer, ask, outcomes
from fakes.policies import breaker_policy, retry_budget_policy
from fakes.queues import ROOMY
from fakes.recorded_events import RecordedEvents

RETRY = retry_budget_policy(budget_per_s=100.0, backoff_s=0.0)


class Nest:
    """Coalesced(Retried(Guarded(Slotted(model))))."""

    def __init__(self, model: ChatModel, breaker: BreakerPolicy, slots: int = 2) -> None:
        self.sink = RecordedEvents()
        self.breaker = Breaker(MODEL.id, breaker, self.sink)
        self.slotted = Slotted(model, MODEL, self.sink, slots, ROOMY)
        guarded = Guarded(self.slotted, MODEL, self.breaker, self.sink)
        retried = Retried(guarded, MODEL, RETRY, RetryBudget(RETRY), self.sink)
        self.chat = Coalesced(retried)

    async def call(self, **fields: object) -> Completion:
        return await self.chat.complete(ask(**fields), call(20.0))


async def test_breaker_sees_every_attempt_and_ends_the_retry() -> None:
    """A retry of a call that tripped the breaker is held back, and both are listed."""
    nest = Nest(ScriptedModel(ProviderDown("503")), breaker_policy(calls_min=1))
    with pytest.raises(BreakerOpen) as caught:
        await nest.call()
    assert outcomes(caught.value.attempts) == ["provider_down", "breaker_open"]
    assert outcomes(nest.sink.of(AttemptFinished)) == ["provider_down", "breaker_open"]


async def test_silent_provider_costs_its_callers_nothing_once_known() -> None:
    """After twenty silent calls the others are refused without being sent."""
    model = ScriptedModel(ProviderSilent("no byte in 5 s"))
    nest = Nest(model, breaker_policy(), slots=50)
    failures = await asyncio.gather(*(nest.call() for _ in range(20)), return_exceptions=True)
    assert all(isinstance(failure, ProviderSilent) for failure in failures)
    for _ in range(50):
        with pytest.raises(BreakerOpen):
            await nest.call()
    assert model.calls == 20
    assert [change.to_state for change in nest.sink.of(BreakerChanged)] == ["open"]


async def test_caller_who_goes_away_is_gone_from_every_layer() -> None:
    """Cancelled with one call at the provider and one in the queue: nothing is left behind."""
    model = GatedModel()
    nest = Nest(model, breaker_policy(), slots=1)
    calls = [asyncio.create_task(nest.call(key=(number,))) for number in range(2)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert (model.in_flight, nest.slotted.queue.depth) == (1, 1)
    for task in calls:
        task.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    for _ in range(10):
        await asyncio.sleep(0)
    assert (model.in_flight, nest.slotted.utilization) == (0, 0.0)
    assert outcomes(nest.sink.of(AttemptFinished)) == ["cancelled", "cancelled"]


async def test_bill_of_a_repaired_verdict_is_complete() -> None:
    """Asked twice by three callers at once: two calls, each paid for once."""

    def read(completion: Completion) -> str:
        if completion.text == "prose":
            raise AnswerUnreadable("not JSON")
        return completion.text

    model = ScriptedModel(answer("prose"), answer("fine"))
    nest = Nest(model, breaker_policy())
    done = await asyncio.gather(*(nest.call(key=("q",), read=read) for _ in range(3)))
    assert model.calls == 2
    assert sum(attempt.cost_usd for completion in done for attempt in completion.attempts) == 4.0
