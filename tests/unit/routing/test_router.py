"""The router asks candidates in order until one answers."""

import asyncio
import math
from dataclasses import replace

import pytest

from assay.domain.completion import (
    AnswerSchema,
    Attempt,
    CallContext,
    Completion,
    Ending,
    Prompt,
    Turn,
)
from assay.domain.errors import (
    AnswerRefused,
    BreakerOpen,
    ContentFiltered,
    ContextExceeded,
    DeadlineExceeded,
    ModelError,
    NoCandidate,
    Overloaded,
    PromptUnsendable,
    ProviderDown,
    QuotaExhausted,
    RequestError,
    RequestRejected,
)
from assay.domain.evaluation import JudgeSpec
from assay.domain.events import FallbackTaken
from assay.domain.models import Capabilities, Model
from assay.routing.candidates import Candidate
from assay.routing.judges import ConfiguredJudge, ConfiguredJudges
from assay.routing.router import Router
from assay.routing.strategies import ordered
from fakes.calls import call, read_text

PROMPT = Prompt((Turn("user", ("hello",)),), read_text)


class Scripted:
    """A model that fails with what it is given, or answers with its own name."""

    def __init__(self, name: str, failure: type[ModelError] | None = None, delay_s: float = 0):
        self.name, self.failure, self.delay_s, self.calls = name, failure, delay_s, 0

    async def complete(self, prompt: Prompt, context: CallContext) -> Completion:
        self.calls += 1
        if self.delay_s:
            await asyncio.sleep(min(self.delay_s, max(context.deadline.remaining_s(), 0)))
            if context.deadline.remaining_s() <= 0:
                raise DeadlineExceeded("late", attempts=[self.attempt("deadline_exceeded")])
        if self.failure:
            raise self.failure("failed", attempts=[self.attempt(self.failure.outcome)])
        return Completion(self.name, "stop", "p", self.name, attempts=(self.attempt("ok"),))

    def attempt(self, outcome: str) -> Attempt:
        return Attempt("p", self.name, outcome, 1.0)


class Events(list):
    """An event sink that remembers."""

    def emit(self, event: object) -> None:
        self.append(event)


def judges(*chats: Scripted, events: Events | None = None, **models: object) -> ConfiguredJudges:
    candidates = [
        Candidate(
            Model(chat.name, "p", chat.name.split("@")[0], **models.get(chat.name, {})),  # type: ignore[arg-type]
            chat,
        )
        for chat in chats
    ]
    default = ConfiguredJudge(tuple(chat.name for chat in chats))
    return ConfiguredJudges(
        candidates, {"default": default}, Events() if events is None else events
    )


async def ask(found: ConfiguredJudges, spec: JudgeSpec | None = None, seconds: float = 5.0):
    [member] = found.panel(spec or JudgeSpec())
    return await member.chat.complete(PROMPT, call(seconds))


async def test_the_first_candidate_that_answers_serves():
    """A failed candidate is followed by the next; both stand in the attempts."""
    events = Events()
    found = judges(Scripted("a", ProviderDown), Scripted("b"), Scripted("c"), events=events)
    completion = await ask(found)
    assert [(attempt.model, attempt.outcome) for attempt in completion.attempts] == [
        ("a", "provider_down"),
        ("b", "ok"),
    ]
    assert [(e.from_model, e.to_model) for e in events if isinstance(e, FallbackTaken)] == [
        ("a", "b")
    ]


async def test_a_prompt_that_no_model_can_be_sent_ends_the_call():
    """A prompt that cannot be sent to one model cannot be sent to another."""
    last = Scripted("b")
    with pytest.raises(NoCandidate) as raised:
        await ask(judges(Scripted("a", PromptUnsendable), last))
    assert raised.value.reason == "check_error"
    assert last.calls == 0


@pytest.mark.parametrize(
    ("error", "reason"),
    [(ContentFiltered, "judge_refused"), (RequestRejected, "providers_unavailable")],
)
async def test_what_one_model_rejects_another_may_answer(error, reason):
    """Filters and parameters differ; only if every model rejects the call is it unscored."""
    assert (await ask(judges(Scripted("a", error), Scripted("b")))).text == "b"
    with pytest.raises(NoCandidate) as raised:
        await ask(judges(Scripted("a", error), Scripted("b", error)))
    assert raised.value.reason == reason


@pytest.mark.parametrize(
    ("first", "second", "is_asked"),
    [(10, 9, False), (10, 10, True), (10, 20, True), (10, None, True), (None, 10, True)],
)
async def test_a_prompt_too_long_for_one_goes_to_all_that_are_not_known_to_be_smaller(
    first, second, is_asked
):
    """Of two windows, one unknown, nobody knows which is smaller; tokens of two models differ."""
    other = Scripted("b", ContextExceeded)
    windows = {"a": {"context_tokens": first}, "b": {"context_tokens": second}}
    with pytest.raises(NoCandidate) as raised:
        await ask(judges(Scripted("a", ContextExceeded), other, **windows))
    assert raised.value.reason == "input_too_long"
    assert other.calls == is_asked


@pytest.mark.parametrize("error", [ContentFiltered, AnswerRefused])
@pytest.mark.parametrize(
    ("configured", "asked", "served"),
    [("next", None, True), ("stop", None, False), ("stop", "next", True), ("next", "stop", False)],
)
async def test_a_refusal_goes_to_the_next_model_or_ends_the_call(error, configured, asked, served):
    """As the judge is configured, unless the request says otherwise; a filter is a refusal."""
    found = judges(Scripted("a", error), Scripted("b"))
    found._judges = {"default": ConfiguredJudge(("a", "b"), on_refusal=configured)}
    if served:
        assert (await ask(found, JudgeSpec(on_refusal=asked))).text == "b"
        return
    with pytest.raises(NoCandidate) as raised:
        await ask(found, JudgeSpec(on_refusal=asked))
    assert raised.value.reason == "judge_refused"


async def test_a_refusal_ends_the_call_for_a_list_of_models_too():
    """A list of models in the request has no configured judge behind it."""
    found = judges(Scripted("a", AnswerRefused), Scripted("b"))
    assert (await ask(found, JudgeSpec(models=("a", "b")))).text == "b"
    with pytest.raises(NoCandidate):
        await ask(found, JudgeSpec(models=("a", "b"), on_refusal="stop"))


class Twice(Scripted):
    """A model that is sent as many calls as its context allows, and fails them all."""

    async def complete(self, prompt: Prompt, context: CallContext) -> Completion:
        self.calls = context.attempts_left
        raise ProviderDown("x", attempts=[self.attempt("provider_down")] * self.calls)


async def test_two_calls_more_than_there_are_candidates():
    """Each candidate has a call of its own, whatever those before it have used up."""
    chats = [Twice(name) for name in "abcd"]
    with pytest.raises(NoCandidate):
        await ask(judges(*chats))
    assert [chat.calls for chat in chats] == [3, 1, 1, 1]


@pytest.mark.parametrize(
    ("waits_s", "other_in_s"),
    [((), math.inf), ((0.0,), 0.0), ((3.0, 2.0), 2.0), ((3.0, 0.0), 0.0)],
)
async def test_a_candidate_knows_how_soon_another_could_serve(waits_s, other_in_s):
    """A wait is worth while only if no other candidate can serve before it ends."""
    seen = []

    class Asked(Scripted):
        async def complete(self, prompt: Prompt, context: CallContext) -> Completion:
            seen.append(context.other_in_s)
            return await super().complete(prompt, context)

    others = [Scripted(f"b{number}") for number in range(len(waits_s))]
    found = judges(Asked("a"), *others)
    for other, wait_s in zip(others, waits_s, strict=True):
        known = found._candidates[other.name]
        found._candidates[other.name] = replace(known, open_for_s=lambda wait_s=wait_s: wait_s)
    await ask(found)
    assert seen == [other_in_s]


async def test_candidates_passed_over_unsent_do_not_count():
    """Open breakers and spent quotas cost no attempt."""
    chats = [Scripted("a", BreakerOpen), Scripted("b", QuotaExhausted)]
    chats += [Scripted(name, ProviderDown) for name in "cd"]
    assert (await ask(judges(*chats, Scripted("e")))).text == "e"


async def test_a_slow_candidate_leaves_time_for_the_next():
    """One deadline: the first attempt gets it less a reserve for the fallback."""
    completion = await ask(judges(Scripted("a", delay_s=9), Scripted("b")), seconds=0.4)
    assert [attempt.outcome for attempt in completion.attempts] == ["deadline_exceeded", "ok"]


async def test_no_candidate_is_asked_after_the_deadline():
    """When the time is over, so is the call."""
    first = Scripted("a")
    with pytest.raises(NoCandidate) as raised:
        await ask(judges(first), seconds=-1)
    assert first.calls == 0
    assert raised.value.reason == "deadline_exceeded"


async def test_a_model_without_a_free_slot_passes_to_the_next():
    """Slots are kept for each model: the other one may have one to spare."""
    found = judges(Scripted("a", Overloaded), Scripted("b"))
    assert (await ask(found, JudgeSpec())).text == "b"


@pytest.mark.parametrize(("fallback", "served"), [("any", "b@x"), ("same_model", "a@y")])
async def test_fallback_keeps_to_its_rule(fallback, served):
    """`same_model` steps only to another provider of the same model."""
    found = judges(Scripted("a@x", ProviderDown), Scripted("b@x"), Scripted("a@y"))
    completion = await ask(found, JudgeSpec(fallback=fallback))
    assert completion.text == served


async def test_no_fallback_means_one_judge():
    """`none` never mixes judges."""
    second = Scripted("b")
    with pytest.raises(NoCandidate):
        await ask(judges(Scripted("a", ProviderDown), second), JudgeSpec(fallback="none"))
    assert second.calls == 0


def test_an_unknown_model_or_judge_is_named_with_the_nearest():
    """A typing error costs a clear answer and nothing else."""
    found = judges(Scripted("openai/gpt-6-luna"))
    with pytest.raises(RequestError, match="did you mean 'openai/gpt-6-luna'") as raised:
        found.panel(JudgeSpec(models=("openai/gpt5-mini",)))
    assert raised.value.code == "unknown_model"
    assert raised.value.errors == (), "only the reader of the request knows the pointer"
    with pytest.raises(RequestError, match="No judge is called 'defualt'; did you mean 'default'"):
        found.panel(JudgeSpec(name="defualt"))


async def test_a_model_may_be_named_as_on_the_wire():
    """Graders brought from elsewhere name `gpt-6-luna`, not the id that it is configured under."""
    found = judges(Scripted("b@openai"), Scripted("a@azure"), Scripted("a@openai"))
    assert (await ask(found, JudgeSpec(models=("a",)))).text == "a@azure"


async def test_cheapest_asks_the_lowest_price_first():
    """Price times estimated tokens; a model without a price is the last resort."""
    found = judges(
        Scripted("free?"),
        Scripted("dear"),
        Scripted("cheap"),
        dear={"input_usd_per_mtok": 5.0, "output_usd_per_mtok": 5.0},
        cheap={"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 1.0},
    )
    assert (await ask(found, JudgeSpec(strategy="cheapest"))).text == "cheap"


async def test_fastest_asks_the_lowest_median_first():
    """The moving median decides; what was never measured is tried first."""
    found = judges(Scripted("a"), Scripted("b"))
    for candidate, latency_ms in zip(found._candidates.values(), (50, 10), strict=True):
        candidate.latency.add(latency_ms)
    assert (await ask(found, JudgeSpec(strategy="fastest"))).text == "b"


async def test_weighted_spreads_by_weight():
    """Over many calls the share of each model is near its weight's share."""
    found = judges(Scripted("a"), Scripted("b"))
    found._candidates["a"] = replace(found._candidates["a"], weight=3.0)
    served = [(await ask(found, JudgeSpec(strategy="weighted"))).text for _ in range(2_000)]
    assert 0.70 < served.count("a") / len(served) < 0.80


async def test_a_candidate_that_can_answer_now_beats_one_that_must_wait():
    """Where the strategy allows, an open breaker sends a candidate to the end."""
    found = judges(Scripted("a"), Scripted("b"))
    found._candidates["a"] = replace(found._candidates["a"], wait_s=lambda: 2.0)
    for strategy in ("cheapest", "fastest", "weighted"):
        assert (await ask(found, JudgeSpec(strategy=strategy))).text == "b"
    assert (await ask(found, JudgeSpec(strategy="ordered"))).text == "a"


async def test_with_every_breaker_open_the_one_due_first_is_probed():
    """Nobody fails blind: the first that may be probed is asked first."""
    found = judges(Scripted("a"), Scripted("b"))
    for name, due_s in (("a", 9.0), ("b", 1.0)):
        found._candidates[name] = replace(
            found._candidates[name], open_for_s=lambda due_s=due_s: due_s
        )
    assert (await ask(found)).text == "b"


def panel(*names: str, **spec: object) -> list[tuple[tuple[str, ...], str]]:
    found = judges(*(Scripted(name) for name in names))
    members = found.panel(JudgeSpec(**spec))  # type: ignore[arg-type]
    return [(member.spec.models, member.spec.fallback) for member in members]


def test_a_panel_has_every_model_of_the_judge_as_a_member():
    """Each member answers for itself: no other model steps in and has two votes."""
    assert panel("a", "b", strategy="panel") == [(("a",), "none"), (("b",), "none")]
    assert panel("a", "b", "c", models=("c", "a"), strategy="panel") == [
        (("c",), "none"),
        (("a",), "none"),
    ]


def test_a_judge_that_is_no_panel_is_its_own_only_member():
    """Its models stand in for each other."""
    assert panel("a", "b", models=("a", "b")) == [(("a", "b"), "any")]


def test_the_window_is_the_largest_of_those_that_may_answer():
    """A model with a larger window takes what is too long for the first one."""
    windows = {"a": {"context_tokens": 8_000}, "b": {"context_tokens": 32_000}}
    found = judges(Scripted("a"), Scripted("b"), Scripted("c"), **windows)
    for spec, window_tokens in (
        (JudgeSpec(models=("a", "b")), 32_000),
        (JudgeSpec(models=("a", "b"), fallback="none"), 8_000),
        (JudgeSpec(), float("inf")),
    ):
        [member] = found.panel(spec)
        assert member.window_tokens == window_tokens


def test_a_panel_holds_no_model_under_two_names():
    """One model would be asked once and counted twice; for a fallback a repeat is harmless."""
    found = judges(Scripted("a@azure"), Scripted("b@azure"))
    both = ("a@azure", "a")
    with pytest.raises(RequestError, match="the same model") as raised:
        found.panel(JudgeSpec(models=both, strategy="panel"))
    assert raised.value.code == "invalid_request"
    assert len(found.panel(JudgeSpec(models=both))) == 1


@pytest.mark.parametrize(
    ("schema", "end", "repeat"), [(True, "as JSON", "JSON again"), (False, "a line", "line again")]
)
async def test_each_model_is_asked_in_its_own_way(schema: bool, end: str, repeat: str) -> None:
    """By the schema where it takes one, else in words; a repeated question asks for the same."""
    asked: list[Prompt] = []

    class Recording(Scripted):
        async def complete(self, prompt: Prompt, context: CallContext) -> Completion:
            asked.append(prompt)
            return await super().complete(prompt, context)

    model = Model("m", "p", "m", capabilities=Capabilities(schema=schema))
    candidate = Candidate(model, Recording("m"))
    prompt = replace(
        PROMPT,
        answer=AnswerSchema("verdict", {}),
        structured=Ending("as JSON", "JSON again"),
        plain=Ending("a line", "line again"),
    )
    await Router([candidate], ordered, Events()).complete(prompt, call())
    [sent] = asked
    assert sent.turns[-1].text == f"hello{end}"
    assert (sent.answer is not None) == schema
    assert sent.repaired("no", "Fault.").turns[-1].text == f"Fault. {repeat}"


async def test_the_forms_of_a_model_are_handed_to_the_reader() -> None:
    """What is declared on a model holds for its answers alone."""
    read: list[tuple[str, ...]] = []

    def reader(completion: Completion, *, forms: tuple[str, ...] = ()) -> str:
        read.append(forms)
        return completion.text

    prompt = Prompt(PROMPT.turns, reader)
    for reading in ((), ("stars",)):
        prompt.for_model(Model("m", "p", "m", reading=reading)).read(
            Completion("x", "stop", "p", "m")
        )
    assert read == [(), ("stars",)]


@pytest.mark.parametrize("strategy", ["ordered", "panel"])
def test_a_cap_over_a_model_without_a_price_is_refused(strategy):
    """Before any call; the answer would otherwise cost what nobody knows."""
    priced = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 1.0}
    spec = JudgeSpec(strategy=strategy, max_cost_usd=1.0)
    with pytest.raises(RequestError, match="max_cost_usd cannot be kept: no price is known of b"):
        judges(Scripted("a"), Scripted("b"), a=priced).panel(spec)
    judges(Scripted("a"), Scripted("b"), a=priced, b=priced).panel(spec)
