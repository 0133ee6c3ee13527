"""The json_schema criterion: strict JSON, a bounded schema that stays at home, named faults."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from assay.criteria import parse_criteria
from assay.criteria.base import Check, Finding
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name"],
}


def check(output: str, schema: Any = PERSON, **fields: Any) -> Finding:
    [criterion] = parse_criteria([{"type": "json_schema", "schema": schema, **fields}])
    assert isinstance(criterion, Check)
    return criterion.check(Case(output))


def compiled(**fields: Any) -> None:
    [criterion] = parse_criteria([fields])
    assert isinstance(criterion, Check)
    criterion.compile()


def fault(schema: Any) -> tuple[Any, str]:
    """The place of the schema's fault within the criterion, and its type."""
    with pytest.raises(ValidationError) as caught:
        compiled(type="json_schema", schema=schema)
    [error] = caught.value.errors()
    return error["loc"][error["loc"].index("schema") :], error["type"]


def test_conforming_json_scores_one() -> None:
    """JSON that the schema accepts scores 1."""
    assert check('{"name": "Ada", "age": 36}').score == 1.0


def test_faults_are_named_with_their_places() -> None:
    """The explanation lists the faults, each with the place in the output."""
    finding = check('{"age": "old"}')
    assert finding.score == 0.0
    assert "/age" in finding.explanation
    assert "name" in finding.explanation


@pytest.mark.parametrize("output", ["", "{", "{'name': 1}", '{"name": NaN}', '{"name": "a"} ok'])
def test_only_strict_json_counts(output: str) -> None:
    """Empty, broken, trailing text and NaN are not JSON."""
    finding = check(output)
    assert finding.score == 0.0
    assert finding.explanation.startswith("not valid JSON")


def test_a_fence_is_accepted_where_allowed() -> None:
    """A single code block, of whatever language, counts with `allow_fence` alone."""
    for language in ("json", "", "JSON5"):
        fenced = f'```{language}\n{{"name": "Ada"}}\n```'
        assert check(fenced).score == 0.0
        assert check(fenced, allow_fence=True).score == 1.0
    assert check('{"name": "Ada"}', allow_fence=True).score == 1.0


@pytest.mark.parametrize("target", ["https://example.org/s.json", "other.json", "file:///etc/x"])
def test_a_reference_must_stay_within_the_schema(target: str) -> None:
    """A remote $ref is an error at the $ref itself; nothing is fetched."""
    place, kind = fault({"properties": {"a": {"items": [{"$ref": target}]}}})
    assert place == ("schema", "properties", "a", "items", 0, "$ref")
    assert kind == "remote_reference"


def test_a_local_reference_works() -> None:
    """$ref within the schema is followed."""
    schema = {"$defs": {"n": {"type": "integer"}}, "$ref": "#/$defs/n"}
    assert check("3", schema).score == 1.0
    assert check('"3"', schema).score == 0.0


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "no such type"},
        {"pattern": "("},
        {"pattern": "(?=look)ahead"},
        {"$ref": "#/$defs/missing"},
        {"$schema": "https://example.org/unknown"},
    ],
)
def test_an_invalid_schema_is_an_error_of_the_request(schema: Any) -> None:
    """What is no schema, or needs a backtracking pattern, cannot be compiled."""
    assert fault(schema) == (("schema",), "invalid_schema")


def test_the_schema_is_bounded_in_depth_and_size() -> None:
    """Too deep and too large schemas are refused before they are compiled."""
    deep: Any = {}
    for _ in range(100):
        deep = {"items": deep}
    assert fault(deep) == (("schema",), "schema_too_deep")
    large = {"enum": ["x" * 1000] * 200}
    assert fault(large) == (("schema",), "schema_too_large")


DATA = {"$ref": "other.json"}


@pytest.mark.parametrize(
    "schema",
    [
        {"const": DATA},
        {"enum": [1, DATA]},
        {"default": DATA},
        {"examples": [DATA]},
        {"properties": {"const": {"enum": [DATA]}, "$ref": {"const": "other.json"}}},
        {"allOf": [{"const": DATA}]},
    ],
)
def test_a_reference_within_data_is_data(schema: Any) -> None:
    """The values of enum, const, default and examples are no schemas."""
    assert check(json.dumps(DATA), schema).score == 1.0


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"const": DATA}},
        {"$defs": {"default": DATA}},
        {"patternProperties": {"enum": DATA}},
        {"dependentSchemas": {"examples": DATA}},
    ],
)
def test_a_property_may_be_called_like_a_keyword(schema: Any) -> None:
    """What is called "const" there is a schema, and its reference leaves the schema."""
    assert fault(schema)[1] == "remote_reference"


def test_a_schema_that_refers_to_itself_ends() -> None:
    """A circle of references neither hangs nor crashes."""
    assert check("1", {"$ref": "#"}).score == 1.0


@pytest.mark.parametrize("depth", [900, 100_000])
def test_an_output_nested_too_deeply_is_not_judged(depth: int) -> None:
    """Our limit of depth is no verdict on the output."""
    with pytest.raises(NotApplicable) as caught:
        check("[" * depth + "]" * depth, {"type": "object"})
    assert caught.value.reason == "check_error"


def test_many_faults_of_a_long_output_are_not_all_looked_for() -> None:
    """A long output names its first fault; the explanation stays short."""
    finding = check(json.dumps(["x"] * 100_000), {"items": {"type": "integer"}})
    assert finding.score == 0.0
    assert finding.explanation.startswith("/0:")
    assert len(finding.explanation) < 1_000


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{}]},
        {"properties": {"a": {"$ref": "#"}}},
        {"items": {"pattern": "a"}},
        {"type": "array", "uniqueItems": True},
        {"unevaluatedProperties": False},
        {"items": [{"type": "string"}]},
        {"enum": ["x" * 5_000]},
    ],
)
def test_only_a_small_plain_schema_is_compiled_and_checked_on_the_event_loop(schema: Any) -> None:
    """Where several schemas may meet one value, or the schema is large, a worker does the work."""
    plain, other = parse_criteria(
        [
            {"type": "json_schema", "name": "plain", "schema": PERSON},
            {"type": "json_schema", "name": "other", "schema": schema},
        ]
    )
    assert isinstance(plain, Check)
    assert isinstance(other, Check)
    assert (plain.compiles_late, other.compiles_late) == (False, True)
    assert plain.work(100, Case("")) < plain.inline_work_max
    assert other.work(100, Case("")) == float("inf")
