"""The judged primitives: what each answer means on their scales."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from assay.criteria import parse_criteria
from assay.criteria.base import Finding, Judged
from assay.domain.completion import Completion
from assay.domain.errors import AnswerUnreadable
from assay.domain.evaluation import Case, JudgeSpec

LEVELS = [
    {"label": "poor", "value": -1},
    {"label": "fine", "value": 0},
    {"label": "good", "value": 3},
]


def criterion(**fields: Any) -> Judged:
    [parsed] = parse_criteria([fields])
    assert isinstance(parsed, Judged)
    return parsed


def finding(judged: Judged, text: str) -> Finding:
    read = judged.question(Case("output")).read
    found = read(Completion(text, "stop", "provider", "model")).verdict
    assert isinstance(found, Finding)
    return found


@pytest.mark.parametrize(
    ("said", "score"), [("pass", 1.0), ("FAIL", 0.0), ("passed", 1.0), ("fails", 0.0)]
)
def test_a_rubric_passes_or_fails(said: str, score: float) -> None:
    """Without levels the verdict is 1 or 0, in whatever form of the word it is given."""
    found = finding(criterion(type="rubric", rubric="r"), json.dumps({"verdict": said}))
    assert (found.score, found.value) == (score, score == 1)


@pytest.mark.parametrize(("label", "score"), [("poor", 0.0), ("Fine", 0.25), ("good", 1.0)])
def test_levels_are_scaled_from_the_lowest_to_the_highest(label: str, score: float) -> None:
    """The value is the level's own; the score is its place between the lowest and the highest."""
    judged = criterion(type="rubric", rubric="r", levels=LEVELS)
    found = finding(judged, json.dumps({"reasoning": "why", "verdict": label}))
    assert (found.score, found.label, found.explanation) == (score, label.lower(), "why")


def test_a_level_that_was_not_offered_is_unreadable() -> None:
    """A judge cannot invent a level."""
    with pytest.raises(AnswerUnreadable):
        finding(criterion(type="rubric", rubric="r", levels=LEVELS), '{"verdict": "superb"}')


@pytest.mark.parametrize(
    "levels",
    [
        LEVELS[:1],
        [{"label": "a", "value": 1}, {"label": "b", "value": 1}],
        [{"label": "a", "value": 1}, {"label": "A ", "value": 2}],
        [{"label": " ", "value": 1}, {"label": "b", "value": 2}],
    ],
)
def test_levels_must_differ(levels: Any) -> None:
    """Levels alike in label or all of one value could not be told apart."""
    with pytest.raises(ValidationError):
        criterion(type="rubric", rubric="r", levels=levels)


@pytest.mark.parametrize(("said", "value"), [("yes", True), ("No.", False), (True, True)])
def test_boolean(said: Any, value: bool) -> None:
    """Yes is 1, no is 0, and JSON's own booleans are understood."""
    found = finding(criterion(type="boolean", question="q?"), json.dumps({"verdict": said}))
    assert (found.score, found.value) == (float(value), value)


def test_a_score_is_scaled_to_its_range() -> None:
    """4 on 1 to 5 is 0.75; the value stays 4."""
    found = finding(criterion(type="score", rubric="r", min=1, max=5), "Score: 4")
    assert (found.score, found.value) == (0.75, 4)


@pytest.mark.parametrize(
    ("bounds", "whole"),
    [
        ({"min": 1, "max": 5}, True),
        ({"min": 0, "max": 1}, False),
        ({}, False),
        ({"min": 1, "max": 5, "integer": False}, False),
        ({"min": 0, "max": 1, "integer": True}, True),
    ],
)
def test_wide_ranges_are_of_whole_numbers(bounds: dict[str, Any], whole: bool) -> None:
    """1 to 5 is asked for in whole numbers, 0 to 1 is not, unless `integer` says otherwise."""
    scale = criterion(type="score", rubric="r", **bounds).question(Case("x")).scales[""]
    assert scale.schema["type"] == ("integer" if whole else "number")


@pytest.mark.parametrize(
    ("fields", "lowest"),
    [
        ({"type": "rubric", "rubric": "r"}, 1.0),
        ({"type": "rubric", "rubric": "r", "levels": LEVELS}, 0.5),
        ({"type": "rubric", "rubric": "r", "levels": LEVELS, "threshold": 0}, 0.0),
        ({"type": "score", "rubric": "r"}, 0.5),
        ({"type": "score", "rubric": "r", "threshold": 0.9}, 0.9),
        ({"type": "boolean", "question": "q"}, 1.0),
    ],
)
def test_thresholds_have_a_default_for_each_type(fields: Any, lowest: float) -> None:
    """Graded scales pass from the middle, verdicts pass when they are met; zero is a threshold."""
    assert criterion(**fields).passing_score() == lowest


def test_the_judge_of_a_criterion_overrides_the_requests() -> None:
    """A name, a list of models, or nothing: the request's judge."""
    default = JudgeSpec(name="default")
    assert criterion(type="boolean", question="q").judged_by(default) is default
    named = criterion(type="boolean", question="q", judge="strict")
    assert named.judged_by(default) == JudgeSpec(name="strict")
    listed = criterion(type="boolean", question="q", judge={"models": ["a", "b"], "seed": 1})
    assert listed.judged_by(default) == JudgeSpec(models=("a", "b"), seed=1)


def test_what_the_judge_of_a_criterion_leaves_open_is_the_requests() -> None:
    """Who else judges drops neither the request's policies nor the limit of what it may cost."""
    default = JudgeSpec(
        models=("a",), strategy="panel", injection="quarantine", fallback="none", max_cost_usd=1.0
    )
    named = criterion(type="boolean", question="q", judge="strict").judged_by(default)
    assert (named.name, named.models, named.strategy) == ("strict", (), None)
    listed = criterion(type="boolean", question="q", judge={"models": ["b"]}).judged_by(default)
    assert (listed.models, listed.strategy) == (("b",), None)
    sampled = criterion(type="boolean", question="q", judge={"samples": 3}).judged_by(default)
    assert sampled == replace(default, samples=3)
    for each in (named, listed, sampled):
        assert (each.injection, each.fallback) == ("quarantine", "none")
        assert each.max_cost_usd == 1.0
    own = {"injection": "flag", "max_cost_usd": 2}
    capped = criterion(type="boolean", question="q", judge=own).judged_by(default)
    assert capped.injection == "flag"
    assert capped.max_cost_usd == 2


@pytest.mark.parametrize("models", [[], ["a", "a"]], ids=str)
def test_the_models_of_a_judge_are_some_and_distinct(models: list[str]) -> None:
    """An empty list is not the default judge, and a panel is not smaller than its list."""
    with pytest.raises(ValidationError):
        criterion(type="boolean", question="q", judge={"models": models})


BLANK = " \n\t\u00a0"


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "rubric", "rubric": BLANK},
        {"type": "boolean", "question": BLANK},
        {"type": "score", "rubric": BLANK},
        {"type": "label", "question": BLANK, "labels": ["a", "b"], "passing_labels": ["a"]},
        {"type": "checklist", "items": ["one", BLANK]},
        {"type": "checklist", "items": [{"item": BLANK}]},
        {"type": "g_eval", "criteria": BLANK},
        {"type": "g_eval", "steps": [BLANK]},
        {"type": "closed_qa", "criteria": BLANK},
        {"type": "pairwise", "rubric": BLANK, "against": "x"},
        {"type": "correctness", "guidance": BLANK},
        {"type": "score_model", "model": "m", "input": [{"role": "user", "content": BLANK}]},
    ],
    ids=str,
)
def test_a_judge_is_never_paid_for_a_blank_question(fields: Any) -> None:
    """White space alone asks nothing: it is a fault of the request."""
    with pytest.raises(ValidationError, match="blank"):
        criterion(**fields)
