"""Prompts: the golden texts, and the split of trusted instructions from untrusted material."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from assay.criteria import parse_criteria
from assay.criteria.base import Finding, Judged, Question
from assay.domain.completion import Prompt
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case, JudgeSpec
from assay.judging.prompt import to_prompt
from assay.prompts.templates import render
from assay.prompts.untrusted import OPENINGS_MAX, fresh_nonce, neutral

GOLDEN = Path(__file__).parent / "golden"
CASE = Case(
    output="Paris.",
    input=({"role": "user", "content": "Capital of France?"},),
    reference=("Paris",),
    context=("France is a country.", "Its capital is Paris."),
)
LEVELS = [
    {"label": "poor", "value": 0, "description": "Hard to follow."},
    {"label": "fine", "value": 1},
    {"label": "clear", "value": 2, "description": "A child would follow."},
]
GRADER = [
    {"role": "developer", "content": "You grade geography."},
    {
        "role": "user",
        "content": [
            {"type": "input_text", "text": "Asked: {{ item.input }}"},
            {"type": "input_text", "text": "{{sample.output_text}} vs. {{item.reference}}"},
        ],
    },
]
CRITERIA: dict[str, dict[str, Any]] = {
    "rubric.v1": {"type": "rubric", "rubric": "The answer is right."},
    "levels.v1": {"type": "rubric", "rubric": "How clear is it?", "levels": LEVELS},
    "boolean.v1": {"type": "boolean", "question": "Is it right?"},
    "score.v1": {"type": "score", "rubric": "How right is it?", "min": 1, "max": 5},
    "label.v1": {
        "type": "label",
        "question": "What tone has it?",
        "labels": [{"label": "curt", "description": "One word."}, "polite"],
        "passing_labels": ["polite"],
    },
    "score_model.v1": {
        "type": "score_model",
        "name": "geo",
        "model": "gpt-5-mini",
        "input": GRADER,
        "range": [0, 10],
    },
    "g_eval.v1": {"type": "g_eval", "criteria": "Is it right?", "steps": ["Read.", "Compare."]},
    "checklist.v1": {
        "type": "checklist",
        "rubric": "An answer for a child.",
        "items": ["It is short.", {"item": "It is right.", "weight": 2}],
    },
    "factuality.v1": {"type": "factuality"},
    "closed_qa.v1": {"type": "closed_qa", "criteria": "It names one city."},
    "pairwise.v1": {"type": "pairwise", "rubric": "Which is right?", "against": "Lyon."},
    "pairwise_label.v1": {
        "type": "pairwise",
        "rubric": "Which is right?",
        "against": "Lyon.",
        "labels": ["m", "M"],
        "reasoning": False,
        "tie": False,
    },
    "label_model.v1": {
        "type": "label_model",
        "name": "geo",
        "model": "gpt-5-mini",
        "input": GRADER[1:],
        "labels": ["right", "wrong"],
        "passing_labels": ["right"],
    },
}


def question(criterion: dict[str, Any], case: Case = CASE) -> Question[Finding]:
    [parsed] = parse_criteria([criterion])
    assert isinstance(parsed, Judged)
    return parsed.question(case)


def prompt(criterion: dict[str, Any], case: Case = CASE) -> Prompt:
    return to_prompt(question(criterion, case), JudgeSpec())


@pytest.mark.parametrize("version", list(CRITERIA))
def test_prompts_are_as_recorded(version: str) -> None:
    """A changed prompt is a new version: an existing one stays as its golden file has it.

    GOLDEN_WRITE=1 writes the files of new versions.
    """
    asked = question(CRITERIA[version])
    built = to_prompt(asked, JudgeSpec())
    text = "\n\n".join(f"[{turn.role}]\n{turn.text}" for turn in built.turns) + "\n"
    text = re.sub(r"material-[0-9a-f]{16}", "material-NONCE", text)
    path = GOLDEN / f"{version}.txt"
    if os.environ.get("GOLDEN_WRITE") and not path.exists():
        path.write_text(text)
    assert asked.prompt_version == version
    assert text == path.read_text()


@pytest.mark.parametrize("version", list(CRITERIA))
def test_the_callers_text_stays_out_of_the_system_turn(version: str) -> None:
    """Instructions hold the criterion's words alone; everything of the case is in the user turn."""
    marked = Case("OUT-1", input="IN-2", reference=("REF-3",), context=("CON-4",))
    system, user = prompt(CRITERIA[version], marked).turns
    assert (system.role, user.role) == ("system", "user")
    assert not any(mark in system.text for mark in ("OUT-1", "IN-2", "REF-3", "CON-4"))
    assert "OUT-1" in user.text


def test_large_text_is_never_joined() -> None:
    """The output is one part of the turn, the very object of the case."""
    case = Case("x" * 1_000_000)
    parts = prompt(CRITERIA["rubric.v1"], case).turns[1].parts
    assert any(part is case.output for part in parts)


def test_each_request_has_its_own_delimiter() -> None:
    """Two prompts of one question differ in the nonce alone."""
    first, second = (prompt(CRITERIA["rubric.v1"]).turns[1].text for _ in range(2))
    assert first != second


@given(
    st.lists(
        st.sampled_from(
            [
                "</material-",
                "<MATERIAL-",
                "< / material",
                "＜material ",
                "x",
                "<\u00a0/\u200bmaterial ",
            ]
        )
    )
)
def test_no_text_can_close_its_delimiter(pieces: list[str]) -> None:
    """After neutralising, nothing in a text looks like one of our tags."""
    text = neutral("".join(pieces))
    assert re.search(r"[<＜][\s\u200b]*/?[\s\u200b]*material\b", text, re.IGNORECASE) is None
    assert text.count("x") == pieces.count("x")


def test_a_tag_behind_many_brackets_is_found() -> None:
    """However many harmless brackets come first, the last of them is looked at."""
    for brackets in (OPENINGS_MAX - 1, OPENINGS_MAX, OPENINGS_MAX + 1):
        assert neutral("<" * brackets + "</material-1>") == "<" * brackets + "‹/material-1>"


def test_a_text_that_is_no_unicode_is_neutralised_too() -> None:
    """A lone surrogate, as JSON may escape one, does not open a way round."""
    assert neutral("\ud800</material-1>") == "\ud800‹/material-1>"


def test_ordinary_text_is_left_alone() -> None:
    """HTML, code and the word material pass through as the same object."""
    text = "<p>raw materials</p> if a < b / material_cost > 3 <materials>"
    assert neutral(text) is text


def test_a_hostile_text_is_neutralised_in_bounded_time() -> None:
    """A bracket before a megabyte of white space does not explode the pattern."""
    text = "<" + " " * 1_000_000
    assert neutral(text) is text


def test_a_nonce_is_made_for_its_prompt_alone() -> None:
    """It cannot be known before, not even from the one of the same question asked again."""
    nonces = {fresh_nonce() for _ in range(100)}
    assert len(nonces) == 100
    assert all(re.fullmatch(r"[0-9a-f]{16}", each) for each in nonces)


def test_a_prompt_refuses_a_value_it_was_not_given() -> None:
    """A missing value is an error, never an empty line in a judge's instructions."""
    with pytest.raises(UndefinedError):
        render("rubric.v1")


def test_a_rubric_is_not_a_template() -> None:
    """Braces in a rubric reach the judge as they are."""
    asked = question({"type": "rubric", "rubric": "Uses {{ 7 * 7 }} and {% raw %}."})
    assert "{{ 7 * 7 }} and {% raw %}" in asked.instructions


@pytest.mark.parametrize(
    ("placeholder", "reason"),
    [("item.reference", "reference_missing"), ("item.context", "context_missing")],
)
def test_a_grader_needs_what_it_names(placeholder: str, reason: str) -> None:
    """A placeholder without a text in the case leaves the criterion unscored, with the reason."""
    grader = {
        **CRITERIA["score_model.v1"],
        "input": [{"role": "user", "content": f"{{{{{placeholder}}}}}"}],
    }
    with pytest.raises(NotApplicable) as caught:
        question(grader, Case("x"))
    assert caught.value.reason == reason
