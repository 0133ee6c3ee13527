"""Problems in the form of another contract: whatever failed, also in the outermost layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assay.http.problems import MEDIA_TYPE

UNPROCESSABLE, BAD_REQUEST = 422, 400
"""Other contracts say the latter of what is wrong with a field, too."""


class Rewritten(NamedTuple):
    """What is sent in place of a problem."""

    status: int
    media_type: str
    body: bytes


class ProblemsRewritten:
    """Rewrites the problems of the layers within it, for requests that `applies` to."""

    def __init__(
        self,
        app: ASGIApp,
        applies: Callable[[Scope], bool],
        rewrite: Callable[[Mapping[str, Any], int, Scope], Rewritten],
    ) -> None:
        self._app = app
        self._applies = applies
        self._rewrite = rewrite

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._applies(scope):
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
                    status = BAD_REQUEST if start["status"] == UNPROCESSABLE else start["status"]
                    made = self._rewrite(orjson.loads(body), status, scope)
                    await _send(send, start, made)

        await self._app(scope, receive, send_error)


def _is_problem(start: Message) -> bool:
    return any(
        name == b"content-type" and value == MEDIA_TYPE.encode() for name, value in start["headers"]
    )


async def _send(send: Send, start: Message, made: Rewritten) -> None:
    changed = (b"content-type", b"content-length")
    headers = [
        *((name, value) for name, value in start["headers"] if name not in changed),
        (b"content-type", made.media_type.encode()),
        (b"content-length", str(len(made.body)).encode()),
    ]
    await send({**start, "status": made.status, "headers": headers})
    await send({"type": "http.response.body", "body": made.body})
