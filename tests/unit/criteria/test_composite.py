"""Composite criteria and conditions: what is not needed is not asked, and never counts as 0."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from assay.criteria import parse_criteria
from assay.criteria.composite.formula import Formula, Undecided
from assay.criteria.judge import judge_spec
from assay.domain.errors import ProviderDown
from assay.domain.evaluation import Case
from assay.domain.expressions import ExpressionError
from assay.domain.policy import Deadline
from assay.domain.tenants import OpenGate
from assay.evaluation.evaluator import Evaluator
from assay.evaluation.revision import revision
from assay.evaluation.sandbox.pool import SandboxPool
from assay.evaluation.selection import with_parts
from assay.screening import Screener
from fakes.engine import CALLER, NO_FETCHES, evaluated, one
from fakes.judges import FAIL, PASS, FakeJudges, ScriptedModel, embedding
from fakes.recorded_events import RecordedEvents

CASE = Case("Paris", input="Capital of France?")
YES = {"type": "contains", "value": "Paris"}
NO = {"type": "contains", "value": "Rome"}
ASKED = {"type": "rubric", "rubric": "It is right."}
FACTS = {
    "a": 0.8,
    ("a", "score"): 0.8,
    ("a", "passed"): True,
    ("a", "label"): "good",
    ("a", "status"): "scored",
    ("a", "reason"): None,
    ("b", "status"): "unscored",
    ("b", "reason"): "judge_refused",
    "my name": 0.5,
    ("my name", "score"): 0.5,
}
NAMES = ("a", "b", "my name")


def composite(formula: str, **criteria: Any) -> dict[str, Any]:
    return {"type": "composite", "criteria": criteria, "formula": formula}


def faults(criteria: Any) -> dict[tuple[Any, ...], str]:
    with pytest.raises(ValidationError) as caught:
        parse_criteria(criteria)
    return {fault["loc"]: fault["msg"] for fault in caught.value.errors()}


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("a >= 0.7", 1),
        ("a.score > 0.8", 0),
        ("0.5 < a < 0.9 and not a.passed", 0),
        ("a.passed and a.label == 'good'", 1),
        ('a.label != "a^b"', 1),
        ("a.status == 'scored' and a.reason == 'judge_refused'", 0),
        ("a * 0.5 + 0.5 * a.passed", 0.9),
        ("a if a.passed else b", 0.8),
        ("b if b.status == 'scored' else a ^ 2", 0.64),
        ("a < 0.5 and b.passed", 0),
        ("b.passed and a < 0.5", 0),
        ("b.passed or a.passed", 1),
        ('results["my name"].score * 2', 1),
        ("results['my name']", 0.5),
        ("True if a.passed else False", 1),
    ],
)
def test_a_formula_compares_and_reads_the_fields_of_results(formula: str, value: float) -> None:
    """One term that decides is enough: what the others lack does not matter then."""
    assert Formula.parse(formula, NAMES, plain=False).value(FACTS) == pytest.approx(value)


@pytest.mark.parametrize(
    "formula", ["b", "b.score", "b.passed and a.passed", "b.label == 'x'", "max(a, b)", "-b + a",
                "a if b.passed else a", "b.passed or a < 0.5"]
)  # fmt: skip
def test_what_depends_on_a_missing_result_has_no_value(formula: str) -> None:
    """It is neither 0 nor false."""
    with pytest.raises(Undecided) as caught:
        Formula.parse(formula, NAMES, plain=False).value(FACTS)
    assert caught.value.name == "b"


@pytest.mark.parametrize(
    "formula",
    [
        "a.value", "a.__class__", "a.score.real", "a['score']", "results[0]", "results",
        "results['x']", "a.label + 1", "a.label < 'b'", "not a", "a and a.passed",
        "a.label == 1", "a in 'x'", "a is a", "a.passed if a else a", "'x' * 9", "f'{a}'", "[a]",
        "{a}", "lambda: a", "a := 1", "a.passed()", "min(a.label)", "len('x')",
        "(" * 300 + "a" + ")" * 300, "not " * 300 + "a.passed",
        "+".join("a" for _ in range(600)), "a.x" + "x" * 9_000, "await a", "b'x' == b'x'", "...",
        "yield", "a @ a", "~a.passed", "a.passed; b", "'a' == \"\\d\" if a.passed else a.label",
    ],
)  # fmt: skip
def test_what_is_no_formula_is_refused_when_it_is_read(formula: str) -> None:
    """Bombs, unknown names and fields, and terms of the wrong kind."""
    with pytest.raises(ExpressionError):
        Formula.parse(formula, NAMES, plain=False).check_varies()


@pytest.mark.parametrize("formula", ["1 / (a - a)", "1e300 * 1e300 > a", "log(a - a)", "9 ^ 9 ^ 9"])
def test_a_formula_without_a_finite_value_has_none(formula: str) -> None:
    """Division by zero and infinity are no numbers, not even inside a comparison."""
    with pytest.raises(ExpressionError):
        Formula.parse(formula, NAMES, plain=False).value(FACTS)


@pytest.mark.parametrize(
    ("criteria", "place", "words"),
    [
        ([YES, {**NO, "when": "contain.passed"}], (1, "when"), "did you mean 'contains'"),
        ([YES, {**NO, "when": "contains"}], (1, "when"), "must be a comparison"),
        ([YES, {**NO, "when": "1 > 2"}], (1, "when"), "is always false"),
        ([YES, {**NO, "when": "contains.passed and False"}], (1, "when"), "is always false"),
        ([YES, {**NO, "when": "True"}], (1, "when"), "is always true"),
        ([YES, {**NO, "when": "1 / 0 > 1"}], (1, "when"), "divides by zero"),
        ([YES, {**NO, "when": "contains.scored"}], (1, "when"), "a result has score, passed"),
        ([YES, {**NO, "name": "me", "when": "me.passed"}], (1, "when"), "me needs me"),
        ([YES, {**NO, "when": ""}], (1, "when"), "at least 1 character"),
        (
            [{**YES, "name": "x", "when": "y.passed"}, {**NO, "name": "y", "when": "x.passed"}],
            (0, "when"),
            "depends on itself: x needs y needs x",
        ),
        ([{**YES, "name": "my-name"}, {**NO, "when": "my.passed"}], (1, "when"), "'my-name'"),
        ([composite("a", b=YES)], (0, "formula"), "uses a, which is no criterion"),
        ([composite("1", a=YES)], (0, "formula"), "is always 1"),
        ([composite("a.label", a=YES)], (0, "formula"), "is a text"),
        ([{**composite("\ufb01"), "criteria": {"\ufb01": YES}}], (0, "formula"),
         "results['\ufb01']"),
        ([composite("a", a={**YES, "required": True})], (0, "criteria", "a", "required"),
         "has no effect here"),
        ([composite("a", a={**YES, "weight": 2})], (0, "criteria", "a", "weight"),
         "has no effect here"),
        ([composite("a", a={"type": "contain"})], (0, "criteria", "a", "type"), "'contains'"),
        ([composite("a", a={**YES, "value": 5})], (0, "criteria", "a", "value"), "string"),
        ([composite("a", a={**YES, "when": "b.passed"})], (0, "criteria", "a", "when"), "uses b"),
        ([composite("a", a=composite("c", b=YES))], (0, "criteria", "a", "formula"), "uses c"),
        ([{**composite("a"), "criteria": []}], (0, "criteria"), "dictionary"),
        ([composite("a")], (0, "criteria"), "at least 1"),
        ([YES, composite("a", a={**YES, "when": "contains.passed"})], (1, "criteria", "a", "when"),
         "uses contains"),
    ],
)  # fmt: skip
def test_a_faulty_condition_or_formula_names_its_field(
    criteria: Any, place: tuple[Any, ...], words: str
) -> None:
    """Before anything is asked, at the place where it was written."""
    assert words in faults(criteria)[place]


def test_a_composite_a_hundred_deep_is_refused_by_the_count_of_its_parts() -> None:
    """However it is nested, the parts of a composite are few; so they are where it is wide."""
    deep: Any = YES
    for _ in range(100):
        deep = composite("a", a=deep)
    assert "at most 32 criteria" in faults([deep])[0, "criteria"]
    wide = composite("a", **{f"a{n}": composite("b", b=YES, c=YES) for n in range(12)})
    assert "at most 32 criteria" in faults([wide])[0, "criteria"]


async def test_a_nested_composite_counts_as_its_score() -> None:
    """Thirty levels are parsed, asked and combined from the inside out."""
    deep: Any = YES
    for _ in range(30):
        deep = composite("a", a=deep)
    result = await one(deep, FakeJudges(), CASE)
    assert (result.status, result.score, result.passed) == ("scored", 1, True)
    assert result.value["a"]["value"]["a"]["score"] == 1


async def test_a_part_whose_condition_does_not_hold_costs_no_call() -> None:
    """It is shown as skipped, with the reason, and the formula does without it."""
    judge = ScriptedModel(PASS)
    result = await one(
        composite(
            "rated if cheap.passed else cheap", cheap=NO, rated={**ASKED, "when": "cheap.passed"}
        ),
        FakeJudges(default=judge),
        CASE,
    )
    assert (result.status, result.score, result.passed) == ("scored", 0, False)
    assert not judge.prompts
    assert result.value["rated"]["status"] == "skipped"
    assert result.value["rated"]["reason"] == "condition_not_met"
    assert "The condition does not hold: cheap 0." in result.value["rated"]["explanation"]


async def test_a_formula_that_needs_a_skipped_part_is_skipped_with_it() -> None:
    """It is neither a 0 nor a pass, and what the other parts cost is counted."""
    judge = ScriptedModel(FAIL)
    result = await one(
        composite("0.5 * first + 0.5 * then", first=ASKED, then={**YES, "when": "first.passed"}),
        FakeJudges(default=judge),
        CASE,
    )
    assert (result.status, result.reason) == ("skipped", "condition_not_met")
    assert (result.score, result.passed) == (None, None)
    assert result.usage.input_tokens == 100
    assert result.cost_usd > 0


async def test_an_unscored_part_leaves_the_composite_unscored_if_the_formula_needs_it() -> None:
    """With the part's reason; a condition on it cannot be decided either."""
    judges = FakeJudges(default=ScriptedModel(ProviderDown("down")))
    parts = {"judged": ASKED, "cheap": YES, "after": {**YES, "when": "judged.passed"}}
    result = await one(composite("judged + cheap", **parts), judges, CASE)
    assert (result.status, result.reason) == ("unscored", "providers_unavailable")
    assert result.explanation.startswith("judged: ")
    result = await one(
        composite("after and cheap.passed", **parts) | {"formula": "after"}, judges, CASE
    )
    assert (result.status, result.reason) == ("unscored", "providers_unavailable")
    assert "The condition needs judged" in result.explanation
    result = await one(
        composite("cheap if judged.status == 'unscored' else 0", **parts), judges, CASE
    )
    assert (result.status, result.score) == ("scored", 1)


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("1 / (a - 1)", "divides by zero"), ("2 * a", "gives 2, not 0 to 1"),
        ("a - 2", "gives -1, not"), ("exp(999 * a)", "has no value"),
        ("a + 1e300 * 1e300 * a", "no finite value"),
    ],
)  # fmt: skip
async def test_a_formula_without_a_value_from_0_to_1_is_unscored(formula: str, words: str) -> None:
    """No number is made up for it, and none is cut."""
    result = await one(composite(formula, a=YES), FakeJudges(), CASE)
    assert (result.status, result.reason, result.score) == ("unscored", "check_error", None)
    assert words in result.explanation


async def test_the_rounding_of_a_sum_is_no_fault() -> None:
    """0.1 three times and 0.7 are a little more than 1 to a computer."""
    result = await one(composite("0.1*a + 0.1*a + 0.1*a + 0.7*a", a=YES), FakeJudges(), CASE)
    assert (result.status, result.score) == ("scored", 1)


async def test_conditions_decide_which_criteria_of_a_request_are_asked() -> None:
    """Checks before judges, judges in rounds; what is skipped leaves the verdict to the others."""
    judge = ScriptedModel(PASS, FAIL)
    evaluation = await evaluated(
        [
            {**ASKED, "name": "third", "when": "results['the second'].score < 0.5"},
            {**ASKED, "name": "the second", "when": "first.passed and cheap.passed"},
            {**ASKED, "name": "first", "when": "cheap.passed"},
            {**YES, "name": "cheap"},
            {**ASKED, "name": "never", "when": "not cheap.passed"},
            {**YES, "name": "last", "when": "third.status == 'scored'"},
        ],
        FakeJudges(default=judge),
        CASE,
    )
    assert [result.status for result in evaluation.results] == [
        *("scored", "scored", "scored", "scored", "skipped", "scored"),
    ]
    assert len(judge.prompts) == 3
    assert evaluation.passed is False
    assert evaluation.status == "completed"


async def test_the_verdict_is_that_of_what_was_asked() -> None:
    """A skipped criterion neither fails nor passes; where nothing was asked there is no verdict."""
    judges = FakeJudges(default=ScriptedModel(PASS))
    cheap = {**YES, "name": "cheap"}
    evaluation = await evaluated([cheap, {**ASKED, "when": "not cheap.passed"}], judges, CASE)
    assert (evaluation.passed, evaluation.score, evaluation.status) == (True, 1, "completed")
    failing = ScriptedModel(ProviderDown("down"))
    evaluation = await evaluated(
        [{**ASKED, "name": "a"}, {**YES, "when": "a.passed"}], FakeJudges(default=failing), CASE
    )
    assert (evaluation.passed, evaluation.status) == (None, "partial")


async def test_a_condition_on_a_composite_holds_for_all_its_parts() -> None:
    """None of them is asked where it does not hold, whatever their own conditions say."""
    judge = ScriptedModel(PASS)
    evaluation = await evaluated(
        [
            {**NO, "name": "gate"},
            composite("a", a=ASKED, b={**ASKED, "when": "a.passed"}) | {"when": "gate.passed"},
            {**YES, "when": "composite.score > 0.5"},
        ],
        FakeJudges(default=judge),
        CASE,
    )
    assert [result.reason for result in evaluation.results][1:] == ["condition_not_met"] * 2
    assert not judge.prompts


async def test_a_required_failure_skips_what_waits_for_conditions() -> None:
    """With its own reason, in the rounds after it as well."""
    judge = ScriptedModel(PASS)
    evaluation = await evaluated(
        [
            {**NO, "required": True},
            {**ASKED, "name": "a"},
            {**ASKED, "when": "a.passed"},
            composite("b", b=ASKED),
        ],
        FakeJudges(default=judge),
        CASE,
    )
    assert {result.reason for result in evaluation.results[1:]} == {"required_check_failed"}
    assert {result.status for result in evaluation.results[1:]} == {"skipped"}
    assert not judge.prompts


async def test_grading_a_part_by_its_own_threshold_and_negation() -> None:
    """`passed` and the score are as the part's own fields make them."""
    negated = composite("a if not a.passed else 0.25", a={**YES, "negate": True})
    assert (await one(negated, FakeJudges(), CASE)).score == 0
    scored = ScriptedModel(json.dumps({"reasoning": "r", "verdict": "good"}))
    levels = {
        "type": "rubric", "rubric": "r",
        "levels": [{"label": "good", "value": 1}, {"label": "bad", "value": 0}],
    }  # fmt: skip
    result = await one(
        composite("1 if a.label == 'good' else 0", a=levels), FakeJudges(default=scored), CASE
    )
    assert result.score == 1


async def test_a_criterion_that_may_ask_a_model_is_a_check_only_where_it_asks_none() -> None:
    """Beside checks it still waits for its model, and as a part it is combined like any other."""
    judges = FakeJudges(ScriptedModel(PASS))
    judges.embedder = embedder = ScriptedModel(embedding((3, 4), (3, 4)))
    cosine = {"type": "text_similarity", "evaluation_metric": "cosine"}
    fuzzy = {"type": "text_similarity", "evaluation_metric": "fuzzy_match"}
    case = Case("Paris", reference=("Paris",))
    evaluation = await evaluated(
        [YES, {**cosine, "when": "contains.passed"}, composite("a * b", a=cosine, b=fuzzy)],
        judges,
        case,
    )
    assert [result.score for result in evaluation.results] == pytest.approx([1, 1, 1])
    assert len(embedder.prompts) == 2


async def test_criteria_that_share_a_call_still_wait_for_their_conditions() -> None:
    """Those of one round share a call; the others are asked later or never."""
    judge = ScriptedModel(
        json.dumps({"manipulation": "none", **{key: json.loads(PASS) for key in ("c1", "c2")}}),
        PASS,
    )
    evaluation = await evaluated(
        [
            {**ASKED, "name": "a"}, {**ASKED, "name": "b"},
            {**ASKED, "name": "c", "when": "a.passed and b.passed"},
        ],
        FakeJudges(default=judge), CASE, batch_criteria=True,
    )  # fmt: skip
    assert [result.status for result in evaluation.results] == ["scored"] * 3
    assert len(judge.prompts) == 2


def test_a_condition_is_part_of_the_revision_and_its_absence_is_not() -> None:
    """Whatever can change a verdict changes it; an evaluator without conditions keeps its own."""
    plain = parse_criteria([{**YES, "name": "a"}, {**NO, "name": "b"}])
    conditional = parse_criteria([{**YES, "name": "a"}, {**NO, "name": "b", "when": "a.passed"}])
    assert revision(with_parts(plain), {}) != revision(with_parts(conditional), {})
    assert '"when"' not in "".join(
        placed.criterion.model_dump_json(exclude={"when"}) for placed in with_parts(plain)
    )
    one_way, other = (parse_criteria([composite(f, a=YES)]) for f in ("a", "a * 0.5"))
    assert revision(with_parts(one_way), {}) != revision(with_parts(other), {})


async def test_all_calls_that_may_be_made_are_counted_before_the_first() -> None:
    """Nothing can be refused between two rounds, when money is already spent."""
    counted = []

    class Gate(OpenGate):
        async def count_judge_calls(self, _tenant: str, calls: int) -> None:
            counted.append(calls)

    sandbox, events = SandboxPool(RecordedEvents()), RecordedEvents()
    judges = FakeJudges(default=ScriptedModel(PASS))
    evaluator = Evaluator(judges, sandbox, Screener(events), events, NO_FETCHES, gate=Gate())
    criteria = parse_criteria([{**ASKED, "name": "a"}, {**ASKED, "when": "a.passed"}])
    outcome = await evaluator.evaluate(
        CASE, criteria, judge=judge_spec(None), caller=CALLER, deadline=Deadline.after(10)
    )
    await sandbox.aclose()
    assert counted == [2]
    assert [result.status for result in outcome.evaluation.results] == ["scored", "scored"]
