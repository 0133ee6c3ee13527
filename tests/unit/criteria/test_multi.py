"""OpenAI's multi grader: a formula over other graders, which never invents a number."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from assay.criteria import parse_criteria
from assay.criteria.composite.formula import Formula
from assay.domain.evaluation import Case
from assay.domain.expressions import ExpressionError
from fakes.engine import evaluated, one
from fakes.judges import FakeJudges, ScriptedModel

EXACT = {"type": "string_check", "name": "exact", "operation": "eq"}
CLOSE = {"type": "text_similarity", "name": "close", "evaluation_metric": "fuzzy_match"}
JUDGED = {
    "type": "score_model", "name": "judged", "model": "gpt-6-luna", "range": [1, 5],
    "input": [{"role": "user", "content": "{{sample.output_text}}"}],
}  # fmt: skip
CASE = Case("Paris", reference=("Paris",))


def multi(formula: str, *graders: dict[str, Any], **more: Any) -> dict[str, Any]:
    named = {grader["name"]: grader for grader in graders}
    return {"type": "multi", "graders": named, "calculate_output": formula, **more}


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("a + b * 2", 3.5),
        ("2 ^ 3 ^ 2", 512),
        ("-a ^ 2", -0.25),
        ("(a + b) / 4", 0.5),
        ("min(a, b, 1) + max(a)", 1.0),
        ("abs(a - b) + floor(b) + ceil(a)", 3.0),
        ("exp(0) + sqrt(4) + log(1)", 3.0),
        (" 1e2 - a ", 99.5),
    ],
)
def test_a_formula_has_the_value_of_its_arithmetic(formula: str, value: float) -> None:
    """`^` is a power, which binds to the right and before a sign."""
    assert Formula.parse(formula, ("a", "b")).value({"a": 0.5, "b": 1.5}) == pytest.approx(value)


@pytest.mark.parametrize(
    "formula",
    [
        "", "a +", "c", "a if b else 1", "a == b", "a.b", "a[0]", "[a]", "'a'", "True", "1j",
        "__import__('os')", "lambda: a", "min()", "sqrt(a, b)", "log", "min(*a)", "min(a, key=b)",
        "a := 1", "a // b", "a % b", "~a", "1e400", "9" * 400, "-" * 3_000 + "a",
        "(" * 300 + "a" + ")" * 300, "+".join("a" for _ in range(600)), "a" * 5_000, "a\nb", "a\0",
    ],
)  # fmt: skip
def test_what_is_no_formula_is_refused_when_it_is_read(formula: str) -> None:
    """Bombs, unknown names and all of Python that is not arithmetic are errors of the request."""
    with pytest.raises(ExpressionError):
        Formula.parse(formula, ("a", "b"))
    if formula:
        with pytest.raises(ValidationError) as caught:
            parse_criteria([multi(formula, {**EXACT, "name": "a"}, {**CLOSE, "name": "b"})])
        assert caught.value.errors()[0]["loc"] == (0, "calculate_output")


@pytest.mark.parametrize(
    "formula", ["1 / a", "log(a)", "sqrt(-1 + a)", "9 ^ 9 ^ 9 ^ 9", "exp(1000)", "1e300 * 1e300",
                "1e300 * 1e300 * a", "(0 - 1) ^ 0.5"]
)  # fmt: skip
def test_a_formula_without_a_finite_value_has_none(formula: str) -> None:
    """Division by zero, overflow and NaN are errors, never a number."""
    with pytest.raises(ExpressionError):
        Formula.parse(formula, ("a",)).value({"a": 0.0})


@given(st.text(alphabet="ab019.+-*/^(),minaxlogexpsqrt ", max_size=60))
def test_no_text_does_anything_but_arithmetic(text: str) -> None:
    """Whatever is read has a finite value or is an error."""
    try:
        value = Formula.parse(text, ("a", "b")).value({"a": 0.5, "b": 2.0})
    except ExpressionError:
        return
    assert math.isfinite(value)


@pytest.mark.parametrize(
    "graders",
    [
        {"exact": EXACT, "close": {**CLOSE, "name": "other"}},
        [EXACT, CLOSE],
    ],
)
async def test_the_value_is_the_formulas(graders: Any) -> None:
    """Graders are given by their names or in a list; the names in the formula are those."""
    criterion = {"type": "multi", "graders": graders, "calculate_output": "exact + close"}
    result = await one(criterion, FakeJudges(), Case("Paris", reference=("Pari",)))
    assert result.value == pytest.approx(8 / 9)
    assert (result.status, result.passed) == ("scored", True)
    assert "exact 0" in result.explanation


async def test_a_number_beyond_the_range_is_kept_and_its_score_is_cut() -> None:
    """`value` is what the formula says; the score is its place between the bounds."""
    result = await one(multi("2 * exact + 1", EXACT, pass_threshold=3.5), FakeJudges(), CASE)
    assert (result.value, result.score, result.passed) == (3, 1, False)
    ranged = multi("exact + 1", EXACT, range=[0, 4], pass_threshold=2)
    result = await one(ranged, FakeJudges(), CASE)
    assert (result.value, result.score, result.passed) == (2, 0.5, True)


async def test_a_judged_part_counts_with_its_own_number_and_what_it_took() -> None:
    """A score model counts on its range's scale; its cost and its calls are the multi's."""
    judge = ScriptedModel(json.dumps({"reasoning": "r", "score": 4}))
    result = await one(
        multi("judged / 10 + exact", EXACT, JUDGED), FakeJudges(**{"gpt-6-luna": judge}), CASE
    )
    assert result.value == pytest.approx(1.4)
    assert result.judge is not None
    assert result.judge.requested == "gpt-6-luna"
    assert result.usage.input_tokens > 0


async def test_a_part_without_a_verdict_leaves_the_whole_unscored() -> None:
    """The reason is the part's, and its name is said; nothing counts as 0."""
    judge = ScriptedModel("no verdict at all", "again none")
    result = await one(
        multi("judged + exact", EXACT, JUDGED), FakeJudges(**{"gpt-6-luna": judge}), CASE
    )
    assert (result.status, result.reason, result.score) == ("unscored", "judge_parse_error", None)
    assert result.explanation.startswith("judged: ")
    lacking = multi("exact", {**EXACT, "input": "{{item.nothing}}"})
    result = await one(lacking, FakeJudges(), CASE)
    assert (result.status, result.reason) == ("unscored", "variable_missing")
    result = await one(multi("1 / (1 - exact)", EXACT), FakeJudges(), CASE)
    assert (result.reason, result.explanation) == ("check_error", "The formula divides by zero.")


async def test_a_required_multi_of_checks_stops_before_judges_are_asked() -> None:
    """It is decided with the other checks."""
    judge = ScriptedModel("never asked")
    evaluation = await evaluated(
        [multi("exact", EXACT, required=True), JUDGED],
        FakeJudges(**{"gpt-6-luna": judge}),
        Case("Rome", reference=("Paris",)),
    )
    assert [result.status for result in evaluation.results] == ["scored", "skipped"]
    assert not judge.prompts


async def test_the_results_are_those_of_the_request_alone() -> None:
    """Parts are no results of their own, and they cost once."""
    evaluation = await evaluated([multi("exact", EXACT), EXACT], FakeJudges(), CASE)
    assert [result.type for result in evaluation.results] == ["multi", "string_check"]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"graders": {}}, "graders"),
        ({"graders": {"a": {"type": "contains", "value": "x"}}}, "graders"),
        ({"graders": [CLOSE, CLOSE]}, "graders"),
        ({"range": [1, 0]}, "range"),
        ({"graders": {"exact": {**EXACT, "operation": "neq"}}}, "graders"),
    ],
)
def test_a_faulty_multi_is_refused(change: dict[str, Any], place: str) -> None:
    """The error names the field at fault."""
    with pytest.raises(ValidationError) as caught:
        parse_criteria([{**multi("exact", EXACT), **change}])
    assert caught.value.errors()[0]["loc"][1] == place
