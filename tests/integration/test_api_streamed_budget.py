"""Room for an upload of rows in the memory that is set aside for bodies."""

import asyncio

import pytest

from assay.api.app import STREAMED_ROUTES
from assay.http.admission import Admission
from assay.http.lifecycle import Lifecycle, Load
from assay.http.streamed_body import RESERVED_BYTES
from fakes.limits import limits_with
from fakes.recorded_events import RecordedEvents


@pytest.mark.parametrize(("room", "status"), [(0, 200), (-1, 503)])
async def test_an_upload_needs_as_much_room_as_it_then_holds(room, status):
    """Neither its length nor half of it again: only a few rows of it are held at once."""
    load, held, sent = Load(), [], []

    async def app(scope, receive, send):
        held.append(load.body_bytes)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive():
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message):
        sent.append(message)

    limits = limits_with(inflight_bytes_max=RESERVED_BYTES + room)
    admission = Admission(
        app, limits, Lifecycle("serving"), load, RecordedEvents(), STREAMED_ROUTES
    )
    headers = [(b"content-length", b"100000000")]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "PUT",
        "path": "/v1/batches/b/items",
        "headers": headers,
    }
    await admission({**scope, "state": {"request_id": "r"}}, receive, send)
    assert sent[0]["status"] == status
    assert load.take_peak() == (RESERVED_BYTES if status == 200 else 0)
    assert held == ([RESERVED_BYTES] if status == 200 else [])
    assert load.body_bytes == load.requests == 0
