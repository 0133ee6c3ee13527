"""Reads an answer, streamed or whole, from an open response into an accumulator, within bounds."""

from __future__ import annotations

import asyncio
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import aiohttp
import orjson

from assay.domain.errors import ModelError, StreamBroken
from assay.providers.failures import ProviderError, embedded_error, failure
from assay.providers.idle_timeout import IdleTimeout
from assay.providers.inflating import reader_of
from assay.providers.shapes import MISSHAPEN
from assay.providers.stream_accumulator import StreamAccumulator

STREAM_BYTES_MAX = 64 * 1024 * 1024
"""Bytes of a whole stream: log probabilities take a hundred times the space of their text."""
ERROR_BYTES_MAX = 64 * 1024
END_WAIT_S = 0.1
"""How long a finished stream may take to close before its connection is dropped."""
END_MARK = b"[DONE]"


class ResponseReader:
    """Reads one response; `secrets` are masked in the provider's error messages."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        accumulator: StreamAccumulator,
        idle: IdleTimeout,
        *,
        secrets: Sequence[str],
        stream: bool,
    ) -> None:
        self._response = response
        self._accumulator = accumulator
        self._idle = idle
        self._secrets = secrets
        self._stream = stream
        self._next = reader_of(response)
        self._size = 0

    async def read_response(self) -> None:
        """Fill the accumulator; raises the `ModelError` that an error or a broken answer means."""
        if self._response.status != 200:  # noqa: PLR2004  # an answer has no other status
            raise await self._refusal()
        try:
            match self._response.content_type:
                case self._accumulator.stream_type:
                    await self._read_events()
                case "application/json":
                    await self._read_whole()
                case _:
                    raise self._malformed("answered with an unexpected content type")
        except (aiohttp.ClientError, ConnectionError):
            raise self._broken("broke off its answer") from None
        self._idle.ended()

    async def _read_events(self) -> None:
        parser = self._accumulator.parser()
        while chunk := await self._read(STREAM_BYTES_MAX):
            for data in parser.feed(chunk):
                self._read_event(data)
            self._idle.received(answering=self._accumulator.answering)
            if self._accumulator.ended:
                self._idle.ended()
                await self._await_end()
                return
        for data in parser.finish():
            self._read_event(data)

    async def _read_whole(self) -> None:
        answer = self._parsed(await self._read_all(self._accumulator.answer_bytes_max))
        try:
            self._accumulator.read_answer(answer)
        except MISSHAPEN:
            raise self._malformed("sent a malformed answer") from None

    def _read_event(self, data: bytes) -> None:
        if data.strip() == END_MARK:
            self._accumulator.end()
            return
        event = self._parsed(data)
        try:
            self._accumulator.read_event(event)
        except MISSHAPEN:
            raise self._malformed("sent a malformed event") from None

    def _parsed(self, data: bytes) -> Mapping[str, Any]:
        try:
            value = orjson.loads(data.removeprefix(BOM_UTF8))
        except ValueError:  # not chained: the error contains the text
            raise self._malformed("sent malformed JSON") from None
        if not isinstance(value, dict):
            raise self._malformed("sent JSON that is not an object")
        if b"error" in data and (error := embedded_error(value)) is not None:
            raise self._failure(ProviderError.read(None, error, {}))
        return value

    async def _read(self, size_max: int) -> bytes:
        chunk = await self._next()
        self._size += len(chunk)
        if self._size > size_max:
            raise self._malformed("sent an answer beyond the size limit")
        return chunk

    async def _read_all(self, size_max: int) -> bytes:
        chunks = []
        while chunk := await self._read(size_max):
            chunks.append(chunk)
            self._idle.received_first()
            # The silence timeout bounds an answer that is not streamed as a whole.
            if self._stream:
                self._idle.received(answering=True)
        return b"".join(chunks)

    async def _await_end(self) -> None:
        """Let a finished stream close, so that its connection can be reused."""
        if self._response.content.at_eof():
            return
        try:
            async with asyncio.timeout(END_WAIT_S):
                await self._response.content.readany()
        except (TimeoutError, aiohttp.ClientError, ConnectionError):
            self._response.close()

    async def _refusal(self) -> ModelError:
        body: Any = None
        # A broken or huge body is ignored: the status alone says enough.
        with suppress(aiohttp.ClientError, ConnectionError, ModelError):
            body = json_or_text(await self._read_all(ERROR_BYTES_MAX))
        return self._failure(
            ProviderError.read(self._response.status, body, self._response.headers)
        )

    def _failure(self, error: ProviderError) -> ModelError:
        return failure(self._accumulator.provider, self._accumulator.dialect, error, self._secrets)

    def _malformed(self, what: str) -> ModelError:
        return self._accumulator.malformed(f"{self._accumulator.provider} {what}")

    def _broken(self, what: str) -> StreamBroken:
        return StreamBroken(f"{self._accumulator.provider} {what}")


def json_or_text(body: bytes) -> Any:
    """The body of an error; a page of HTML says nothing that its status does not."""
    try:
        return orjson.loads(body.removeprefix(BOM_UTF8))
    except ValueError:
        text = body.decode("utf-8-sig", "replace").strip()
        return None if text.startswith("<") else text
