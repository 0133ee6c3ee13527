"""Calls that wait for a provider's job: put down once, found again, and asked directly at last."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from assay.criteria import parse_criteria
from assay.criteria.base import Judged
from assay.domain.completion import (
    Attempt,
    CallContext,
    Caller,
    Completion,
    Prompt,
    TokenLogprob,
    Usage,
)
from assay.domain.deferral import Deferral
from assay.domain.errors import AnswerPending, AnswerUndelivered, CostCapReached, StoreUnavailable
from assay.domain.evaluation import Case, JudgeSpec
from assay.domain.models import Model
from assay.domain.provider_jobs import CallState, DeferredAnswer, DeferredCall
from assay.judging.prompt import to_prompt
from assay.resilience.postponed import DirectWhereUndelivered, OncePerRow, Postponed
from assay.resilience.token_estimates import TokenEstimates
from fakes.calls import call
from fakes.models import ScriptedModel, answer, ask

MODEL = Model("m", "p", "m", input_usd_per_mtok=10.0, output_usd_per_mtok=100.0)


class Calls:
    """The store, in memory."""

    def __init__(self) -> None:
        self.put_down: dict[str, DeferredCall] = {}
        self.answers: dict[str, DeferredAnswer] = {}
        self.gone = False

    async def find(self, _batch_id: str, key: str) -> DeferredAnswer | None:
        if self.gone:
            raise StoreUnavailable("gone")
        return self.answers.get(key)

    async def put(self, _batch_id: str, call: DeferredCall) -> bool:
        is_new = call.key not in self.put_down
        self.put_down[call.key] = call
        self.answers.setdefault(call.key, DeferredAnswer("waiting"))
        return is_new

    async def keep(self, _batch_id: str, key: str, kept: bytes, _row: str = "") -> None:
        self.answers[key] = DeferredAnswer("asked", kept)

    def end(self, state: CallState) -> None:
        """Let every call that waits end like this."""
        self.answers = {key: DeferredAnswer(state, b"{}") for key in self.answers}


class Api:
    """A batch API whose requests are the texts of prompts."""

    def body(self, prompt: Prompt[Any]) -> bytes:
        return self.question(prompt) + repr(sorted(prompt.refused)).encode()

    def question(self, prompt: Prompt[Any]) -> bytes:
        return "\n".join(turn.text for turn in prompt.turns).encode()

    def read(self, _answer: bytes) -> Completion[Any]:
        return answer("by job")


class Budgets:
    """The tenant's daily budget, with room for so many calls."""

    def __init__(self, room: int = 100) -> None:
        self.room = room
        self.settled: list[tuple[str, str, float]] = []

    async def reserve(self, _tenant: str, _usd: float, _within_s: float) -> str:
        self.room -= 1
        if self.room < 0:
            raise CostCapReached("no more")
        return str(self.room)

    def settle(self, tenant: str, id_: str, usd: float) -> None:
        self.settled.append((tenant, id_, usd))


class Refused:
    """What the API is known to refuse."""

    known: frozenset[str] = frozenset()

    def of(self, _model: Model) -> frozenset[str]:
        return self.known


class Layer:
    """The layer with its fakes, for one row."""

    def __init__(self, room: int = 100) -> None:
        self.calls, self.budgets, self.refused = Calls(), Budgets(room), Refused()
        made: Any = Postponed(
            cast("Any", Api()), MODEL, cast("Any", self.calls), cast("Any", self.budgets),
            TokenEstimates(), cast("Any", self.refused),
        )  # fmt: skip
        self.chat = made
        self.direct = ScriptedModel(answer("directly"))
        self.whole = DirectWhereUndelivered(made, self.direct, cast("Any", self.calls))

    def round(self, row: str = "row", criterion: str = "rubric") -> CallContext:
        """The context of a new round of a row."""
        return _context(Deferral("batch_1", row), criterion)


def _context(deferral: Deferral, criterion: str = "rubric") -> CallContext:
    caller = Caller("one", "batch_1", "batch", deferral=deferral)
    return call(caller=caller, criteria=(criterion,), delimiter_key=b"k" * 32)


async def test_a_call_is_put_down_once_and_its_answer_is_found_by_the_next_round() -> None:
    """However many rounds there are before the answer, the call is one."""
    layer = Layer()
    for _ in range(3):
        context = layer.round()
        with pytest.raises(AnswerPending):
            await layer.chat.complete(ask(), context)
        assert context.caller.deferral is not None
        assert context.caller.deferral.pending == set(layer.calls.put_down)
    assert len(layer.calls.put_down) == 1
    layer.calls.end("answered")
    assert (await layer.chat.complete(ask(), layer.round())).text == "by job"


async def test_what_an_api_refuses_may_become_known_between_two_rounds() -> None:
    """The request leaves it out, and the question is the same all the same."""
    layer = Layer()
    with pytest.raises(AnswerPending):
        await layer.chat.complete(ask(), layer.round())
    layer.refused.known = frozenset({"temperature"})
    layer.calls.end("answered")
    assert (await layer.chat.complete(ask(), layer.round())).text == "by job"
    with pytest.raises(AnswerPending):
        await layer.chat.complete(ask("Another?"), layer.round())
    assert b"temperature" in list(layer.calls.put_down.values())[-1].body


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": ask("Another?")},
        {"prompt": ask(sample=1)},
        {"row": "another"},
        {"criterion": "another"},
    ],
)
async def test_other_calls_have_answers_of_their_own(other: dict[str, Any]) -> None:
    """Another question, sample, row or criterion."""
    layer = Layer()
    for asked in ({}, other):
        prompt = asked.pop("prompt", ask())
        with pytest.raises(AnswerPending):
            await layer.chat.complete(prompt, layer.round(**asked))
    assert len(layer.calls.put_down) == 2


async def test_what_follows_from_a_missing_answer_is_not_sent() -> None:
    """A criterion that asks more because a call had to wait asks in vain; another one may ask."""
    layer, deferral = Layer(), Deferral("batch_1", "row")
    for text, criterion in (("first", "a"), ("for lack of the first", "a"), ("second", "b")):
        with pytest.raises(AnswerPending):
            await layer.chat.complete(ask(text), _context(deferral, criterion))
    assert [call.criteria for call in layer.calls.put_down.values()] == [("a",), ("b",)]


async def test_a_cap_that_is_reached_ends_the_call_before_it_is_put_down() -> None:
    """The second call has no room in the tenant's daily budget."""
    layer = Layer(room=1)
    with pytest.raises(AnswerPending):
        await layer.chat.complete(ask(), layer.round())
    with pytest.raises(CostCapReached):
        await layer.chat.complete(ask("Another?"), layer.round())
    assert len(layer.calls.put_down) == 1


async def test_a_store_that_is_away_makes_the_round_void() -> None:
    """The row has to wait, whatever the other calls say, and nothing is asked directly."""
    layer, context = Layer(), Layer().round()
    layer.calls.gone = True
    with pytest.raises(AnswerPending):
        await layer.whole.complete(ask(), context)
    assert context.caller.deferral is not None
    assert context.caller.deferral.pending
    assert not layer.direct.prompts


async def test_what_no_job_answered_is_asked_directly_once_with_all_that_it_cost() -> None:
    """The answer is kept with its log probabilities, usage and cost: another round reads it."""
    layer = Layer()
    token = TokenLogprob("yes", -0.1, (("yes", -0.1), ("no", -2.0)))
    paid = [Attempt("p", "m", "answer_unreadable", 1.0, Usage(1, 2), 0.25),
            Attempt("p", "m", "ok", 1.0, Usage(3, 4), 0.5)]  # fmt: skip
    layer.direct = ScriptedModel(answer("directly", attempts=tuple(paid), logprobs=(token,)))
    layer.whole = DirectWhereUndelivered(layer.chat, layer.direct, cast("Any", layer.calls))
    with pytest.raises(AnswerPending):
        await layer.whole.complete(ask(), layer.round())
    layer.calls.end("undelivered")
    first = await layer.whole.complete(ask(), layer.round())
    again = await layer.whole.complete(ask(), layer.round())
    assert len(layer.direct.prompts) == 1
    assert first.text == again.text == "directly"
    assert again.logprobs == (token,)
    assert (again.usage, again.cost_usd) == (Usage(4, 6), 0.75)


async def test_what_no_job_asks_is_asked_once_for_all_rounds_of_a_row() -> None:
    """A grader or an embedding model is not paid for in each of them; other rows ask again."""
    spent = Attempt("p", "m", "ok", 1.0, Usage(3, 4), 0.5)
    calls, inner = Calls(), ScriptedModel(answer("0.5", attempts=(spent,)))
    chat = OncePerRow(inner, MODEL, cast("Any", calls))
    layer = Layer()
    first = await chat.complete(ask(), layer.round())
    again = await chat.complete(ask(), layer.round())
    assert len(inner.prompts) == 1
    assert first.text == again.text == again.reading
    assert [(one.usage, one.cost_usd) for one in again.attempts] == [(Usage(3, 4), 0.5)]
    await chat.complete(ask(), layer.round("other row"))
    await chat.complete(ask(), call())
    assert len(inner.prompts) == 3


async def test_answers_of_jobs_teach_what_the_next_ones_take() -> None:
    """Else a forecast would take each answer to be as long as it may."""
    layer, estimates = Layer(), TokenEstimates()
    layer.chat._estimates = estimates
    for row in map(str, range(10)):
        with pytest.raises(AnswerPending):
            await layer.chat.complete(ask(), layer.round(row))
    layer.calls.end("answered")
    for row in map(str, range(10)):
        await layer.chat.complete(ask(), layer.round(row))
    assert estimates.output_tokens(ask()) < ask().sampling.max_output_tokens


async def test_a_call_outside_of_a_batch_is_never_put_down() -> None:
    """It is asked directly."""
    layer = Layer()
    with pytest.raises(AnswerUndelivered):
        await layer.chat.complete(ask(), call())
    assert (await layer.whole.complete(ask(), call())).text == "directly"


def _prompt(batch_id: str | None, sample: int = 0) -> Prompt[Any]:
    (criterion,) = parse_criteria(["It is polite."])
    assert isinstance(criterion, Judged)
    context = call(delimiter_key=b"k" * 32)
    if batch_id is not None:
        context = _context(Deferral(batch_id, "row"))
    return to_prompt(criterion.question(Case("an output")), JudgeSpec(), context, sample=sample)


def test_a_round_asks_what_the_round_before_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Delimiter and marker are the same on another day; each batch and sample has its own."""
    first = _prompt("batch_1")
    monkeypatch.setattr("time.time", lambda: 4e9)
    again = _prompt("batch_1")
    asked = replace(MODEL, capabilities=replace(MODEL.capabilities, schema=False))
    assert first.for_model(asked).turns == again.for_model(asked).turns
    assert first.marker == again.marker
    assert first.marker != _prompt("batch_1", sample=1).marker
    assert first.turns != _prompt("batch_2").turns
    assert first.marker != _prompt("batch_2").marker
    assert _prompt(None).marker != _prompt(None).marker
