"""Coalescing: one upstream call for all callers that ask the same at the same time."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace

import pytest

from assay.domain.completion import (
    NO_USAGE,
    Attempt,
    CallContext,
    Caller,
    Completion,
    Prompt,
)
from assay.domain.errors import DeadlineExceeded, ModelError, NoCandidate, ProviderDown
from assay.domain.sampling import Sampling
from assay.resilience.coalesced import Coalesced
from fakes.calls import ANYONE, call
from fakes.models import GatedModel, ScriptedModel, answer, ask

QUESTION = ask(key=("v1", "criterion", "content"))
ATTEMPT = Attempt("fake", "fake/judge", "ok", 10.0, cost_usd=2.0)


def start(
    chat: Coalesced,
    prompt: Prompt = QUESTION,
    deadline_s: float = 20.0,
    caller: Caller = ANYONE,
) -> asyncio.Task[Completion]:
    return asyncio.create_task(chat.complete(prompt, call(deadline_s, caller)))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_equal_questions_share_a_call_that_is_paid_for_once() -> None:
    """Ten callers, one upstream call: one of the ten pays, the others get the answer."""
    model = GatedModel(lambda _: answer(cost_usd=2.0, attempts=(ATTEMPT,), reading="R"))
    chat = Coalesced(model)
    tasks = [start(chat) for _ in range(10)]
    await settle()
    model.gate.set()
    completions = await asyncio.gather(*tasks)
    assert len(model.prompts) == 1
    assert {completion.reading for completion in completions} == {"R"}
    paid, *free = sorted(completions, key=lambda each: each.cached)
    assert (paid.cost_usd, paid.attempts) == (2.0, (ATTEMPT,))
    assert {
        (completion.cost_usd, completion.usage, completion.attempts) for completion in free
    } == {(0.0, NO_USAGE, ())}
    assert all(completion.cached for completion in free)


async def test_long_questions_are_told_apart_by_all_of_their_text() -> None:
    """Texts of one length and with the same ends are the same only where their middles are."""
    model = GatedModel(lambda _: answer())
    chat = Coalesced(model)
    ends = "x" * 5_000
    texts = [ends + middle + ends for middle in ("one", "two", "one")]
    tasks = [start(chat, replace(QUESTION, key=("v1", text))) for text in texts]
    await settle()
    model.gate.set()
    await asyncio.gather(*tasks)
    assert [prompt.key for prompt in model.prompts] == [("v1", texts[0]), ("v1", texts[1])]


@pytest.mark.parametrize(
    ("other", "caller"),
    [
        (QUESTION, Caller("another tenant")),
        (QUESTION, Caller(priority="batch")),
        (replace(QUESTION, sampling=Sampling(temperature=1.0)), ANYONE),
        (replace(QUESTION, key=("v1", "criterion", "other content")), ANYONE),
        (replace(QUESTION, key=None), ANYONE),
    ],
    ids=["tenant", "priority", "sampling", "question", "not to be shared"],
)
async def test_different_questions_are_asked_each(other: Prompt, caller: Caller) -> None:
    """Nothing is shared across tenants, priorities, samplings or questions."""
    model = GatedModel()
    chat = Coalesced(model)
    tasks = [start(chat), *(start(chat, other, caller=caller) for _ in range(2))]
    await settle()
    assert model.in_flight == (3 if other.key is None else 2)
    model.gate.set()
    await asyncio.gather(*tasks)


async def test_shared_call_ends_with_its_last_waiter() -> None:
    """The call goes on while anyone still waits, and is cancelled when no one does."""
    model = GatedModel()
    chat = Coalesced(model)
    first, second = start(chat), start(chat)
    await settle()
    first.cancel()
    await settle()
    assert model.in_flight == 1
    second.cancel()
    await settle()
    assert (model.in_flight, model.cancelled) == (0, 1)
    model.gate.set()
    assert not (await start(chat)).cached


async def test_bill_goes_to_one_who_stayed() -> None:
    """Where the caller that began the call has gone, the next one pays."""
    model = GatedModel(lambda _: answer(cost_usd=2.0))
    chat = Coalesced(model)
    first, second = start(chat), start(chat)
    await settle()
    first.cancel()
    model.gate.set()
    assert (await second).cost_usd == 2.0


async def test_shorter_deadline_ends_one_wait_only() -> None:
    """One runs out of time; the other still has its answer."""
    model = GatedModel()
    chat = Coalesced(model)
    patient, hasty = start(chat), start(chat, deadline_s=0.02)
    with pytest.raises(DeadlineExceeded):
        await hasty
    model.gate.set()
    assert (await patient).text == "yes"


async def test_longer_deadline_outlives_a_hasty_beginner() -> None:
    """A call that failed because its first caller ran out of time is sent again for the others."""
    model = ScriptedModel(0.02, answer())

    class Hasty:
        async def complete(self, prompt: Prompt, context: CallContext) -> Completion:
            if context.deadline.remaining_s() < 1.0:
                await asyncio.sleep(0.02)
                raise DeadlineExceeded("too late")
            return await model.complete(prompt, context)

    chat = Coalesced(Hasty())
    hasty = start(chat, deadline_s=0.5)
    await settle()
    patient = [start(chat) for _ in range(5)]
    with pytest.raises(DeadlineExceeded):
        await hasty
    assert [completion.text for completion in await asyncio.gather(*patient)] == ["yes"] * 5
    assert model.calls == 1


@pytest.mark.parametrize("nested", [False, True])
async def test_failure_is_shared_and_its_attempts_are_not(*, nested: bool) -> None:
    """All learn of the failure; its attempts, and what they cost, are listed for one."""
    failure: ModelError = ProviderDown("503", retry_after_s=7.0, attempts=[ATTEMPT])
    chat = Coalesced(ScriptedModel(NoCandidate([failure]) if nested else failure))
    outcomes = await asyncio.gather(*(start(chat) for _ in range(4)), return_exceptions=True)
    failures = [outcome for outcome in outcomes if isinstance(outcome, ModelError)]
    assert sorted(len(failure.attempts) for failure in failures) == [0, 0, 0, 1]
    assert {(failure.message, failure.outcome, failure.retry_after_s) for failure in failures} == {
        ("503", "provider_down", 7.0)
    }


async def test_failure_without_waiters_is_silent() -> None:
    """A call cancelled with its last waiter leaves no warning about an unseen error behind."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))

    class Stubborn:
        async def complete(self, prompt: Prompt, context: CallContext) -> Completion:
            try:
                await asyncio.sleep(30.0)
            finally:
                raise ProviderDown("cut off")

    task = start(Coalesced(Stubborn()))
    await settle()
    task.cancel()
    await settle()
    gc.collect()
    assert complaints == []
