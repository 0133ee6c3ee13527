"""The OpenAPI document is a part of the contract: it changes only when that is meant."""

import json
from pathlib import Path

import pytest

from assay.http.problems import PROBLEM_TYPES
from fakes.http_api import running_api

GOLDEN = Path(__file__).parents[1] / "golden" / "openapi.json"
RENEW = """\
tests/golden/openapi.json differs from the service. Where the change is meant, renew it:
PYTHONPATH=src:tests python -m fakes.openapi > tests/golden/openapi.json"""


@pytest.fixture
async def document():
    async with running_api() as api, api.http.get(api.url + "/openapi.json") as answer:
        return await answer.json()


def test_the_document_is_the_golden_one(document):
    """A changed field, code or bound shows up in review."""
    assert document == json.loads(GOLDEN.read_text()), RENEW


def test_every_reference_leads_somewhere(document):
    """Generators of clients follow them all."""
    pointers = set(references(document))
    assert pointers
    for pointer in pointers:
        assert pointer.startswith("#/")
        value = document
        for step in pointer[2:].split("/"):
            value = value[step]


def test_every_error_status_is_documented_as_a_problem(document):
    """What the evaluation route can answer is in its description, with its codes."""
    answers = document["paths"]["/v1/evaluations"]["post"]["responses"]
    told = "".join(each["description"] for status, each in answers.items() if status != "200")
    for status, each in answers.items():
        assert status == "200" or "application/problem+json" in each["content"]
    assert {code for code in PROBLEM_TYPES if f"`{code}`" in told} == PROBLEM_TYPES.keys() - {
        "not_found",
        "method_not_allowed",
        "conflict",
        "malformed_http",  # the parser's, before there is a route
    }


def references(value):
    """Each `$ref` of the document."""
    if isinstance(value, dict):
        for name, each in value.items():
            if name == "$ref":
                yield each
            else:
                yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)
