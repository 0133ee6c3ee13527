"""What callers have, as the service takes it."""

import json
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.api.batches.requests import BatchRow
from assay.api.dataset_items import DatasetItem
from assay.api.requests import EvaluationRequest
from assay.client.cases import (
    CASE_FIELDS,
    ITEM_FIELDS,
    REQUEST_FIELDS,
    ROW_FIELDS,
    named,
    records,
    row_lines,
    to_case,
)
from assay.client.wire import to_json
from assay.criteria import parse_criteria
from assay.criteria.base import NAME_CHARS_MAX
from assay.errors import InvalidRequest


def names(model):
    """All names that a model takes its fields by."""
    taken = set()
    for name, field in model.model_fields.items():
        choices = getattr(field.validation_alias, "choices", [name])
        taken.update(choices)
    return taken


@pytest.mark.parametrize(
    ("model", "known"),
    [(EvaluationRequest, REQUEST_FIELDS), (BatchRow, ROW_FIELDS), (DatasetItem, ITEM_FIELDS)],
)
def test_the_client_knows_the_fields_of_the_service(model, known):
    """A column is sent as a field exactly if the service has such a field."""
    assert known == names(model)


class Polars:
    """As much of a polars frame as the client uses."""

    def __init__(self, rows):
        self._rows = rows

    def iter_rows(self, *, named):
        assert named
        return iter(self._rows)


ROWS = [{"output": "a", "label": 1.5}, {"output": "b", "label": 2.5}]


@pytest.mark.parametrize("rows", [ROWS, iter(ROWS), pd.DataFrame(ROWS), Polars(ROWS)])
def test_tables_of_all_kinds_are_read(rows):
    """A pandas or polars frame and any iterable of mappings give the same rows."""
    assert [dict(row) for row in records(rows)] == ROWS


def test_a_column_that_is_no_field_belongs_to_the_case():
    """Unknown columns become `fields`, and empty cells of a table are left out."""
    row = {"output": "a", "reference": float("nan"), "input": None, "topic": "x", 7: True}
    assert to_case(row, CASE_FIELDS) == {"output": "a", "fields": {"topic": "x", "7": True}}


def test_numbers_and_dates_of_tables_are_json():
    """Values of numpy and dates of pandas arrive as numbers and texts."""
    frame = pd.DataFrame({"output": ["a"], "n": [3], "at": [pd.Timestamp("2026-01-02")]})
    (line,) = row_lines(frame, ROW_FIELDS, numbered=True)
    fields = {"n": 3, "at": "2026-01-02 00:00:00"}
    assert json.loads(line) == {"id": "row-1", "output": "a", "fields": fields}


def test_a_text_gets_a_name_from_its_words():
    """Names are unique, at most 40 characters, and a criterion with a name keeps it."""
    tone = {"type": "rubric", "name": "polite", "rubric": "It is kind."}
    long = "The answer solves the problem of the person who asked, politely."
    found = named(["Polite.", tone, "polite!", long, "…"])
    assert [one if isinstance(one, str) else one["name"] for one in found] == [
        *("polite_2", "polite", "polite_3", "the_answer_solves_the_problem_of_the", "…")
    ]
    assert found[0]["rubric"] == "Polite."


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=5))
def test_named_criteria_are_valid_and_ask_the_same(texts):
    """Whatever the texts are, the service takes them, and the rubrics stay as they were."""
    sent = named(texts)
    parsed = parse_criteria(sent)
    assert [one.rubric for one in parsed] == texts
    assert all(len(one.name) <= NAME_CHARS_MAX for one in parsed)


def test_the_empty_cells_of_pandas_are_left_out():
    """A missing text is not judged as the text `<NA>`."""
    row = {"output": "a", "reference": pd.NA, "day": pd.NaT}
    assert to_case(row, CASE_FIELDS) == {"output": "a"}


def test_fields_that_are_no_object_spoil_their_row():
    """Other columns cannot be added to a text; the error names the field."""
    with pytest.raises(InvalidRequest, match="fields must be an object"):
        to_case({"output": "a", "fields": "x", "topic": "y"}, CASE_FIELDS)


@pytest.mark.parametrize("value", [object(), {1}, b"\xff", Exception("x")])
def test_what_has_no_form_in_json_is_refused(value):
    """Its `repr` is not judged in its place."""
    with pytest.raises(InvalidRequest, match="cannot be JSON"):
        to_json({"output": value})
    assert to_json({"output": b"x", "price": Decimal("1.50")}) == b'{"output":"x","price":"1.50"}'


@pytest.mark.parametrize("criteria", [5, None, [None], [5], [["a"]], [{"name": ["a"]}, "Polite."]])
def test_criteria_of_a_wrong_kind_go_to_the_service(criteria):
    """It says what is wrong with them, where a failure here would not."""
    assert named(criteria) is None or len(named(criteria)) in (1, 2)


def test_a_column_of_subjects_is_the_callers_own_unless_it_names_spans():
    """Tables of mails have one; what the service takes is an object."""
    mail = to_case({"output": "x", "subject": "Refund?"}, ROW_FIELDS)
    assert mail == {"output": "x", "fields": {"subject": "Refund?"}}
    judged = {"output": "x", "subject": {"response_id": "r-1"}}
    assert to_case(judged, ROW_FIELDS) == judged
