"""Reading the `criteria` of a request: forms, names, and errors with exact places."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from assay.criteria import CRITERIA, CRITERIA_MAX, AnyCriterion, CriteriaField
from assay.criteria.judged.primitives import Rubric


class Request(BaseModel):
    """A request as the HTTP layer has it."""

    criteria: CriteriaField
    one: AnyCriterion | None = None


def parsed(criteria: Any) -> Any:
    return Request.model_validate({"criteria": criteria}).criteria


def faults(criteria: Any) -> list[tuple[Any, str]]:
    with pytest.raises(ValidationError) as caught:
        parsed(criteria)
    return [(error["loc"], error["type"]) for error in caught.value.errors()]


@pytest.mark.parametrize("criteria", ["polite?", ["polite?"]])
def test_a_text_is_a_rubric(criteria: Any) -> None:
    """One text is the same as a list of one, a rubric judged pass or fail."""
    [rubric] = parsed(criteria)
    assert isinstance(rubric, Rubric)
    assert (rubric.rubric, rubric.levels, rubric.name) == ("polite?", None, "rubric")


def test_absent_names_are_made_from_the_type_and_unique() -> None:
    """A made name keeps clear of names that were given, wherever they stand."""
    criteria = parsed(["a", "b", {"type": "rubric", "rubric": "c", "name": "rubric_2"}, "d"])
    assert [each.name for each in criteria] == ["rubric", "rubric_3", "rubric_2", "rubric_4"]


def test_a_name_given_twice_is_an_error_at_the_second() -> None:
    """Names are unique in a request."""
    twice = {"type": "equals", "name": "same"}
    assert faults([twice, twice]) == [(("criteria", 1, "name"), "duplicate_name")]


def test_an_unknown_type_names_the_nearest() -> None:
    """The error has the contract's code as its type and hints at the nearest valid name."""
    with pytest.raises(ValidationError, match="did you mean 'contains'") as caught:
        parsed([{"type": "contain"}])
    [error] = caught.value.errors()
    assert (error["loc"], error["type"]) == (("criteria", 0, "type"), "unknown_criterion")


@pytest.mark.parametrize("kind", ["?" * 100_000, 7, ["equals"]])
def test_an_unknown_type_of_any_form_is_an_error(kind: Any) -> None:
    """Long and strange types give the same error, and give it quickly."""
    assert faults([{"type": kind}]) == [(("criteria", 0, "type"), "unknown_criterion")]


def test_every_fault_is_reported_at_its_place() -> None:
    """All criteria are read before the errors are raised; no place names a type."""
    criteria = [
        {"type": "contains", "valu": "x"},
        {"rubric": "no type"},
        3,
        {"type": "score", "rubric": "r", "min": 2, "max": 1},
        {"type": "rubric", "rubric": "r", "weight": -1, "judge": {"samples": 0}},
        {"type": "label", "question": "q", "labels": ["a", "A"], "passing_labels": ["a"]},
    ]
    assert faults(criteria) == [
        (("criteria", 0, "valu"), "extra_forbidden"),
        (("criteria", 1, "type"), "missing"),
        (("criteria", 2), "criterion_type"),
        (("criteria", 3), "range_empty"),
        (("criteria", 4, "weight"), "greater_than_equal"),
        (("criteria", 4, "judge"), "string_type"),
        (("criteria", 4, "judge", "samples"), "greater_than_equal"),
        (("criteria", 5, "labels"), "labels_alike"),
    ]


@pytest.mark.parametrize("criteria", [[], ["x"] * (CRITERIA_MAX + 1)])
def test_there_are_1_to_64_criteria(criteria: Any) -> None:
    """None at all and too many are refused."""
    assert faults(criteria) == [(("criteria",), "criteria_length")]


@pytest.mark.parametrize("criteria", [None, 3, {"type": "equals"}])
def test_criteria_are_a_text_or_a_list(criteria: Any) -> None:
    """Anything else is refused at the field itself."""
    assert faults(criteria) == [(("criteria",), "criteria_type")]


def test_an_empty_text_is_no_rubric() -> None:
    """A blank criterion is an error, not a question about nothing."""
    assert faults("") == [(("criteria",), "string_too_short")]
    assert faults(["a", ""]) == [(("criteria", 1), "string_too_short")]


def test_the_json_schema_lists_every_criterion() -> None:
    """OpenAPI gets the union with a discriminator for each type, and a plain text."""
    schema = Request.model_json_schema()
    text, many = schema["properties"]["criteria"]["anyOf"]
    assert text["type"] == "string"
    assert (many["minItems"], many["maxItems"]) == (1, CRITERIA_MAX)
    union = many["items"]["anyOf"][1]
    assert union["discriminator"]["propertyName"] == "type"
    assert set(union["discriminator"]["mapping"]) == set(CRITERIA)
    assert schema["$defs"]["Rubric"]["properties"]["type"] == {
        "const": "rubric",
        "title": "Type",
        "type": "string",
    }


def test_criteria_can_be_written_out_and_read_again() -> None:
    """A request's criteria survive the way through JSON, as batches need it."""
    before = Request.model_validate({"criteria": ["polite?", {"type": "equals", "value": "x"}]})
    assert Request.model_validate_json(before.model_dump_json(by_alias=True)) == before
