"""GET /v1/batches/{id}/events: the progress of a batch as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from assay.api.batches.services import Batches
from assay.api.problem_codes import BATCH
from assay.domain.batches import Batch
from assay.domain.errors import StoreUnavailable
from assay.domain.exact_json import dumps
from assay.domain.records import RecordsUnavailable
from assay.http.openapi import problems

EVENTS = "text/event-stream"
POLL_S = 0.5
KEEP_ALIVE_S = 15.0
STREAM_S_MAX = 3_600.0
"""A stream ends after an hour at the latest; the client resumes it."""
EVENT_ID_CHARS_MAX = 64
NO_CONTENT = 204
"""Tells an EventSource not to reconnect."""


def batch_progress_router(batches: Batches) -> APIRouter:
    """The route that progress is read from."""
    router = APIRouter(tags=["batches"])

    @router.get(
        "/v1/batches/{batch_id}/events",
        operation_id="stream_batch_events",
        response_model=None,
        response_class=StreamingResponse,
        responses={
            200: {"content": {EVENTS: {}}},
            NO_CONTENT: {"description": "The last event was sent before: nothing is left."},
            **problems(*BATCH),
        },
        openapi_extra={
            "parameters": [
                {
                    "name": "Last-Event-ID",
                    "in": "header",
                    "required": False,
                    "description": "The `id` of the last event that was received.",
                    "schema": {"type": "string"},
                }
            ]
        },
    )
    async def stream_batch_events(request: Request, batch_id: str) -> Response:
        """Stream progress as server-sent events; each `data` is the batch as it stands.

        Every event contains all that earlier ones did, so a stream that is resumed with
        `Last-Event-ID` misses nothing. The last one is `completed`, `decided`, `cancelled` or
        `failed`.
        """
        batch = await batches.requested(request, batch_id)
        seen = request.headers.get("last-event-id", "")[:EVENT_ID_CHARS_MAX]
        if batch.ended and seen == event_id(batch):
            return Response(status_code=NO_CONTENT)
        batches.hold_reader(request, batch.tenant)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        events = _events(batches, batch, seen)
        return StreamingResponse(events, media_type=EVENTS, headers=headers)

    return router


def event_id(batch: Batch) -> str:
    """Names an event by its content: events with the same content have the same id."""
    counts = (batch.settled, batch.retried, batch.parked, batch.total, batch.rejected)
    return "-".join([batch.status, *map(str, counts)])


async def _events(batches: Batches, batch: Batch, seen: str) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    ends_s = loop.time() + STREAM_S_MAX
    sent_s = loop.time()
    yield b"retry: 1000\n\n"
    current: Batch | None = batch
    while current is not None and loop.time() < ends_s:
        if event_id(current) != seen:
            seen = event_id(current)
            sent_s = loop.time()
            yield await _event(batches, current)
        # A process that is about to exit ends its streams: the client resumes elsewhere.
        if current.ended or not batches.services.lifecycle.ready:
            return
        if loop.time() - sent_s > KEEP_ALIVE_S:
            sent_s = loop.time()
            yield b": keep-alive\n\n"
        await asyncio.sleep(POLL_S)
        try:
            current = await batches.lasting.find(batch.tenant, batch.id)
        except (StoreUnavailable, RecordsUnavailable):
            continue


async def _event(batches: Batches, batch: Batch) -> bytes:
    data = dumps(await batches.describe(batch))
    name = batch.status if batch.ended else "progress"
    return f"event: {name}\nid: {event_id(batch)}\ndata: ".encode() + data + b"\n\n"
