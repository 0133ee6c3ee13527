"""What a caller reads about a fault: the words of JSON, and none of Python or of our classes."""

import pytest

from assay.api.requests import EvaluationRequest
from assay.api.validation import validate
from assay.domain.errors import FieldError, RequestError


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
