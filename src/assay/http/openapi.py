"""The OpenAPI document, with what the framework cannot see: bodies that are read by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from assay.domain.completion import Attempt
from assay.domain.problem_codes import ProblemCode
from assay.http.problems import MEDIA_TYPE, PROBLEM_TYPES, Problem, render

REF = "#/components/schemas/{model}"
EXAMPLE_REF = "#/components/examples/{code}"
IDEMPOTENCY_KEY: Mapping[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A repeated request with the same key and body gets the first response.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
REPLAYED_RESPONSE: Mapping[str, Any] = {
    "headers": {
        "Idempotency-Replayed": {
            "description": "`true` if this is the response to an earlier request with the key.",
            "schema": {"type": "string"},
        }
    }
}


class ProblemField(BaseModel):
    """One fault: a JSON pointer (RFC 6901) to the field, and what is wrong with it."""

    pointer: str
    message: str


class ProblemDocument(BaseModel):
    """A problem (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str
    request_id: str
    detail: str | None = None
    errors: list[ProblemField] = []
    attempts: list[Attempt] = []
    retry_after_s: int | None = None


_documented: dict[str, type[BaseModel]] = {}


def request_body(model: type[BaseModel]) -> dict[str, Any]:
    """The `openapi_extra` of a route whose body is read by hand."""
    _documented[model.__name__] = model
    content = {"application/json": {"schema": {"$ref": REF.format(model=model.__name__)}}}
    return {"requestBody": {"required": True, "content": content}}


def query_parameter(
    name: str, text: str, schema: Mapping[str, Any] | None = None, *, required: bool = False
) -> dict[str, Any]:
    """A parameter of the query; without a schema it is a text."""
    parameter = {"name": name, "in": "query", "required": required, "description": text}
    return {**parameter, "schema": schema or {"type": "string"}}


def query_flag(name: str, text: str) -> dict[str, Any]:
    """A parameter of the query that is true or false."""
    return query_parameter(name, text, {"type": "boolean", "default": False})


def text_content(media_types: Iterable[str]) -> dict[str, Any]:
    """The content of a body that is a file."""
    return {media_type: {"schema": {"type": "string"}} for media_type in media_types}


def problems(*codes: ProblemCode) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route, by status; each of `codes` counts once."""
    by_status: dict[int | str, list[ProblemCode]] = {}
    for code, kind in PROBLEM_TYPES.items():
        if code in codes:
            by_status.setdefault(kind.status, []).append(code)
    schema = {"$ref": REF.format(model=ProblemDocument.__name__)}
    return {
        status: {
            "description": ", ".join(f"`{code}`" for code in names),
            "content": {
                MEDIA_TYPE: {
                    "schema": schema,
                    "examples": {code: {"$ref": EXAMPLE_REF.format(code=code)} for code in names},
                }
            },
        }
        for status, names in by_status.items()
    }


def describe(app: FastAPI, tags: Mapping[str, str], examples: Mapping[str, Any]) -> dict[str, Any]:
    """The whole document, with the schemas of bodies and problems, and the API key.

    `tags` describes tags by their names. `examples` has, by operation, a `request` by media type,
    and `responses` by status and media type.
    """
    document = get_openapi(
        title=app.title,
        version=app.version,
        openapi_version="3.1.0",
        description=app.description,
        routes=app.routes,
        tags=[{"name": name, "description": text} for name, text in tags.items()],
    )
    for methods in document["paths"].values():
        for operation in methods.values():
            _complete(operation, examples.get(operation["operationId"], {}))
    # Another app of this process may have documented others.
    text = json.dumps(document["paths"])
    used = [model for name, model in _documented.items() if f'"{REF.format(model=name)}"' in text]
    models = [(model, "validation") for model in (*used, ProblemDocument)]
    _, definitions = models_json_schema(models, ref_template=REF)  # type: ignore[arg-type]
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(definitions.get("$defs", {}))
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    components["examples"] = {code: _problem_example(code) for code in PROBLEM_TYPES}
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"key": []}]
    return document


def _complete(operation: dict[str, Any], examples: Mapping[str, Any]) -> None:
    """Give an operation its summary and its examples, and take a false response from it."""
    first, _, rest = operation.pop("description", operation["summary"]).partition("\n\n")
    operation["summary"] = " ".join(first.split()).removesuffix(".")
    if rest:
        operation["description"] = rest
    responses = operation["responses"]
    unprocessable = str(HTTPStatus.UNPROCESSABLE_ENTITY.value)
    if "HTTPValidationError" in str(responses.get(unprocessable)):
        del responses[unprocessable]  # the framework's own, which no route of ours responds with
    contents = [(operation.get("requestBody", {}), examples.get("request", {}))]
    contents += [
        (responses[status], by_type) for status, by_type in examples.get("responses", {}).items()
    ]
    for described, by_type in contents:
        for media_type, example in by_type.items():
            if media_type in (content := described.get("content", {})):
                content[media_type]["example"] = example


def _problem_example(code: ProblemCode) -> dict[str, Any]:
    _, body = render(Problem(code), "req_1f0c7c0e5b8e4a5e9c1d2b3a4f5e6d7c")
    return {"summary": PROBLEM_TYPES[code].title, "value": json.loads(body)}
