"""GET /v1/batches/{id}/results and …/events: what came of the rows, and how far it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson
from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from assay.api.batches.resource import CODES, list_parameters, list_query
from assay.api.batches.responses import ItemsAnswer, render_result
from assay.api.batches.services import Batches
from assay.domain.batches import Batch
from assay.domain.errors import StoreUnavailable
from assay.http.openapi import problems
from assay.http.problems import Problem, ProblemError

PAGE_MAX = 1_000
PAGE_DEFAULT = 100
STREAM_PAGE = 200
NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"
LOOK_EVERY_S = 0.5
KEEP_ALIVE_S = 15.0
STREAM_S_MAX = 3_600.0
"""A stream of events ends after an hour at the latest; the client resumes it."""
EVENT_ID_CHARS_MAX = 64
NO_CONTENT = 204
"""Tells an EventSource not to come back."""


def batch_results_router(batches: Batches) -> APIRouter:
    """The routes that results and progress are read from."""
    router = APIRouter(tags=["batches"])
    streams = asyncio.Semaphore(batches.rules.streams_max)

    @router.get(
        "/v1/batches/{batch_id}/results",
        operation_id="list_batch_results",
        response_model=None,
        responses={
            200: {"model": ItemsAnswer, "content": {NDJSON: {"schema": {"type": "string"}}}},
            **problems("invalid_request", *CODES),
        },
        openapi_extra={"parameters": list_parameters(PAGE_MAX, PAGE_DEFAULT)},
    )
    async def list_batch_results(request: Request, batch_id: str) -> Response:
        """Results in the order of the items; all of them with `Accept: application/x-ndjson`.

        Before the batch has ended they stop at the first row without a result, so that a cursor
        never passes a row that may still get one.
        """
        batch = await batches.found(request, batch_id)
        cursor, limit = list_query(request, PAGE_MAX, PAGE_DEFAULT)
        if NDJSON in request.headers.get("accept", ""):
            return StreamingResponse(_lines(batches, batch, cursor), media_type=NDJSON)
        page = await batches.results.page(batch, cursor, limit)
        data = b",".join(render_result(each) for each in page.results)
        more = orjson.dumps(
            {"has_more": page.has_more, "next_cursor": str(page.cursor) if page.has_more else None}
        )
        body = b'{"object":"list","data":[' + data + b"]," + more[1:]
        return Response(body, media_type="application/json")

    @router.get(
        "/v1/batches/{batch_id}/events",
        operation_id="stream_batch_events",
        response_model=None,
        responses={
            200: {"content": {EVENTS: {}}},
            NO_CONTENT: {"description": "The end was told before: there is nothing to resume."},
            **problems(*CODES),
        },
        openapi_extra={
            "parameters": [
                {
                    "name": "Last-Event-ID",
                    "in": "header",
                    "required": False,
                    "schema": {"type": "string"},
                }
            ]
        },
    )
    async def stream_batch_events(request: Request, batch_id: str) -> Response:
        """Progress as server-sent events: each `data` is the batch as it stands.

        Every event holds all that the ones before it said, so a stream that is resumed by
        `Last-Event-ID` misses nothing. The last one is `completed`, `cancelled` or `failed`.
        """
        batch = await batches.found(request, batch_id)
        seen = request.headers.get("last-event-id", "")[:EVENT_ID_CHARS_MAX]
        if batch.ended and seen == event_id(batch):
            return Response(status_code=NO_CONTENT)
        if streams.locked():
            raise ProblemError(Problem("overloaded", "Too many streams of events are open."))
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        events = _events(batches, batch, seen, streams)
        return StreamingResponse(events, media_type=EVENTS, headers=headers)

    return router


def event_id(batch: Batch) -> str:
    """Names what an event says: two that say the same have the same id."""
    counts = (batch.settled, batch.retried, batch.total, batch.rejected)
    return "-".join([batch.status, *map(str, counts)])


async def _lines(batches: Batches, batch: Batch, cursor: int) -> AsyncIterator[bytes]:
    more = True
    while more:
        page = await batches.results.page(batch, cursor, STREAM_PAGE)
        more = page.has_more and page.cursor > cursor
        cursor = page.cursor
        yield b"".join(render_result(each) + b"\n" for each in page.results)


async def _events(
    batches: Batches, batch: Batch | None, seen: str, streams: asyncio.Semaphore
) -> AsyncIterator[bytes]:
    async with streams:
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + STREAM_S_MAX
        said_s = loop.time()
        tenant, batch_id = (batch.tenant, batch.id) if batch is not None else ("", "")
        yield b"retry: 1000\n\n"
        while batch is not None and loop.time() < ends_s:
            if event_id(batch) != seen:
                seen = event_id(batch)
                said_s = loop.time()
                yield await _event(batches, batch)
            if batch.ended:
                return
            # A process that leaves ends its streams: the client resumes elsewhere.
            if not batches.services.lifecycle.ready:
                return
            if loop.time() - said_s > KEEP_ALIVE_S:
                said_s = loop.time()
                yield b": still here\n\n"
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                batch = await batches.store.find(tenant, batch_id)
            except StoreUnavailable:
                continue


async def _event(batches: Batches, batch: Batch) -> bytes:
    data = orjson.dumps(await batches.described(batch))
    name = batch.status if batch.ended else "progress"
    return f"event: {name}\nid: {event_id(batch)}\ndata: ".encode() + data + b"\n\n"
