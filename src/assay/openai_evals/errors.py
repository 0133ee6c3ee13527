"""Errors in OpenAI's form: whatever failed, on these paths a problem becomes `{"error": …}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assay.domain.errors import RequestError
from assay.http.problems import MEDIA_TYPE

PATHS = re.compile(r"/v1/(?:evals|files|fine_tuning)(?:/.*)?")
UNPROCESSABLE, BAD_REQUEST = 422, 400
SERVER_ERROR = 500
_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
}


class OpenAIErrors:
    """Rewrites the problems of the layers within it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not PATHS.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        body = bytearray()

        async def send_error(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_problem(message):
                start = message
            elif start is None:
                await send(message)
            else:
                body.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    await _send_error(send, start, bytes(body))

        await self._app(scope, receive, send_error)


def _is_problem(start: Message) -> bool:
    return any(
        name == b"content-type" and value == MEDIA_TYPE.encode() for name, value in start["headers"]
    )


async def _send_error(send: Send, start: Message, body: bytes) -> None:
    problem = orjson.loads(body)
    status = BAD_REQUEST if start["status"] == UNPROCESSABLE else start["status"]
    document = orjson.dumps({"error": error_document(problem, status)})
    changed = (b"content-type", b"content-length")
    headers = [
        *((name, value) for name, value in start["headers"] if name not in changed),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(document)).encode()),
    ]
    await send({**start, "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": document})


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
