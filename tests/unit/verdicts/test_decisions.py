"""What the answers of models that decide mean: taken as they are, or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from assay.domain.decision import TypedQuestion
from assay.domain.errors import DecisionUnusable
from assay.verdicts.decisions import read_decisions, typed_question
from assay.verdicts.scales import LabelScale, NumberScale
from fakes.judges import completion_of

YES_NO = LabelScale(("yes", "no"), {"true": "yes", "false": "no"})
TONES = LabelScale(("polite", "neutral", "rude"))
FIVE = NumberScale(1, 5, integer=True)
CHOSEN = {"polite": 0.7, "neutral": 0.2, "rude": 0.1}


def choice(**probabilities: Any) -> dict[str, Any]:
    return {"type": "choice", "choice": "polite", "probabilities": probabilities}


def levels(*probabilities: float) -> dict[str, Any]:
    return {"type": "score", "probabilities": dict(zip("0123456789", probabilities, strict=False))}


def read(answer: Any, scale: Any) -> Any:
    completion = completion_of(json.dumps({"verdict": answer}))
    return read_decisions(completion, {"": scale}, partly=False)[""]


@pytest.mark.parametrize(
    ("scale", "type_", "options"),
    [
        (YES_NO, "noul", ()),
        (LabelScale(("true", "false")), "noul", ()),
        (LabelScale(("true", "false", "both")), "choice", ("true", "false", "both")),
        (TONES, "choice", ("polite", "neutral", "rude")),
        (FIVE, "score", ("1", "2", "3", "4", "5")),
        (NumberScale(0, 1, integer=False), "score", ("0", "0.25", "0.5", "0.75", "1")),
        (NumberScale(1, 10, integer=True), "score", tuple(map(str, range(1, 11)))),
        (NumberScale(0, 10, integer=True), "score", ("0", "2", "5", "8", "10")),
        (NumberScale(-0.5, 2.5, integer=True), "score", ("0", "1", "2")),
    ],
)
def test_a_scale_is_asked_by_the_type_that_fits(scale, type_, options):
    """Yes or no, one of the labels, or levels in order: at most ten, else five."""
    asked = typed_question(scale, "How?")
    assert (asked.type, asked.options) == (type_, options)
    assert asked.instructions.startswith("How?")


def test_a_yes_or_no_says_what_true_means():
    """Rubrics are asked for pass and fail, where true would be a guess."""
    asked = typed_question(LabelScale(("pass", "fail"), {"true": "pass", "false": "fail"}), "Good?")
    assert asked == TypedQuestion("noul", 'Good?\n\nTrue means "pass", and false "fail".')


def test_the_most_probable_verdict_is_read_with_all_masses():
    """The excerpt shows them all, and the explanation says that there are no reasons."""
    reading = read(choice(**CHOSEN), TONES)
    assert reading.value == "polite"
    assert reading.masses == pytest.approx(CHOSEN)
    assert reading.excerpted.method == "probability"
    assert reading.excerpt == "polite: 0.7, neutral: 0.2, rude: 0.1"
    assert "no reasons" in reading.explanation
    assert read({"type": "noul", "noul": 0.25}, YES_NO).masses == {"yes": 0.25, "no": 0.75}
    assert read(levels(0, 0.1, 0.2, 0.6, 0.1), FIVE).masses == pytest.approx(
        {1: 0, 2: 0.1, 3: 0.2, 4: 0.6, 5: 0.1}
    )


def test_sums_of_rounded_probabilities_are_taken():
    """Servers print two digits: 0.99 is a whole distribution, and is scaled to one."""
    masses = read(choice(polite=0.65, neutral=0.2, rude=0.14), TONES).masses
    assert sum(masses.values()) == pytest.approx(1.0)


def test_a_choice_a_hundredth_below_the_top_is_rounding():
    """The most probable verdict is read all the same."""
    near = choice(polite=0.40, neutral=0.41, rude=0.19)
    assert read(near, TONES).value == "neutral"


def test_levels_that_tie_are_a_mean_and_labels_that_tie_are_none():
    """A number between two levels is an answer; a label between two labels is a guess."""
    assert read(levels(0.5, 0, 0, 0, 0.5), FIVE).masses == {1: 0.5, 2: 0, 3: 0, 4: 0, 5: 0.5}
    with pytest.raises(DecisionUnusable, match="'polite' and 'neutral' with the same"):
        read(choice(polite=0.45, neutral=0.45, rude=0.1), TONES)
    with pytest.raises(DecisionUnusable, match="'yes' and 'no' with the same"):
        read({"type": "noul", "noul": 0.5}, YES_NO)


@pytest.mark.parametrize("value", [1.2, -0.1, 1.0000001, True, "0.9", None, [0.9], {}, 1e308])
def test_what_is_no_probability_is_not_read(value):
    """Beyond 0..1, a truth value, a text, nothing: no score is made of it."""
    with pytest.raises(DecisionUnusable, match="not a number from 0 to 1"):
        read({"type": "noul", "noul": value}, YES_NO)
    with pytest.raises(DecisionUnusable, match="not a number from 0 to 1"):
        read(choice(**{**CHOSEN, "rude": value}), TONES)


@pytest.mark.parametrize(
    ("answer", "scale", "fault"),
    [
        (None, YES_NO, "no answer of the type 'noul'"),
        ("yes", YES_NO, "no answer of the type 'noul'"),
        ([], YES_NO, "no answer of the type 'noul'"),
        ({}, YES_NO, "no answer of the type 'noul'"),
        ({"type": "noul"}, YES_NO, "not a number"),
        ({"noul": 0.9}, YES_NO, "no answer of the type 'noul'"),
        ({"type": "noul", "noul": 0.9}, TONES, "no answer of the type 'choice'"),
        (choice(**CHOSEN), FIVE, "no answer of the type 'score'"),
        ({"type": "choice", "choice": "polite"}, TONES, "for each verdict"),
        (choice(polite=0.9, neutral=0.1), TONES, "for each verdict"),
        (choice(**CHOSEN, cruel=0.0), TONES, "for each verdict"),
        (choice(Polite=0.7, neutral=0.2, rude=0.1), TONES, "for each verdict"),
        (choice(polite=0.7, neutral=0.2, rude=0.2), TONES, "add up to 1.1"),
        (choice(polite=0, neutral=0, rude=0), TONES, "add up to 0"),
        (choice(polite=0.1, neutral=0.8, rude=0.1), TONES, "not the most probable"),
        ({**choice(**CHOSEN), "choice": "cruel"}, TONES, "not the most probable"),
        ({**choice(**CHOSEN), "choice": None}, TONES, "not the most probable"),
        (levels(0.5, 0.5), FIVE, "for each verdict"),
        (levels(0.2, 0.2, 0.2, 0.2, 0.1, 0.1), FIVE, "for each verdict"),
        ({"type": "score", "score": 3, "probabilities": [0, 0, 1, 0, 0]}, FIVE, "for each verdict"),
        (levels(0.2, 0.2, 0.2, 0.2, 0.1), FIVE, "add up to 0.9"),
    ],
)
def test_an_answer_that_does_not_fit_is_not_read(answer, scale, fault):
    """Another type, verdicts missing or more, sums that are not one, a contradiction."""
    with pytest.raises(DecisionUnusable, match=fault):
        read(answer, scale)


@pytest.mark.parametrize("partly", [True, False])
def test_an_answer_that_was_not_asked_for_spoils_all(partly):
    """The answers may be those of another request."""
    good = {"type": "noul", "noul": 0.9}
    completion = completion_of(json.dumps({"a": good, "b": good, "other": good}))
    with pytest.raises(DecisionUnusable, match="'other', which was not asked"):
        read_decisions(completion, {"a": YES_NO, "b": YES_NO}, partly=partly)


def test_questions_of_several_criteria_are_read_apart():
    """Of one criterion, one bad answer leaves nothing; of several, it leaves the others."""
    answers = {"a": {"type": "noul", "noul": 0.9}, "b": {"type": "noul", "noul": 7}}
    scales = {"a": YES_NO, "b": YES_NO}
    found = read_decisions(completion_of(json.dumps(answers)), scales, partly=True)
    assert found.keys() == {"a"}
    with pytest.raises(DecisionUnusable, match="not a number"):
        read_decisions(completion_of(json.dumps(answers)), scales, partly=False)
    with pytest.raises(DecisionUnusable):
        read_decisions(completion_of("{}"), scales, partly=True)
