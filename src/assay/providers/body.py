"""Request bodies: a prompt is escaped part by part, never joined, and freed once it is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from assay.domain.completion import Turn
from assay.domain.errors import PromptUnsendable

WRITE_BYTES = 1024 * 1024
"""Bytes handed to the socket at once, so that other calls get their turn in between."""
SMALL_BYTES = 16 * 1024
"""Smaller chunks are joined: to copy them is faster than to write each on its own."""

TURN_PLACEHOLDER_BYTES = b"\0"
"""Stands for a turn while the rest is serialised; JSON itself never contains this byte."""
TURN_PLACEHOLDER = orjson.Fragment(TURN_PLACEHOLDER_BYTES)

Chunk = bytes | memoryview


def json_body(document: Mapping[str, Any]) -> list[Chunk]:
    """Serialise `document`, in which a `Turn` stands for its text, into the chunks of a body.

    Raises `PromptUnsendable` for a text that is not Unicode (a lone surrogate) or a value that is
    not JSON.
    """
    body: list[Chunk] = []
    small: list[Chunk] = []
    try:
        for chunk in _chunks_of(document):
            if len(chunk) < SMALL_BYTES:
                small.append(chunk)
            else:
                body += (b"".join(small), chunk)
                small = []
        return [*body, b"".join(small)]
    except TypeError:  # orjson's errors are TypeErrors, and may quote the caller's text
        raise PromptUnsendable("the prompt cannot be represented as JSON") from None


def merged(extra: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    """`document` with the fields of `extra` that it does not have, also inside its objects."""
    both = extra.keys() & document.keys()
    inner = {
        name: merged(extra[name], document[name])
        for name in both
        if isinstance(extra[name], dict) and isinstance(document[name], dict)
    }
    return {**extra, **document, **inner} if extra else document


def given(**fields: Any) -> dict[str, Any]:
    """The fields of a document that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


def schema_json(schema: Mapping[str, Any]) -> orjson.Fragment:
    """A JSON Schema, serialised once, as part of a document."""
    return orjson.Fragment(orjson.dumps(schema, default=dict))


def _chunks_of(document: Mapping[str, Any]) -> list[Chunk]:
    turns: list[Turn] = []

    def default(value: Any) -> Any:
        if isinstance(value, Turn):
            turns.append(value)
            return TURN_PLACEHOLDER
        if isinstance(value, Mapping):
            return dict(value)
        raise TypeError(type(value).__name__)

    serialised = orjson.dumps(document, default=default, option=orjson.OPT_PASSTHROUGH_DATACLASS)
    before, *rest = serialised.split(TURN_PLACEHOLDER_BYTES)
    chunks: list[Chunk] = [before]
    for turn, after in zip(turns, rest, strict=True):
        chunks.append(b'"')
        # Texts alone: see `HttpModel.content`.
        chunks += [memoryview(orjson.dumps(part))[1:-1] for part in turn.parts]
        chunks.append(b'"' + after)
    return chunks


class JsonPayload(Payload):
    """Sends a body in slices, removes each chunk from the list once it is sent, and says when all
    of it is.

    While a judge thinks, its megabyte of prompt is not held in memory: a retry serialises it again.
    """

    def __init__(self, body: list[Chunk], written: Callable[[], None] = lambda: None) -> None:
        super().__init__(body, content_type="application/json")
        self._written = written
        self._chunks = body
        self._size = sum(map(len, body))

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return b"".join(self._chunks).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        self._chunks.reverse()
        while self._chunks:
            view = memoryview(self._chunks.pop())
            for start in range(0, len(view), WRITE_BYTES):
                await writer.write(view[start : start + WRITE_BYTES])
            del view
        self._written()
