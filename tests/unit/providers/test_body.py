"""Request bodies are JSON that reads back as what was to be sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
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


TURNS = st.lists(TEXTS | st.just("a\0b") | st.just("\\u0000"), max_size=3).map(
    lambda parts: Turn("user", tuple(parts))
)


def said(value: Any) -> Any:
    """The value with each turn's text in its place."""
    if isinstance(value, Turn):
        return "".join(value.parts)
    if isinstance(value, list):
        return [said(each) for each in value]
    if isinstance(value, Mapping):
        return {name: said(each) for name, each in value.items()}
    return value


@given(
    st.dictionaries(
        TEXTS,
        st.recursive(
            TURNS | LEAVES,
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(TEXTS, inner, max_size=4)
                | st.dictionaries(TEXTS, inner, max_size=4).map(MappingProxyType)
            ),
            max_leaves=20,
        ),
    )
)
def test_every_turn_is_written_in_its_place(document: dict[str, Any]) -> None:
    """However many there are, wherever they are, and though texts around them hold NUL."""
    assert json.loads(b"".join(json_body(document))) == said(document)


@pytest.mark.parametrize(
    "parts",
    [(), ("",), ("", ""), ("\0",), ("a\0", "\0b"), ("\\u0000",), ('"', "\\"), ("\x00" * 99,)],
)
def test_a_turn_may_be_empty_or_hold_what_marks_its_place(parts: tuple[str, ...]) -> None:
    """A NUL in a text is written as its escape, so that it never stands for a turn."""
    turn = Turn("user", parts)
    document = {"\0": "\0", "a": [turn, "\0", turn], "b": {"c": turn, "d": "\\u0000"}, "e": turn}
    body = b"".join(json_body(document))
    assert b"\0" not in body
    assert json.loads(body) == said(document)


def test_a_schema_between_turns_is_written_as_it_stands() -> None:
    """A finished piece that names NUL keeps its place among the turns."""
    schema = {"enum": ["\0", "\\u0000"]}
    document = {"a": Turn("user", ("1",)), "b": schema_json(schema), "c": Turn("user", ("2",))}
    assert json.loads(b"".join(json_body(document))) == {"a": "1", "b": schema, "c": "2"}


@given(st.lists(st.sampled_from(["", "a", "é" * SMALL_BYTES, "x" * SMALL_BYTES]), max_size=5))
def test_large_and_small_parts_may_alternate(parts: list[str]) -> None:
    """Whatever is joined and whatever is not, the order is kept."""
    document = {"a": Turn("user", tuple(parts)), "b": 1, "c": Turn("user", tuple(parts[::-1]))}
    assert json.loads(b"".join(json_body(document))) == said(document)


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
