"""OpenAI's graders, as their users have them in hand."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pydantic import ValidationError

from assay.criteria import parse_criteria
from assay.criteria.base import Check
from assay.criteria.placeholders import fill
from assay.domain.completion import Caller
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case, Evaluation, JudgeSpec
from assay.domain.policy import Deadline
from assay.evaluation.sandbox.pool import SandboxPool
from fakes.engine import engine
from fakes.judges import FakeJudges, ScriptedModel
from fakes.recorded_events import RecordedEvents

CASE = Case("Hello, World", reference=("hello, world",), input="Greet.")
SCORE_MODEL = {
    "type": "score_model",
    "name": "closeness",
    "model": "gpt-6-luna",
    "input": [
        {"role": "system", "content": "Compare two texts."},
        {"type": "message", "role": "user", "content": "{{sample.output_text}} {{item.reference}}"},
    ],
    "range": [1, 7],
    "pass_threshold": 5,
    "sampling_params": {
        "seed": 42, "temperature": 0.5, "top_p": 0.9, "max_completions_tokens": 512,
        "reasoning_effort": "low",
    },
}  # fmt: skip
LABEL_MODEL = {
    "type": "label_model",
    "name": "tone",
    "model": "gpt-6-luna",
    "input": [
        {"role": "user", "content": {"type": "input_text", "text": "{{ sample.output_text }}"}}
    ],
    "labels": ["positive", "neutral", "negative"],
    "passing_labels": ["positive", "neutral"],
}


def string_check(operation: str, reference: str, text: str = "{{sample.output_text}}") -> float:
    grader = {"type": "string_check", "name": "n", "input": text, "reference": reference}
    [criterion] = parse_criteria([{**grader, "operation": operation}])
    assert isinstance(criterion, Check)
    return criterion.check(CASE).score


async def judged(grader: dict[str, Any], model: ScriptedModel) -> Evaluation:
    outcome = await engine(
        FakeJudges(**{"gpt-6-luna": model}), SandboxPool(RecordedEvents())
    ).evaluate(
        CASE,
        parse_criteria([grader]),
        judge=JudgeSpec(),
        caller=Caller(),
        deadline=Deadline.after(10),
    )
    return outcome.evaluation


@pytest.mark.parametrize(
    ("operation", "reference", "expected"),
    [
        ("eq", "Hello, World", 1),
        ("eq", "{{item.reference}}", 0),
        ("ne", "{{ item.reference }}", 1),
        ("ne", "Hello, World", 0),
        ("like", "World", 1),
        ("like", "world", 0),
        ("ilike", "WORLD", 1),
        ("ilike", "{{item.reference}}", 1),
        ("ilike", "Rome", 0),
    ],
)
def test_string_check(operation: str, reference: str, expected: float) -> None:
    """eq and ne compare whole texts, like and ilike look for the reference in the input."""
    assert string_check(operation, reference) == expected


def test_a_template_may_reach_into_json() -> None:
    """`sample.output_json` has the members of an output that is JSON, and no others."""
    grader = {"type": "string_check", "operation": "eq", "reference": "Paris"}
    [criterion] = parse_criteria([{**grader, "input": "{{sample.output_json.city.names.0}}"}])
    assert isinstance(criterion, Check)
    output = json.dumps({"city": {"names": ["Paris"]}})
    assert criterion.check(Case(output)).score == 1
    with pytest.raises(NotApplicable):
        criterion.check(Case("{}"))


def test_what_a_case_says_is_not_a_template() -> None:
    """Braces in the output are compared as they are, never filled in."""
    [criterion] = parse_criteria(
        [{"type": "string_check", "operation": "eq", "reference": "{{item.input}}"}]
    )
    assert isinstance(criterion, Check)
    assert criterion.check(Case("{{item.reference}}", input="{{item.reference}}")).score == 1


@pytest.mark.parametrize("name", ["item", "item.", "sample", "config.secret", "item[x]"])
def test_an_unknown_placeholder_is_an_error_of_the_request(name: str) -> None:
    """What can be no variable is refused when the grader is read, at the field that names it."""
    with pytest.raises(ValidationError) as caught:
        string_check("eq", f"{{{{{name}}}}}")
    [error] = caught.value.errors()
    assert (error["loc"], error["type"]) == ((0, "reference"), "unknown_placeholder")


ITEM = Case(
    "out",
    reference=("plain",),
    fields={
        "question": "why?", "Ground Truth": "x", "tags": ["a", {"b": 2}], "none": None,
        "input": "own", "straße": "z",
    },
    sample={"output_text": "said", "choices": [{"message": {"content": "hi"}}]},
)  # fmt: skip


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{item.question}} {{ item.input }}", "why? own"),
        ("{{ item.Ground Truth }}", "x"),
        ("{{item.tags.0}}{{item.tags[1].b}}{{item['tags'][1]['b']}}", "a22"),
        ("{{item.tags}}", '["a", {"b": 2}]'),
        ("{{item.none}}", "null"),
        ("{{item.straße}}", "z"),
        ("{{item.reference}}", "plain"),
        ("{{sample.output_text}} {{sample.choices[0].message.content}}", "said hi"),
    ],
)
def test_a_template_reads_any_column_of_the_row(template: str, text: str) -> None:
    """Paths lead into nested values; a row's own column goes before the field of a like name."""
    assert fill(template, ITEM) == text


@pytest.mark.parametrize(
    "name",
    ["item.colour", "item.question.deeper", "item.tags.9", "sample.__class__", "item.none.x"],
)
def test_a_variable_that_the_case_lacks_is_no_empty_text(name: str) -> None:
    """The criterion is unscored, and the reason names the variable."""
    with pytest.raises(NotApplicable, match=re.escape(name)) as caught:
        fill(f"{{{{{name}}}}}", ITEM)
    assert caught.value.reason == "variable_missing"


def test_a_row_without_a_sample_has_no_output() -> None:
    """An empty sample is none: no verdict is made about an empty output."""
    with pytest.raises(NotApplicable):
        fill("{{sample.output_text}}", Case("", sample={}))


@pytest.mark.parametrize(("given", "passed"), [(4.9, False), (5, True), (7, True)])
async def test_a_score_model_passes_from_its_own_threshold(given: float, passed: bool) -> None:
    """The value stays on the range's scale, the score and the threshold are scaled to 0..1."""
    answer = json.dumps({"reasoning": "r", "score": given})
    result = await judged(SCORE_MODEL, ScriptedModel(answer))
    [score] = result.results
    assert (score.name, score.value, score.passed) == ("closeness", given, passed)
    assert score.score == pytest.approx((given - 1) / 6)
    assert score.threshold == pytest.approx(4 / 6)


async def test_a_score_model_asks_its_own_model_with_its_parameters() -> None:
    """Model, temperature, seed and output limit are the grader's."""
    model = ScriptedModel('{"reasoning": "r", "score": 7}')
    result = await judged(SCORE_MODEL, model)
    sampling = model.prompts[0].sampling
    assert (sampling.temperature, sampling.seed, sampling.max_output_tokens) == (0.5, 42, 512)
    assert (sampling.top_p, sampling.reasoning_effort) == (0.9, "low")
    assert result.results[0].judge is not None
    assert result.results[0].judge.requested == "gpt-6-luna"


@pytest.mark.parametrize(("label", "passed"), [("neutral", True), ("negative", False)])
async def test_a_label_model_passes_on_its_passing_labels(label: str, passed: bool) -> None:
    """The label given decides; it is in the result."""
    answer = json.dumps({"reasoning": "r", "verdict": label})
    [score] = (await judged(LABEL_MODEL, ScriptedModel(answer))).results
    assert (score.label, score.passed) == (label, passed)


@pytest.mark.parametrize(
    "change",
    [
        {"range": [7, 1]},
        {"range": [1]},
        {"pass_threshold": 9},
        {"input": []},
        {"input": [{"role": "user", "content": {"type": "input_image", "image_url": "x"}}]},
        {"model": ""},
    ],
)
def test_a_faulty_grader_is_refused(change: dict[str, Any]) -> None:
    """Ranges out of order, thresholds out of reach, images and missing parts are errors."""
    with pytest.raises(ValidationError):
        parse_criteria([{**SCORE_MODEL, **change}])


def test_passing_labels_must_be_offered() -> None:
    """A passing label that no judge can give is refused."""
    with pytest.raises(ValidationError, match="passing_labels"):
        parse_criteria([{**LABEL_MODEL, "passing_labels": ["great"]}])
