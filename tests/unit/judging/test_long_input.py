"""Texts beyond the judge's window: rejected, shortened or judged in parts, and never in silence."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.domain.completion import Prompt, Usage
from assay.domain.errors import ProviderDown
from assay.domain.evaluation import Case, CriterionResult
from assay.domain.tokens import estimated_tokens
from assay.judging.long_input import middle_out, split
from fakes.engine import evaluated, one
from fakes.judges import PASS, FakeJudges, ScriptedModel

WINDOW = 32_768
LONG = Case("The end is near. " * 61_700 + "It ends.", input="Tell me more.")
"""About a megabyte."""


def judges(model: ScriptedModel) -> FakeJudges:
    found = FakeJudges(model)
    found.window_tokens = WINDOW
    return found


async def judged(model: ScriptedModel, how: str, case: Case = LONG) -> CriterionResult:
    return await one("Is it calm?", judges(model), case, long_input=how)


def chars(prompt: Prompt) -> int:
    return prompt.size


async def test_what_fits_is_judged_as_it_is() -> None:
    """A short text is never touched, whatever is asked for."""
    model = ScriptedModel(PASS)
    result = await judged(model, "map_reduce", Case("short"))
    assert result.judge is not None
    assert (result.judge.long_input, len(model.prompts)) == (None, 1)


async def test_by_default_what_is_too_long_is_rejected_before_the_call() -> None:
    """The criterion is unscored with the reason and the numbers, and costs nothing."""
    model = ScriptedModel(PASS)
    result = await one("Is it calm?", judges(model), LONG)
    assert (result.status, result.reason) == ("unscored", "input_too_long")
    assert str(WINDOW) in result.explanation
    assert (model.prompts, result.usage, result.cost_usd) == ([], Usage(0, 0), 0.0)


async def test_truncation_keeps_both_ends_and_says_so() -> None:
    """The judge and the caller learn what was left out; the input stays whole."""
    model = ScriptedModel(PASS)
    result = await judged(model, "truncate")
    assert result.passed is True
    [prompt] = model.prompts
    assert chars(prompt) < WINDOW * 4
    text = prompt.turns[1].text
    assert "characters are left out here" in text
    assert "It ends." in text
    assert "Tell me more." in text
    assert "Some material was too long." in text.partition("# Task")[2]
    assert result.judge is not None
    cut = result.judge.long_input
    assert cut is not None
    assert (cut.method, cut.title, cut.chars) == ("truncate", "output", len(LONG.output))
    assert 0 < cut.chars_kept < WINDOW * 4


async def test_a_megabyte_is_judged_in_parts() -> None:
    """Each part fits the window, none is left out, and one last call decides on the whole."""

    def answer(prompt: Prompt) -> str:
        whole = "verdict on output" in prompt.turns[1].text
        return json.dumps({"reasoning": "whole" if whole else "a part", "verdict": "pass"})

    model = ScriptedModel(answer)
    result = await judged(model, "map_reduce")
    assert (result.passed, result.explanation) == (True, "whole")
    assert all(chars(each) < WINDOW * 4 for each in model.prompts)
    assert result.judge is not None
    recorded = result.judge.long_input
    assert recorded is not None
    assert (recorded.method, recorded.parts) == ("map_reduce", len(model.prompts) - 1)
    assert recorded.chars == recorded.chars_kept == len(LONG.output)
    assert result.usage.input_tokens == 100 * len(model.prompts)
    assert len(result.judge.attempts) == len(model.prompts)
    assert "a part" in model.prompts[-1].turns[1].text


async def test_a_part_that_fails_leaves_the_whole_unscored() -> None:
    """A part that no judge read cannot be judged; the cost of the others is counted."""
    model = ScriptedModel(PASS, ProviderDown("down"), PASS)
    result = await judged(model, "map_reduce")
    assert (result.status, result.reason) == ("unscored", "providers_unavailable")
    assert result.usage.input_tokens == 100 * (len(model.prompts) - 1)


async def test_what_no_number_of_parts_can_hold_is_rejected() -> None:
    """Where the rest of the case fills the window, there is no room for any part."""
    case = Case("x" * 1_000_000, input="y" * 200_000)
    result = await judged(ScriptedModel(PASS), "map_reduce", case)
    assert result.reason == "input_too_long"


async def test_a_shared_call_that_does_not_fit_is_asked_alone() -> None:
    """Each criterion is then judged in its own way."""
    model = ScriptedModel(PASS)
    result = await evaluated(
        ["calm?", "polite?"], judges(model), LONG, batch_criteria=True, long_input="truncate"
    )
    assert [each.passed for each in result.results] == [True, True]
    assert len(model.prompts) == 2


@given(st.text(max_size=2_000), st.integers(1, 200))
def test_parts_make_up_the_whole(text: str, size: int) -> None:
    """No character is lost or doubled, and no part is larger than allowed."""
    parts = split(text, size)
    assert "".join(parts) == text
    assert all(len(each) <= size for each in parts)
    assert all(parts) or text == ""


@given(st.text(min_size=10, max_size=500), st.integers(0, 9))
def test_the_middle_is_left_out(text: str, keep: int) -> None:
    """Beginning and end stay, and the note counts what is gone."""
    short = middle_out(text, keep)
    assert f"[{len(text) - keep} characters are left out here]" in short
    assert short.startswith(text[: (keep + 1) // 2])
    assert short.endswith(text[len(text) - keep // 2 :])


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("abcd", 1), ("abcde", 2), ("日本", 2)])
def test_tokens_are_estimated_by_bytes(text: str, tokens: int) -> None:
    """Four bytes are a token: a text in Japanese has more of them than letters ÷ 4."""
    assert estimated_tokens([text]) == tokens


def test_a_lone_surrogate_is_counted_too() -> None:
    """What JSON may escape must not fail the request."""
    assert estimated_tokens(["\ud800"]) == 1
