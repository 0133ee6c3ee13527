"""POST /v1/traces: spans of an application, by OpenTelemetry's protocol over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.types import Scope

from assay.catalog.rules import Rules
from assay.domain.events import SpansReceived
from assay.domain.ports import EventSink
from assay.domain.traces import TraceStore
from assay.http.lifecycle import Load
from assay.http.limits import Limits
from assay.http.problems import Problem, ProblemError
from assay.http.rewritten import Rewritten
from assay.otlp.decoding import JSON, PROTOBUF, encoded, inflated, status
from assay.otlp.intake import Sorted, sort_spans

PATH = "/v1/traces"
BODY_BYTES_MAX = 16 * 1_048_576
"""Of a request, as it was sent and inflated: exporters send 512 spans at once."""
HELD_FACTOR = 3
"""Peak memory of a body: its bytes, the parsed spans, and what is kept of them."""
ERRORS = (400, 401, 403, 408, 413, 415, 429, 500, 503)
GRPC_CODES: Mapping[int, int] = {
    400: 3, 401: 16, 403: 7, 404: 12, 408: 4, 413: 3, 415: 3, 429: 8, 500: 13, 503: 14, 504: 4,
}  # fmt: skip


BINARY = {"schema": {"type": "string", "format": "binary"}}


class TracesIn:
    """The resource that traces are exported to; `admit` is the tenant of a request."""

    def __init__(
        self,
        admit: Callable[[Request], Awaitable[str]],
        rules: Rules,
        traces: TraceStore,
        events: EventSink,
        limits: Limits,
        load: Load,
    ) -> None:
        self._admit = admit
        self._rules = rules
        self._traces = traces
        self._events = events
        self._limits = limits
        self._load = load

    def router(self) -> APIRouter:
        """Its route."""
        router = APIRouter(tags=["rules"])
        content = {PROTOBUF: BINARY, JSON: {"schema": {"type": "object"}}}
        sent = {"requestBody": {"required": True, "content": content}}
        described = {"description": "`ExportTraceServiceResponse`.", "content": content}
        router.add_api_route(
            PATH, self.export_traces, methods=["POST"], operation_id="export_traces",
            response_model=None, openapi_extra=sent,
            responses={200: described, **{status: _refused(status) for status in ERRORS}},
        )  # fmt: skip
        return router

    async def export_traces(self, request: Request) -> Response:
        """Send spans (OTLP over HTTP); rules decide which of them are judged.

        The response comes when what is kept is on disk. Errors are `google.rpc.Status`.
        """
        tenant = await self._admit(request)
        media_type = media_type_of(request.scope)
        if media_type not in (PROTOBUF, JSON):
            detail = f"Send the body as 'Content-Type: {PROTOBUF}' or '{JSON}'."
            raise ProblemError(Problem("unsupported_media_type", detail))
        body = await self._body(request)
        rules = (await self._rules.by_tenant()).get(tenant, ())
        key = await self._traces.key()
        made = await sort_spans(body, media_type, rules, key)
        full = await self._traces.accept(tenant, made.pending, made.outcomes, made.not_understood)
        made.outcomes["full"] += full
        self._events.emit(SpansReceived(tenant, dict(made.outcomes)))
        return Response(encoded(media_type, _partial(made)), media_type=media_type)

    async def _body(self, request: Request) -> bytes:
        chunks, size = [], 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > BODY_BYTES_MAX:
                detail = f"The body must have at most {BODY_BYTES_MAX} bytes."
                raise ProblemError(Problem("body_too_large", detail))
            chunks.append(chunk)
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        raw = b"".join(chunks)
        body = await asyncio.to_thread(inflated, raw, encoding, BODY_BYTES_MAX)
        held = HELD_FACTOR * len(body)
        if self._load.body_bytes + held > self._limits.inflight_bytes_max:
            detail = "The bodies in flight fill the memory reserved for them. Retry later."
            raise ProblemError(Problem("overloaded", detail))
        self._load.reserve(held)
        request.state.held.callback(self._load.reserve, -held)
        return body


def _refused(status: int) -> dict[str, Any]:
    """An error as the OpenAPI document describes it."""
    said = {"code": GRPC_CODES[status], "message": f"{HTTPStatus(status).phrase}."}
    as_json = {"schema": {"type": "object"}, "example": said}
    return {"description": "`google.rpc.Status`.", "content": {PROTOBUF: BINARY, JSON: as_json}}


def _partial(made: Sorted) -> dict[str, Any]:
    """The fields of a partial success; empty if all spans were taken."""
    counts = made.outcomes
    faults = []
    if counts["malformed"]:
        faults.append(f"{counts['malformed']} spans have no valid trace_id and span_id.")
    if counts["full"]:
        faults.append(f"{counts['full']} spans were not kept: too many wait to be judged.")
    if counts["unmapped"]:
        reason = made.not_understood[0]["reason"]
        faults.append(
            f"{counts['unmapped']} spans of models are not understood, see GET {PATH}: {reason}"
        )
    if not faults:
        return {}
    rejected = counts["malformed"] + counts["full"]
    return {"rejected_spans": rejected, "error_message": " ".join(faults)}


def media_type_of(scope: Scope) -> str:
    """The media type of a request's body."""
    found = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    return str(found.decode("latin-1").partition(";")[0].strip().lower())


def is_export(scope: Scope) -> bool:
    """Whether a request exports traces."""
    return (scope["path"], scope["method"]) == (PATH, "POST")


def rpc_status(problem: Mapping[str, Any], code: int, scope: Scope) -> Rewritten:
    """A problem as `google.rpc.Status`, in the encoding of the request; see `ProblemsRewritten`."""
    media_type = PROTOBUF if media_type_of(scope) == PROTOBUF else JSON
    message = str(problem.get("detail") or problem["title"])
    return Rewritten(code, media_type, status(media_type, GRPC_CODES.get(code, 2), message))
