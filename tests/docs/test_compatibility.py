"""Clients of the last release work with this one, as docs/upgrading.md promises."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from docs.compatibility import breaks

GOLDEN = Path(__file__).parents[1] / "golden"
RELEASED = json.loads((GOLDEN / "openapi-0.9.0.json").read_text())
EVALUATION = "/v1/evaluations"


def schema(document: dict[str, Any], name: str) -> dict[str, Any]:
    return document["components"]["schemas"][name]


def request_schema(document: dict[str, Any]) -> dict[str, Any]:
    body = document["paths"][EVALUATION]["post"]["requestBody"]["content"]["application/json"]
    return schema(document, body["schema"]["$ref"].rpartition("/")[2])


def response_schema(document: dict[str, Any]) -> dict[str, Any]:
    response = document["paths"][EVALUATION]["post"]["responses"]["200"]
    reference = response["content"]["application/json"]["schema"]["$ref"]
    return schema(document, reference.rpartition("/")[2])


def test_this_version_breaks_no_client_of_the_last_release():
    """A change that would needs a `/v2`; docs/upgrading.md says what counts."""
    current = json.loads((GOLDEN / "openapi.json").read_text())
    assert breaks(RELEASED, current) == []


BREAKING: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda d: d["paths"][EVALUATION].pop("post"), "the operation is gone"),
    (lambda d: d["paths"].pop("/v1/models"), "the operation is gone"),
    (lambda d: response_schema(d)["properties"].pop("score"), "score: the field is gone"),
    (lambda d: response_schema(d)["required"].remove("score"), "score: the field may be missing"),
    (
        lambda d: response_schema(d)["properties"].update(id={"type": "integer"}),
        "the types ['integer'] are given",
    ),
    (
        lambda d: response_schema(d)["properties"]["id"].update(type=["string", "null"]),
        "the types ['null'] are given",
    ),
    (
        lambda d: request_schema(d).setdefault("required", []).append("input"),
        "input: the field is required",
    ),
    (lambda d: request_schema(d)["properties"].pop("reference"), "the field is not taken"),
    (lambda d: d["paths"][EVALUATION]["post"]["responses"].pop("200"), "200 is not answered"),
    (
        lambda d: d["paths"]["/v1/usage"]["get"]["parameters"][0].update(required=True),
        "is required",
    ),
    (lambda d: d["paths"]["/v1/usage"]["get"]["parameters"].pop(0), "is gone"),
]


@pytest.mark.parametrize(("change", "complaint"), BREAKING)
def test_what_breaks_clients_is_noticed(change: Callable[[dict[str, Any]], object], complaint: str):
    """Each kind of change that the promise excludes."""
    changed = copy.deepcopy(RELEASED)
    change(changed)
    assert any(complaint in fault for fault in breaks(RELEASED, changed))


def test_a_value_that_is_no_longer_taken_is_noticed():
    """In any enum, bound or pattern, however deep it stands."""
    document = {
        "paths": {
            "/x": {
                "post": {
                    "requestBody": {"content": {"json": {"schema": {"$ref": "#/s/Body"}}}},
                    "responses": {},
                }
            }
        },
        "components": {
            "schemas": {
                "Body": {
                    "type": "object",
                    "properties": {
                        "list": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 5},
                        "choice": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                        "number": {"type": "number", "minimum": 0},
                        "body": {"$ref": "#/s/Body"},
                    },
                }
            }
        },
    }
    assert breaks(document, document) == []
    for name, part in {
        "list": {"type": "array", "items": {"enum": ["a", "c"]}, "maxItems": 5},
        "choice": {"anyOf": [{"type": "string"}]},
        "number": {"type": "integer", "minimum": 0},
    }.items():
        changed = copy.deepcopy(document)
        schema(changed, "Body")["properties"][name] = part
        assert breaks(document, changed), name
    for name, bound in (("list", "maxItems"), ("number", "minimum"), ("choice", "pattern")):
        changed = copy.deepcopy(document)
        schema(changed, "Body")["properties"][name][bound] = 1
        assert breaks(document, changed), name


def test_what_the_promise_allows_is_not_noticed():
    """New operations, fields and values of responses, optional fields, wider bounds, any order."""
    changed = copy.deepcopy(RELEASED)
    changed["paths"]["/v1/new"] = copy.deepcopy(changed["paths"]["/v1/models"])
    request_schema(changed)["properties"]["new"] = {"type": "string"}
    response = response_schema(changed)
    response["properties"]["new"] = {"type": "string"}
    response["properties"] = dict(reversed(response["properties"].items()))
    response["properties"]["status"].setdefault("enum", []).append("new")
    for one in changed["components"]["schemas"].values():
        for part in one.get("properties", {}).values():
            if "maxLength" in part:
                part["maxLength"] *= 2
    assert breaks(RELEASED, changed) == []
