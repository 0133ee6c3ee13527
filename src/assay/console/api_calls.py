"""Calls of the API from inside the process: the console has no other way to anything."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assay.console.views import HEADERS
from assay.http.access import IDENTITY, Identity

JSON, JSONL = "application/json", "application/x-ndjson"
DOWNLOADS = {"jsonl": JSONL, "csv": "text/csv", "parquet": "application/vnd.apache.parquet"}
"""Media types of the files that tables are downloaded as."""

GUARDS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
ERRORS_FROM = 400

Query = Mapping[str, str | float | None]


class ApiError(Exception):
    """The API answered with a problem."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(problem.get("detail") or problem.get("title") or str(status))
        self.status = status
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Api:
    """The API as the one who looks at a page may use it."""

    app: ASGIApp
    identity: Identity
    request: Request

    async def get(self, path: str, **query: str | float | None) -> Any:
        """The document of a resource; raises `ApiError`."""
        return await self.call("GET", path, query=query)

    async def post(self, path: str, document: Any = None) -> Any:
        """The document that the API answers with; raises `ApiError`."""
        return await self.call("POST", path, document)

    async def get_or_problem(self, path: str, **query: str | float | None) -> Any:
        """The document, or the problem in its place: one part of a page may fail alone."""
        try:
            return await self.get(path, **query)
        except ApiError as error:
            return {"problem": str(error), "data": []}

    async def call(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        query: Query | None = None,
        media_type: str = JSON,
    ) -> Any:
        """The document that the API answers with; raises `ApiError`."""
        body = b"" if document is None else orjson.dumps(document)
        given = {name: value for name, value in (query or {}).items() if value not in (None, "")}
        scope = self.scope(method, path, urlencode(given).encode())
        scope["headers"] = [
            (b"host", self.request.headers.get("host", "").encode()),
            (b"accept", JSON.encode()),
            (b"content-length", str(len(body)).encode()),
            *([(b"content-type", media_type.encode())] if body else []),
        ]
        answer = _Answer()
        await self.app(scope, _body(body), answer.take)
        return answer.document()

    async def forward(
        self, path: str, receive: Receive, send: Send, accept: bytes | None = None
    ) -> None:
        """Let the API answer the request itself, whose body is passed on as it comes."""
        scope = self.scope(self.request.method, path, self.request.scope["query_string"])
        kept = (b"content-type", b"content-length", b"transfer-encoding", b"accept", b"host")
        scope["headers"] = [pair for pair in self.request.scope["headers"] if pair[0] in kept]
        if accept is not None:
            others = [pair for pair in scope["headers"] if pair[0] != b"accept"]
            scope["headers"] = [*others, (b"accept", accept)]

        async def guarded(message: Message) -> None:
            # A text of a caller must be no page of the console's origin.
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *GUARDS]}
            await send(message)

        await self.app(scope, receive, guarded)

    def scope(self, method: str, path: str, query: bytes) -> Scope:
        """The scope of a call on behalf of the one who looks."""
        outer = self.request.scope
        return {
            "type": "http",
            "asgi": outer["asgi"],
            "http_version": outer["http_version"],
            "scheme": outer["scheme"],
            "server": outer.get("server"),
            "client": outer.get("client"),
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query,
            "state": {},
            IDENTITY: self.identity,
        }


class Download(Response):
    """A list of the API as a file; the query of the page that links to it applies."""

    def __init__(self, api: Api, path: str, name: str, kind: str) -> None:
        self._api = api
        self._path = path
        self._accept = DOWNLOADS[kind].encode()
        self._shown = attachment(name, kind).encode()

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        problem = _Answer()

        async def named(message: Message) -> None:
            if problem.status or message.get("status", 0) >= ERRORS_FROM:
                await problem.take(message)
                return
            if message["type"] == "http.response.start":
                shown = (b"content-disposition", self._shown)
                message = {**message, "headers": [*message["headers"], shown]}
            await send(message)

        await self._api.forward(self._path, receive, named, self._accept)
        if problem.status:
            problem.document()


def attachment(name: str, kind: str) -> str:
    """The header that makes an answer a file."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    return f'attachment; filename="{safe}.{kind}"'


class _Answer:
    """Collects a response."""

    def __init__(self) -> None:
        self.status = 0
        self.body = bytearray()

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.body += message.get("body", b"")

    def document(self) -> Any:
        """What was answered; raises `ApiError`."""
        content = orjson.loads(self.body) if self.body else None
        if self.status >= ERRORS_FROM:
            raise ApiError(self.status, content if isinstance(content, dict) else {})
        return content


def _body(content: bytes) -> Receive:
    """The messages of a request with this body, whose caller then stays."""
    messages = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        raise RuntimeError("the body was read to its end")

    return receive
