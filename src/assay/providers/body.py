"""Request bodies: a megabyte of prompt is escaped part by part and joined exactly once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from assay.domain.completion import Turn
from assay.domain.errors import RequestRejected

WRITE_BYTES = 256 * 1024
"""Bytes handed to the socket at once, so that other calls get their turn between."""


def json_body(document: Mapping[str, Any]) -> bytes:
    """Serialise `document`, in which a `Turn` stands for its text.

    Raises `RequestRejected` where a text is not Unicode (a lone surrogate) or a value not JSON.
    """
    try:
        return b"".join(_pieces(document))
    except TypeError:  # orjson's errors are TypeErrors; their text may hold the caller's
        raise RequestRejected("the prompt cannot be written as JSON") from None


def schema_json(schema: Mapping[str, Any]) -> orjson.Fragment:
    """A JSON Schema as a finished piece of a document, so that it is not walked twice."""
    return orjson.Fragment(orjson.dumps(schema, default=dict))


def _pieces(value: Any) -> Iterator[bytes | memoryview]:
    if isinstance(value, Turn):
        yield b'"'
        for part in value.parts:
            yield memoryview(orjson.dumps(part))[1:-1]
        yield b'"'
    elif isinstance(value, Mapping):
        opening = b"{"
        for key, item in value.items():
            yield opening + orjson.dumps(key) + b":"
            yield from _pieces(item)
            opening = b","
        yield b"}" if value else b"{}"
    elif isinstance(value, list | tuple):
        opening = b"["
        for item in value:
            yield opening
            yield from _pieces(item)
            opening = b","
        yield b"]" if value else b"[]"
    else:
        yield orjson.dumps(value)


class JsonPayload(Payload):
    """Sends a finished body in slices, without aiohttp's copies and warnings for large ones."""

    _value: bytes

    def __init__(self, body: bytes) -> None:
        super().__init__(body, content_type="application/json")
        self._size = len(body)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._value.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        view = memoryview(self._value)
        for start in range(0, len(view), WRITE_BYTES):
            await writer.write(view[start : start + WRITE_BYTES])
