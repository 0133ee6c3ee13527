"""Batches over HTTP: create, upload, follow, and read results."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp
import orjson

from assay.client.errors import MALFORMED, ServiceError
from assay.client.http import Client, json_object, read_body
from assay.domain.batches import ENDED

NDJSON = "application/x-ndjson"
RESULT_BYTES_MAX = 32 * 1_048_576
EVENT_BYTES_MAX = 64 * 1_048_576
STREAM_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_read=60.0)
"""A stream may last; without even a keep-alive for a minute, it is dead."""


@dataclass(frozen=True, slots=True)
class RowUpload:
    """Rows to send; each call of `rows` starts from the beginning, for retries."""

    rows: Callable[[], AsyncIterator[bytes]]
    repeatable: bool = True


class BatchClient(Client):
    """Works with batches; every call that fails for a transient reason is retried."""

    async def create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Create a batch; raises `ServiceError`."""
        return await self.post("/v1/batches", request)

    async def upload(self, batch_id: str, upload: RowUpload) -> dict[str, Any]:
        """Send rows; a retry adds none twice, because the service knows rows by their ids."""

        async def attempt() -> dict[str, Any]:
            headers = {"Content-Type": NDJSON}
            path = f"/v1/batches/{batch_id}/items"
            async with self._stream("PUT", path, data=upload.rows(), headers=headers) as response:
                return json_object(await read_body(response))

        return await (self.with_retries(attempt) if upload.repeatable else attempt())

    async def start(self, batch_id: str) -> dict[str, Any]:
        """Start a batch; raises `ServiceError`."""
        return await self.post(f"/v1/batches/{batch_id}/start", {})

    async def find(self, batch_id: str) -> dict[str, Any]:
        """A batch as it stands; raises `ServiceError`."""
        return await self.get(f"/v1/batches/{batch_id}")

    async def follow(self, batch_id: str) -> AsyncIterator[dict[str, Any]]:
        """The batch after each change, until its end; an interrupted stream is resumed."""
        last_id = ""
        failing_since_s: float | None = None
        while True:
            try:
                async with self._events(batch_id, last_id) as response:
                    async for event in server_sent_events(response.content):
                        failing_since_s = None
                        last_id = event.get("id", last_id)
                        batch: dict[str, Any] = orjson.loads(event["data"])
                        yield batch
                        if batch["status"] in ENDED:
                            return
                    if response.status == HTTPStatus.NO_CONTENT:  # the end was sent before
                        return
            except ServiceError as error:
                now_s = time.monotonic()
                failing_since_s = failing_since_s or now_s
                if (
                    self.wait_s(error, 0) is None
                    or now_s - failing_since_s > self.retry_policy.retry_for_s
                ):
                    raise
            await asyncio.sleep(1.0)

    async def results(self, batch_id: str) -> AsyncIterator[dict[str, Any]]:
        """All results in the order of the rows; raises `ServiceError`."""
        cursor, failures, complete = 0, 0, False
        while not complete:
            path = f"/v1/batches/{batch_id}/results?cursor={cursor}"
            try:
                async with self._stream("GET", path, headers={"Accept": NDJSON}) as response:
                    async for line in read_lines(response.content, RESULT_BYTES_MAX):
                        result: dict[str, Any] = orjson.loads(line)
                        cursor, failures = int(result["item_index"]) + 1, 0
                        yield result
                complete = True
            except ServiceError as error:
                wait_s = self.wait_s(error, failures)
                failures += 1
                if wait_s is None or failures >= self.retry_policy.attempts_max:
                    raise
                await asyncio.sleep(wait_s)

    def _events(
        self, batch_id: str, last_id: str
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        headers = {"Accept": "text/event-stream"}
        if last_id:
            headers["Last-Event-ID"] = last_id
        return self._stream("GET", f"/v1/batches/{batch_id}/events", headers=headers)

    def _stream(
        self, method: str, path: str, **options: Any
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self.request(method, path, timeout=STREAM_TIMEOUT, **options)


async def server_sent_events(content: aiohttp.StreamReader) -> AsyncIterator[dict[str, str]]:
    """The fields of each server-sent event; comments and events without data are skipped."""
    fields: dict[str, str] = {}
    async for raw in read_lines(content, EVENT_BYTES_MAX):
        line = raw.decode()
        name, _, value = line.partition(":")
        if name:
            fields[name] = value.removeprefix(" ")
        elif not line and "data" in fields:
            yield fields
            fields = {}


async def read_lines(content: aiohttp.StreamReader, bytes_max: int) -> AsyncIterator[bytes]:
    """Every complete line, up to `bytes_max`; a cut-off last line is dropped."""
    rest = bytearray()
    async for chunk in content.iter_any():
        rest += chunk
        *lines, left = rest.split(b"\n")
        for line in lines:
            yield bytes(line)
        rest = left
        if len(rest) > bytes_max:
            raise ServiceError(MALFORMED, "A line of the response is too long.", status=200)
