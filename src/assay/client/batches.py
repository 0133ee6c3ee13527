"""Batches over HTTP: uploaded, followed to their end, and read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import orjson

from assay.client.errors import NO_ANSWER, UNREACHABLE, ServiceError, service_error
from assay.client.http import SUCCESSES, Client, bounded, in_short, object_in

T = TypeVar("T")

ENDS = frozenset({"completed", "cancelled", "failed"})
NDJSON = "application/x-ndjson"
RESULT_BYTES_MAX = 32 * 1_048_576
EVENT_BYTES_MAX = 64 * 1_048_576
SILENCE_S = 60.0
"""A stream that says nothing for so long, not even that it is there, is dead."""


@dataclass(frozen=True, slots=True)
class RowUpload:
    """Rows to be sent; `rows` begins anew at each call, since a failed upload is repeated."""

    rows: Callable[[], AsyncIterator[bytes]]
    repeatable: bool = True


class BatchClient(Client):
    """Asks the service for batches; every call that fails in passing is repeated."""

    async def create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Make a batch; raises `ServiceError`."""
        return await self.post("/v1/batches", request)

    async def upload(self, batch_id: str, upload: RowUpload) -> dict[str, Any]:
        """Send rows; repeating is harmless, the service knows them by their ids."""

        async def attempt() -> dict[str, Any]:
            headers = {"Content-Type": NDJSON}
            path = f"/v1/batches/{batch_id}/items"
            async with self._asked("PUT", path, data=upload.rows(), headers=headers) as answer:
                return object_in(await bounded(answer))

        return await (self._patiently(attempt) if upload.repeatable else attempt())

    async def start(self, batch_id: str) -> dict[str, Any]:
        """Start a batch; raises `ServiceError`."""
        return await self.post(f"/v1/batches/{batch_id}/start", {})

    async def find(self, batch_id: str) -> dict[str, Any]:
        """A batch as it stands; raises `ServiceError`."""

        async def attempt() -> dict[str, Any]:
            async with self._asked("GET", f"/v1/batches/{batch_id}") as answer:
                return object_in(await bounded(answer))

        return await self._patiently(attempt)

    async def follow(self, batch_id: str) -> AsyncIterator[dict[str, Any]]:
        """The batch each time that it has changed, until its end; a cut stream is resumed."""
        last_id = ""
        failing_since_s: float | None = None
        while True:
            try:
                async with self._events(batch_id, last_id) as answer:
                    async for event in events_of(answer.content):
                        failing_since_s = None
                        last_id = event.get("id", last_id)
                        batch: dict[str, Any] = orjson.loads(event["data"])
                        yield batch
                        if batch["status"] in ENDS:
                            return
                    if answer.status == 204:  # noqa: PLR2004  # the end was told before
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
        """All results in the order of the items; raises `ServiceError`."""
        cursor, cut, whole = 0, 0, False
        while not whole:
            path = f"/v1/batches/{batch_id}/results?cursor={cursor}"
            try:
                async with self._asked("GET", path, headers={"Accept": NDJSON}) as answer:
                    async for line in lines_of(answer.content, RESULT_BYTES_MAX):
                        result: dict[str, Any] = orjson.loads(line)
                        cursor, cut = int(result["item_index"]) + 1, 0
                        yield result
                whole = True
            except ServiceError as error:
                wait_s = self.wait_s(error, cut)
                cut += 1
                if wait_s is None or cut >= self.retry_policy.attempts_max:
                    raise
                await asyncio.sleep(wait_s)

    def _events(self, batch_id: str, last_id: str) -> Any:
        headers = {"Accept": "text/event-stream"}
        if last_id:
            headers["Last-Event-ID"] = last_id
        return self._asked("GET", f"/v1/batches/{batch_id}/events", headers=headers)

    @asynccontextmanager
    async def _asked(
        self, method: str, path: str, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request, whose answer is read as it comes; raises `ServiceError`."""
        timeout = aiohttp.ClientTimeout(total=None, sock_read=SILENCE_S)
        request = self.session.request(
            method, self.base_url + path, allow_redirects=False, timeout=timeout, **options
        )
        try:
            async with request as answer:
                if answer.status not in SUCCESSES | {204}:
                    after = answer.headers.get("Retry-After")
                    raise service_error(answer.status, await bounded(answer), after)
                yield answer
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise ServiceError(UNREACHABLE, in_short(error)) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ServiceError(NO_ANSWER, in_short(error)) from error

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        give_up_s = time.monotonic() + self.retry_policy.retry_for_s
        number = 0
        while True:
            try:
                return await attempt()
            except ServiceError as error:
                wait_s = self.wait_s(error, number)
                number += 1
                is_last = number >= self.retry_policy.attempts_max
                if is_last or wait_s is None or time.monotonic() + wait_s > give_up_s:
                    raise
                await asyncio.sleep(wait_s)


async def events_of(content: aiohttp.StreamReader) -> AsyncIterator[dict[str, str]]:
    """Server-sent events as their fields; comments and events without data are passed over."""
    fields: dict[str, str] = {}
    async for raw in lines_of(content, EVENT_BYTES_MAX):
        line = raw.decode()
        name, _, value = line.partition(":")
        if name:
            fields[name] = value.removeprefix(" ")
        elif not line and "data" in fields:
            yield fields
            fields = {}


async def lines_of(content: aiohttp.StreamReader, bytes_max: int) -> AsyncIterator[bytes]:
    """Every whole line, however long; what is cut off at the end is no line."""
    rest = bytearray()
    async for piece in content.iter_any():
        rest += piece
        *lines, left = rest.split(b"\n")
        for line in lines:
            yield bytes(line)
        rest = left
        if len(rest) > bytes_max:
            raise ServiceError("malformed_answer", "a line of the answer is too long", status=200)
