"""Images in requests and in rows: what is taken as it came, and where a fault lies."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from assay.api.batches.items import check_rows
from assay.api.batches.lines import Line
from assay.api.requests import ComparisonRequest, EvaluationRequest
from assay.api.validation import validate
from assay.domain.batches import BadRow, NewRow
from assay.domain.errors import RequestError
from assay.domain.evaluation import Case
from assay.domain.images import Image
from assay.domain.targets import AllowedHosts
from fakes.images import data_uri, message, part, png

PDF = data_uri(b"%PDF-1.7")
URL = "https://cdn.example/a.png"
HOSTS = AllowedHosts(("cdn.example",))


def request(**fields: Any) -> dict[str, Any]:
    return {"output": "x", "criteria": ["Good?"], **fields}


FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({"input": [message("a", part(PDF))]}, "/input/0/content/1/image_url/url", "is a PDF"),
    ({"user_input": [message(part(PDF))]}, "/user_input/0/content/0/image_url/url", "is a PDF"),
    ({"output": [message(part("data:image/png;base64,@"))]}, "/output/0/content/0", "base64"),
    ({"context": ["a", part(PDF)]}, "/context/1/image_url/url", "is a PDF"),
    ({"reference": [part(PDF)]}, "/reference/0/image_url/url", "is a PDF"),
    ({"expected": [part(PDF)]}, "/expected/0/image_url/url", "is a PDF"),
    ({"context": [{"type": "file"}]}, "/context/0", "must be a text, or a part"),
    ({"context": [5]}, "/context/0", "string"),
    ({"input": [message(part("https://evil.example/"))]}, "/input/0/content/0", "images.hosts"),
    ({"context": [part("https://10.0.0.1/")]}, "/context/0/image_url/url", "images.hosts"),
]


@pytest.mark.parametrize(("fields", "pointer", "said"), FAULTS)
def test_a_fault_is_told_with_its_place(fields: dict[str, Any], pointer: str, said: str) -> None:
    """Under the name by which the field was sent, and without its content."""
    with pytest.raises(RequestError) as caught:
        validate(EvaluationRequest, request(**fields), HOSTS)
    [fault] = caught.value.errors
    assert fault.pointer.startswith(pointer)
    assert said in fault.message
    assert "JVBERi0x" not in str(caught.value.errors)


def test_no_host_is_allowed_unless_it_is_listed() -> None:
    """The default of the setting."""
    fields = request(input=[message(part(URL))])
    validate(EvaluationRequest, fields, HOSTS)
    with pytest.raises(RequestError, match=r"images\.hosts"):
        validate(EvaluationRequest, fields)


def test_a_request_becomes_a_case_with_its_images() -> None:
    """In every field that may have some, also of the other output of a comparison."""
    fields = request(
        input=[message("Which?", png(1))],
        context=["a", part(png(2)), {"type": "text", "text": "b"}],
        reference=[part(png(3)), "c"],
    )
    case = validate(EvaluationRequest, fields, HOSTS).to_case()
    assert [image.width for image in case.images] == [1, 2, 3]
    assert (case.context[0], case.context[2], case.reference[1]) == ("a", "b", "c")
    compared = validate(
        ComparisonRequest,
        {
            "output_a": [message(png(4))],
            "output_b": [message(png(5))],
            "criteria": "Which?",
        },
    )
    assert compared.to_case().images == [Image.from_bytes(png(4))]
    assert Case(compared.other_output()).images == [Image.from_bytes(png(5))]


def test_a_row_is_stored_as_it_came_and_read_as_the_same_case() -> None:
    """A bad one is refused when it is uploaded."""
    row = {
        "id": "1",
        "output": [message("x", png(1))],
        "context": [part(png(2))],
        "reference": [part(URL)],
    }
    bad = {**row, "id": "2", "input": [message(part(PDF))]}
    lines = [Line(number, orjson.dumps(one)) for number, one in enumerate((row, bad), 1)]
    [stored], [refused] = check_rows(lines, HOSTS)
    assert isinstance(stored, NewRow)
    assert isinstance(refused, BadRow)
    assert refused.message == (
        "/input/0/content/0/image_url/url: is a PDF, not an image: its bytes must be those of a "
        "PNG, JPEG, GIF or WebP"
    )
    document = orjson.loads(stored.document)
    assert document["context"] == row["context"]
    case = Case.from_fields(document)
    assert [image.url for image in case.images] == ["", URL, ""]
