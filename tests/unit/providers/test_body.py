"""Request bodies are JSON that reads back as what was to be sent."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import pytest
from aiohttp.http_writer import StreamWriter
from hypothesis import given
from hypothesis import strategies as st

from assay.domain.completion import Turn
from assay.domain.errors import RequestRejected
from assay.providers.body import (
    SMALL_BYTES,
    WRITE_BYTES,
    JsonPayload,
    json_body,
    schema_json,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
LEAVES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(TEXTS, max_size=5), DOCUMENTS)
def test_reads_back_as_it_was(parts: list[str], rest: object) -> None:
    """A turn stands for its joined text, and everything else for itself."""
    document = {"text": Turn("user", tuple(parts)), "rest": rest, "none": {}, "empty": []}
    expected = {"text": "".join(parts), "rest": rest, "none": {}, "empty": []}
    assert json.loads(b"".join(json_body(document))) == expected


def test_schema_is_a_finished_piece() -> None:
    """A schema of any kind of mapping is written as it stands."""
    schema = MappingProxyType({"type": "object", "properties": MappingProxyType({})})
    body = json.loads(b"".join(json_body({"schema": schema_json(schema)})))
    assert body == {"schema": {"type": "object", "properties": {}}}


@pytest.mark.parametrize("value", [Turn("user", ("a", "\udfff")), object()])
def test_what_is_no_json_is_rejected(value: object) -> None:
    """Half a character, or a value that JSON does not have, is the request's fault."""
    with pytest.raises(RequestRejected):
        json_body({"value": value})


def test_large_text_is_a_piece_of_its_own() -> None:
    """What is large is not copied into one body; what is small around it is one piece."""
    text = "x" * SMALL_BYTES
    pieces = json_body({"model": "m", "text": Turn("user", ("a", text, "b"))})
    assert [bytes(each) for each in pieces] == [
        b'{"model":"m","text":"a',
        text.encode(),
        b'b"}',
    ]


async def test_a_body_is_let_go_piece_by_piece() -> None:
    """What was sent is no longer held, and all of it was sent, in slices."""
    sent: list[bytes] = []
    body = json_body({"text": Turn("user", ("x" * 2_000_000,))})
    payload = JsonPayload(body)

    class Writer(StreamWriter):
        """Keeps what is written."""

        def __init__(self) -> None:
            pass

        async def write(self, chunk: Any, **_: object) -> None:
            sent.append(bytes(chunk))

    await payload.write(Writer())
    assert body == []
    assert json.loads(b"".join(sent)) == {"text": "x" * 2_000_000}
    assert payload.size == len(b"".join(sent))
    assert max(map(len, sent)) == WRITE_BYTES
