"""The OpenAPI document is a part of the contract: it changes only when that is meant."""

import json
import re
from pathlib import Path

import aiohttp
import jsonschema_rs
import pytest

from assay.api.app import TAGS
from assay.bootstrap.document import openapi_document, unconnected_app
from assay.bootstrap.service import routes_of
from assay.http.problems import MEDIA_TYPE, PROBLEM_TYPES
from fakes.service_process import running_service

GOLDEN = Path(__file__).parents[1] / "golden" / "openapi.json"
RENEW = """\
tests/golden/openapi.json differs from the service. Where the change is meant, renew it:
PYTHONPATH=src:tests python -m fakes.openapi > tests/golden/openapi.json
and the types of clients/typescript by npm run generate."""
RECORD = """\
To record what a service sends and responds with (tests/fakes/openapi_examples.py):
PYTHONPATH=src:tests python -m fakes.openapi_examples"""


BINARY = ("application/vnd.apache.parquet", "application/x-protobuf")
"""Of a file that is not text, a document of text has no example."""


@pytest.fixture(scope="module")
def document():
    return openapi_document()


def test_the_document_is_the_golden_one(document):
    """A changed field, code or bound shows up in review."""
    assert document == json.loads(GOLDEN.read_text()), RENEW


async def test_the_document_is_that_of_a_service(document, tmp_path):
    """What is made without a connection is what a service with every resource shows."""
    async with (
        running_service(tmp_path) as service,
        aiohttp.ClientSession() as http,
        http.get(f"{service.url}/openapi.json") as answer,
    ):
        assert await answer.json() == document


def test_every_route_is_documented(document):
    """Only the surface that others have documented, OpenAI's, is left out."""
    described = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    routes = {(method, path.replace(":path", "")) for method, path in routes_of(unconnected_app())}
    left_out = routes - described
    assert {path.split("/")[2] for _, path in left_out} == {"evals", "files", "fine_tuning"}
    assert described <= routes


def test_every_operation_has_a_name_a_tag_and_a_summary(document):
    """Generators of clients make functions of the names, and Swagger UI sorts by tags."""
    found = list(operations(document))
    names = [each["operationId"] for each in found]
    assert len(set(names)) == len(names)
    for each in found:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", each["operationId"])
        assert each["summary"][0].isupper()
        assert len(each["summary"]) <= 120
        assert set(each["tags"]) <= TAGS.keys()
    used = {tag for each in found for tag in each["tags"]}
    assert used == TAGS.keys() == {tag["name"] for tag in document["tags"]}


def test_every_parameter_says_what_it_is(document):
    """Those of a path are named like what they are."""
    for each in operations(document):
        for parameter in each.get("parameters", ()):
            assert parameter["in"] == "path" or parameter["description"], each["operationId"]


def test_every_body_has_an_example_that_is_valid(document):
    """A request, a response and a problem can be read before they are met."""
    resolver = jsonschema_rs.Registry([("urn:openapi", document)])
    checked, faults = 0, []
    for place, media_type, content in bodies(document):
        examples = [
            document["components"]["examples"][one["$ref"].rpartition("/")[2]]["value"]
            for one in content.get("examples", {}).values()
        ]
        examples += [content["example"]] if "example" in content else []
        if not examples and media_type not in BINARY:
            faults.append(f"{place} {media_type}: no example")
        schema = absolute(content.get("schema", {}))
        validator = jsonschema_rs.Draft202012Validator(schema, registry=resolver)
        for example in examples:
            checked += 1
            faults += [
                f"{place} {media_type}: {error.message}" for error in validator.iter_errors(example)
            ]
    assert checked > 500
    assert not faults, "\n".join([*faults, RECORD])


def test_every_problem_has_an_example(document):
    """Each code's example is its own."""
    examples = document["components"]["examples"]
    assert {name: one["value"]["code"] for name, one in examples.items()} == {
        code: code for code in PROBLEM_TYPES
    }
    for each in operations(document):
        for status, answer in each["responses"].items():
            if content := answer.get("content", {}).get(MEDIA_TYPE):
                statuses = {examples[code]["value"]["status"] for code in content["examples"]}
                assert statuses == {int(status)}


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


def operations(document):
    """Each operation of the document."""
    for methods in document["paths"].values():
        yield from methods.values()


def bodies(document):
    """Each content of a request or a response: its place, its media type and its description."""
    for each in operations(document):
        name = each["operationId"]
        for media_type, content in each.get("requestBody", {}).get("content", {}).items():
            yield name, media_type, content
        for status, answer in each["responses"].items():
            for media_type, content in answer.get("content", {}).items():
                yield f"{name} {status}", media_type, content


def absolute(value):
    """A schema whose references name the document."""
    if isinstance(value, dict):
        return {
            name: f"urn:openapi{each}" if name == "$ref" else absolute(each)
            for name, each in value.items()
        }
    return [absolute(each) for each in value] if isinstance(value, list) else value


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
