"""G-Eval, checklists, factuality, closed questions: what each answer means on their scales."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from assay.criteria import parse_criteria
from assay.criteria.base import Finding, Judged
from assay.domain.completion import Completion
from assay.domain.errors import AnswerTruncated, AnswerUnreadable
from assay.domain.evaluation import Case
from fakes.engine import one
from fakes.judges import FakeJudges, ScriptedModel, WeighingModel

G_EVAL = {"type": "g_eval", "criteria": "Is it coherent?"}
CHECKLIST = {"type": "checklist", "items": ["short", {"item": "right", "weight": 3}]}


def finding(fields: dict[str, Any], text: str, finish: Any = "stop") -> Finding:
    [judged] = parse_criteria([fields])
    assert isinstance(judged, Judged)
    read = judged.question(Case("output", reference=("reference",))).read
    found = read(Completion(text, finish, "provider", "model")).verdict
    assert isinstance(found, Finding)
    return found


async def test_g_eval_weighs_each_number_by_its_probability() -> None:
    """The value is the mean over the numbers at the score's place; what is left is reported."""
    top = {"4": 0.6, "5": 0.2, "3": 0.1, "good": 0.05}
    model = WeighingModel('{"reasoning": "4 slips", "score": 4}', "4", top)
    result = await one(G_EVAL, FakeJudges(model))
    assert result.value == pytest.approx((4 * 0.6 + 5 * 0.2 + 3 * 0.1) / 0.9)
    assert result.judge is not None
    assert result.judge.score_method == "logprobs"
    assert result.judge.probability_left == pytest.approx(0.1)
    assert len(model.prompts) == 1


async def test_g_eval_samples_where_there_are_no_logprobs() -> None:
    """A model without them is asked several times, and the mean is taken; the result says so."""
    model = ScriptedModel(*(json.dumps({"score": each}) for each in (3, 4, 5, 4, 4)))
    result = await one(G_EVAL, FakeJudges(model))
    assert result.value == pytest.approx(4)
    assert result.judge is not None
    assert (result.judge.score_method, len(result.judge.votes)) == ("samples", 5)


async def test_g_eval_does_not_weigh_a_number_of_the_reasoning() -> None:
    """Only the token at the place of the verdict counts."""
    model = WeighingModel('{"reasoning": "3 slips", "score": 4}', "3", {"3": 0.9, "2": 0.1})
    result = await one({**G_EVAL, "samples": 1}, FakeJudges(model))
    assert result.value == 4
    assert result.judge is not None
    assert result.judge.score_method == "single"


@pytest.mark.parametrize(
    "fields", [{}, {"criteria": "c", "min": 5, "max": 5}, {"criteria": "c", "min": 1.5}]
)
def test_g_eval_needs_something_to_ask_and_a_range(fields: dict[str, Any]) -> None:
    """Neither criteria nor steps, an empty range and broken numbers are refused."""
    with pytest.raises(ValidationError):
        parse_criteria([{"type": "g_eval", **fields}])


def test_a_checklist_scores_the_weighted_share() -> None:
    """An item of weight 3 that is met, beside one of weight 1 that is not, gives three quarters."""
    answer = {
        "item_1": {"reasoning": "long", "verdict": "no"},
        "item_2": {"reasoning": "so it is", "verdict": "yes"},
    }
    found = finding(CHECKLIST, f"Here it is:\n```json\n{json.dumps(answer)}\n```")
    assert found.score == pytest.approx(0.75)
    assert [each["met"] for each in found.value] == [False, True]
    assert found.explanation == "not met: short\nmet: right"


@pytest.mark.parametrize(
    "answer", [{"item_1": {"verdict": "yes"}}, {"item_1": "yes", "item_2": {"verdict": "perhaps"}}]
)
def test_a_checklist_without_every_verdict_is_unreadable(answer: Any) -> None:
    """A share of some of the items would be the score of another checklist."""
    with pytest.raises(AnswerUnreadable):
        finding(CHECKLIST, json.dumps(answer))


def test_a_cut_checklist_is_truncated() -> None:
    """Half an object is no verdict."""
    with pytest.raises(AnswerTruncated):
        finding(CHECKLIST, '{"item_1": {"verdict": "yes"}, "item_2": {', "length")


@pytest.mark.parametrize(
    ("said", "letter", "score"),
    [
        ('{"verdict": "subset"}', "A", 0.4),
        ('{"verdict": "B"}', "B", 0.6),
        ("The two agree.\nVerdict: C", "C", 1.0),
        ("(D)", "D", 0.0),
        ("Verdict: immaterial", "E", 1.0),
    ],
)
def test_factuality_has_five_relations(said: str, letter: str, score: float) -> None:
    """By name or by letter, each is worth what the published scores say."""
    found = finding({"type": "factuality"}, said)
    assert (found.value, found.score) == (letter, score)


def test_an_article_is_no_letter() -> None:
    """In "a superset" the a is no verdict."""
    with pytest.raises(AnswerUnreadable):
        finding({"type": "factuality"}, "The output is a text that I like.")


def test_factuality_takes_other_scores() -> None:
    """A caller may hold a subset for right."""
    found = finding({"type": "factuality", "scores": {"subset": 1}}, '{"verdict": "A"}')
    assert found.score == 1


async def test_factuality_needs_a_reference() -> None:
    """Without one no judge is asked."""
    model = ScriptedModel()
    result = await one({"type": "factuality"}, FakeJudges(model))
    assert (result.reason, model.prompts) == ("reference_missing", [])


@pytest.mark.parametrize(("said", "score"), [("yes", 1.0), ("no", 0.0)])
def test_a_closed_question_is_met_or_not(said: str, score: float) -> None:
    """Yes is 1, no is 0."""
    found = finding({"type": "closed_qa", "criteria": "c"}, json.dumps({"verdict": said}))
    assert found.score == score
