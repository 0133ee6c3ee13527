"""Errors in OpenAI's form: whatever failed, on these paths a problem becomes `{"error": …}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.types import Scope

from assay.domain.errors import RequestError
from assay.http.rewritten import Rewritten

PATHS = re.compile(r"/v1/(?:evals|files|fine_tuning)(?:/.*)?")
SERVER_ERROR = 500
_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
}


def openai_error(problem: Mapping[str, Any], status: int, _: Scope) -> Rewritten:
    """A problem on these paths; see `ProblemsRewritten`."""
    body = orjson.dumps({"error": error_document(problem, status)})
    return Rewritten(status, "application/json", body)


def is_openai(scope: Scope) -> bool:
    """Whether a request is for this surface."""
    return PATHS.fullmatch(scope["path"]) is not None


def not_found(kind: str, id_: str) -> RequestError:
    """The error for an id that the tenant has not."""
    return RequestError("not_found", f"No {kind} has the id {id_[:100]!r}.")


def error_document(problem: Mapping[str, Any], status: int) -> dict[str, Any]:
    """OpenAI's error for a problem document."""
    fallback = "server_error" if status >= SERVER_ERROR else "invalid_request_error"
    pointer = next((fault["pointer"] for fault in problem.get("errors", ())), "")
    return {
        "message": problem.get("detail") or problem["title"],
        "type": _TYPES.get(status, fallback),
        "param": _param(pointer) if pointer else None,
        "code": problem["code"],
    }


def _param(pointer: str) -> str:
    """A JSON pointer as OpenAI writes places: `testing_criteria[0].name`."""
    steps = (step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])
    return "".join(f"[{step}]" if step.isdigit() else f".{step}" for step in steps).lstrip(".")
