"""The OpenAPI document, with what the framework cannot see: bodies that are read by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from assay.domain.completion import Attempt
from assay.domain.problem_codes import ProblemCode
from assay.http.problems import MEDIA_TYPE, PROBLEM_TYPES

REF = "#/components/schemas/{model}"
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


def request_body(model: type[BaseModel], *, idempotent: bool = True) -> dict[str, Any]:
    """The `openapi_extra` of a route whose body is read by hand.

    `idempotent`: the route accepts an `Idempotency-Key`.
    """
    _documented[model.__name__] = model
    content = {"application/json": {"schema": {"$ref": REF.format(model=model.__name__)}}}
    body: dict[str, Any] = {"requestBody": {"required": True, "content": content}}
    if not idempotent:
        return body
    return {
        **body,
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "A repeated request with the same key and body gets the first "
                "response.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            }
        ],
    }


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
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status, names in by_status.items()
    }


def describe(app: FastAPI) -> dict[str, Any]:
    """The whole document, with the schemas of bodies and problems, and the API key."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        openapi_version="3.1.0",
        description=app.description,
        routes=app.routes,
    )
    # Another app of this process may have documented others.
    text = json.dumps(document["paths"])
    used = [model for name, model in _documented.items() if f'"{REF.format(model=name)}"' in text]
    models = [(model, "validation") for model in (*used, ProblemDocument)]
    _, definitions = models_json_schema(models, ref_template=REF)  # type: ignore[arg-type]
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(definitions.get("$defs", {}))
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"key": []}]
    return document
