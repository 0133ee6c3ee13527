"""How a model samples and thinks: within its limits, and without what its API refuses."""

from __future__ import annotations

from assay.domain.completion import AnswerSchema, Ending, Prompt, Turn
from assay.domain.models import Model
from assay.domain.sampling import THINKING_TOKENS, Sampling
from fakes.calls import read_text

PLAIN = Model("m", "p", "m", max_output_tokens=4_096)
THINKER = Model("t", "p", "t", max_output_tokens=32_768, reasoning=True, reasoning_effort="low")
ENDED = Prompt(
    (Turn("user", ("Is it so? ",)),),
    read_text,
    answer=AnswerSchema("verdict", {"type": "object"}),
    structured=Ending("As JSON.", "Again as JSON."),
    plain=Ending("On a line.", "Again on a line."),
)


def test_thinking_has_room_beside_the_answer() -> None:
    """The output limit of a model that thinks is the answer's and its effort's together."""
    assert Sampling().for_model(PLAIN).max_output_tokens == 2_048
    asked = Sampling().for_model(THINKER)
    assert asked.max_output_tokens == 2_048 + THINKING_TOKENS["low"]
    assert Sampling(reasoning_effort="max").for_model(THINKER).max_output_tokens == 32_768
    assert Sampling(thinking_budget_tokens=0).for_model(THINKER).max_output_tokens == 2_048


def test_what_the_call_says_about_thinking_replaces_what_the_model_does() -> None:
    """A budget in the request is not sent beside an effort that is configured."""
    asked = Sampling(thinking_budget_tokens=3_000).for_model(THINKER)
    assert (asked.reasoning_effort, asked.thinking_budget_tokens) == (None, 3_000)


def test_effort_and_budget_stand_in_for_each_other() -> None:
    """Where one kind of model refuses the one, it takes the other; refusing both ends it."""
    low = Sampling(reasoning_effort="low")
    as_budget = Sampling(thinking_budget_tokens=2_048)
    assert low.without(frozenset({"reasoning_effort=low"})) == as_budget
    assert low.without(frozenset({"reasoning_effort=max"})) == low
    both = frozenset({"reasoning_effort=low", "thinking_budget"})
    assert low.without(both) == Sampling()
    budget = Sampling(thinking_budget_tokens=5_000)
    assert budget.without(frozenset({"thinking_budget"})) == Sampling(reasoning_effort="medium")


def test_a_refused_schema_asks_for_the_plain_answer() -> None:
    """The ending of the prompt changes with it, and nothing that the caller wrote does."""
    prompt = ENDED.for_model(PLAIN)
    assert prompt.turns[-1].text == "Is it so? As JSON."
    without = prompt.without(frozenset({"structured_output"}))
    assert without.answer is None
    assert without.turns[-1].text == "Is it so? On a line."
    assert without.repaired("no", "Fault.").turns[-1].text == "Fault. Again on a line."
    assert prompt.without(frozenset({"seed"})).turns is prompt.turns
