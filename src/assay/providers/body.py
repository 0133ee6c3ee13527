"""Request bodies: a megabyte of prompt is escaped part by part, never joined, freed once sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from assay.domain.completion import Turn
from assay.domain.errors import RequestRejected

WRITE_BYTES = 1024 * 1024
"""Bytes handed to the socket at once, so that other calls get their turn between."""
SMALL_BYTES = 16 * 1024
"""Pieces smaller than this are joined: to copy them is quicker than to write each."""

TURN_PLACEHOLDER_BYTES = b"\0"
"""Stands for a turn while everything around it is written: JSON holds no such byte of its own."""
TURN_PLACEHOLDER = orjson.Fragment(TURN_PLACEHOLDER_BYTES)

Chunk = bytes | memoryview


def json_body(document: Mapping[str, Any]) -> list[Chunk]:
    """Serialise `document`, in which a `Turn` stands for its text, into the pieces of a body.

    Raises `RequestRejected` where a text is not Unicode (a lone surrogate) or a value not JSON.
    """
    body: list[Chunk] = []
    small: list[Chunk] = []
    try:
        for piece in _pieces(document):
            if len(piece) < SMALL_BYTES:
                small.append(piece)
            else:
                body += (b"".join(small), piece)
                small = []
        return [*body, b"".join(small)]
    except TypeError:  # orjson's errors are TypeErrors; their text may hold the caller's
        raise RequestRejected("the prompt cannot be written as JSON") from None


def schema_json(schema: Mapping[str, Any]) -> orjson.Fragment:
    """A JSON Schema as a finished piece of a document, so that it is not walked twice."""
    return orjson.Fragment(orjson.dumps(schema, default=dict))


def _pieces(document: Mapping[str, Any]) -> Iterator[Chunk]:
    turns: list[Turn] = []

    def written(value: Any) -> Any:
        if isinstance(value, Turn):
            turns.append(value)
            return TURN_PLACEHOLDER
        if isinstance(value, Mapping):
            return dict(value)
        raise TypeError(type(value).__name__)

    around = orjson.dumps(document, default=written, option=orjson.OPT_PASSTHROUGH_DATACLASS)
    before, *rest = around.split(TURN_PLACEHOLDER_BYTES)
    yield before
    for turn, after in zip(turns, rest, strict=True):
        yield b'"'
        for part in turn.parts:
            yield memoryview(orjson.dumps(part))[1:-1]
        yield b'"' + after


class JsonPayload(Payload):
    """Sends a body in slices and takes each piece from the list once it is sent.

    While a judge thinks, the megabyte that it was sent is not held: a repeat is written anew.
    """

    def __init__(self, body: list[Chunk]) -> None:
        super().__init__(body, content_type="application/json")
        self._pieces = body
        self._size = sum(map(len, body))

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return b"".join(self._pieces).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        self._pieces.reverse()
        while self._pieces:
            view = memoryview(self._pieces.pop())
            for start in range(0, len(view), WRITE_BYTES):
                await writer.write(view[start : start + WRITE_BYTES])
            del view
