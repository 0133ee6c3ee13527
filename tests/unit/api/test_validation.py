"""What a caller reads about a fault: the words of JSON, and none of Python or of our classes."""

import pytest

from assay.api.batches.requests import BatchRequest
from assay.api.erasures import ErasureRequest
from assay.api.evaluators import EvaluatorRequest
from assay.api.labels import LabelRequest
from assay.api.requests import EvaluationRequest
from assay.api.validation import validate
from assay.domain.errors import FieldError, RequestError

GENERATE = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
LABEL = {"item": {"case": {"output": "x"}}, "criterion": "c", "annotator": "a"}


@pytest.mark.parametrize(
    ("fields", "pointer", "message"),
    [
        ({"input": [1]}, "/input/0", "must be an object"),
        ({"metadata": []}, "/metadata", "must be an object"),
        ({"context": "x"}, "/context", "must be a list"),
        ({"tools": ["x"]}, "/tools/0", "must be an object"),
        ({"input": []}, "/input", "must have at least 1 item, not 0"),
        (
            {"criteria": [{"type": "rubric", "rubric": "x", "levels": "x"}]},
            "/criteria/0/levels",
            "must be a list",
        ),
        (
            {"criteria": [{"type": "rubric", "rubric": "x", "weight": "x"}]},
            "/criteria/0/weight",
            "must be a number",
        ),
        (
            {"criteria": [{"type": "rubric", "rubric": "x", "required": "x"}]},
            "/criteria/0/required",
            "must be a boolean",
        ),
    ],
)
def test_a_fault_is_named_in_the_words_of_json(fields, pointer, message):
    """Pydantic speaks of dictionaries, tuples and instances of a class."""
    document = {"output": "x", "criteria": "x", **fields}
    with pytest.raises(RequestError) as raised:
        validate(EvaluationRequest, document)
    assert raised.value.errors == (FieldError(pointer, message),)


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"timeout_ms": "500"}, "/timeout_ms"),
        ({"timeout_ms": True}, "/timeout_ms"),
        ({"timeout_ms": 500.5}, "/timeout_ms"),
        ({"criteria": [{"type": "equals", "value": "a", "weight": "1"}]}, "/criteria/0/weight"),
        ({"criteria": [{"type": "equals", "value": "a", "negate": 0}]}, "/criteria/0/negate"),
        ({"judge": {"models": ["m"], "cache": "true"}}, "/judge/cache"),
    ],
)
def test_a_value_of_another_type_is_a_fault(fields, pointer):
    """A request is checked against the types that its OpenAPI schema names; none is converted."""
    with pytest.raises(RequestError) as caught:
        validate(EvaluationRequest, {"output": "x", "criteria": "ok", **fields})
    assert [fault.pointer for fault in caught.value.errors] == [pointer]


def test_a_whole_number_may_have_a_point():
    """JSON knows one kind of number: 500.0 is the integer 500."""
    request = validate(EvaluationRequest, {"output": "x", "criteria": "ok", "timeout_ms": 500.0})
    assert request.timeout_ms == 500


def test_a_list_is_not_called_short_for_its_faulty_entries():
    """The entry at fault is named, and not the list that has it."""
    criterion = {"type": "language", "languages": ["nowhere"]}
    with pytest.raises(RequestError) as caught:
        validate(EvaluationRequest, {"output": "x", "criteria": [criterion]})
    assert [fault.pointer for fault in caught.value.errors] == ["/criteria/0/languages/0"]


@pytest.mark.parametrize(
    ("model", "document", "pointer"),
    [
        (BatchRequest, {"generate": GENERATE}, "/generate"),
        (BatchRequest, {"filter": {"split": "a"}}, "/filter"),
        (BatchRequest, {"dataset": "d", "items": [{}]}, "/items"),
        (BatchRequest, {"dataset": "d", "start": False}, "/start"),
        (BatchRequest, {"dataset": "d", "generate": {"model": "m"}}, "/generate/messages"),
        (
            BatchRequest,
            {"dataset": "d", "generate": {**GENERATE, "messages_from": "item.m"}},
            "/generate/messages_from",
        ),
        (BatchRequest, {"stop_when_certain": {}}, "/stop_when_certain"),
        (BatchRequest, {"gates": [{}]}, "/gates/0/min_score"),
        (LabelRequest, LABEL, "/passed"),
        (LabelRequest, {**LABEL, "passed": False, "score": 1}, "/score"),
        (ErasureRequest, {}, "/item"),
        (ErasureRequest, {"subject": "s", "item": "i"}, "/subject"),
        (
            EvaluatorRequest,
            {"name": "n", "examples": [{"case": {"output": "x"}, "expect": {"y": {}}}]},
            "/examples/0/expect/y",
        ),
    ],
)
def test_fields_that_exclude_or_need_each_other_are_named(model, document, pointer):
    """Whatever models check as a whole, the fault lies at a field."""
    if issubclass(model, BatchRequest | EvaluatorRequest):
        document = {"criteria": "x", **document}
    with pytest.raises(RequestError) as raised:
        validate(model, document)
    assert [fault.pointer for fault in raised.value.errors] == [pointer]
