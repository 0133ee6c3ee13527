"""A large body reads as a small one does, whichever parser is fastest at it."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from starlette.requests import Request

from assay.domain.errors import RequestError
from assay.http.body import DEPTH_MAX, LARGE_BYTES, _parsed, _plain, read_json
from assay.http.problems import Problem, problem_of

PADDING = '"padding": "' + "x" * LARGE_BYTES + '"'

EDGES = (
    *map(str, (2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64)),
    *("-0", "-0.0", "1e18", "1e19", "1e400", "1e999", "5e-324", "9223372036854775807.0"),
)
MALFORMED = ("01", "1.", ".5", "+1", "-", "1e", "0x1", "NaN", "Infinity", "-Infinity")

numbers = st.one_of(
    st.integers().map(str),
    st.integers(2**63 - 3, 2**64 + 3).map(str),
    st.integers(-(2**64) - 3, -(2**63) + 3).map(str),
    st.integers(10**30, 10**40).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(
        [*EDGES, *MALFORMED, "0e0", "-0e5", "-1e999", "1e-999", "9" * 400, "9" * 5_000]
    ),
)
spelt = st.sampled_from(
    [
        *(
            '"\\u0000"',
            '"\\u00e9"',
            '"\\ud83d\\ude00"',
            '"\\ud800"',
            '"\\udc00\\ud800"',
            '"\\/\\b"',
        ),
        *('"\\\\u0000"', '"\\x41"', '"\\u12"', '"\\U0041"', '"\x7f"', '"a\nb"', '"\x00"', '"\t"'),
    ]
)
strings = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])).map(json.dumps),
    st.text(st.characters(exclude_categories=["Cs"])).map(partial(json.dumps, ensure_ascii=False)),
    st.text(st.characters(max_codepoint=126)).map(json.dumps),
    spelt,
)
names = st.one_of(strings, st.sampled_from(['"a"', '"b"', '"\\u0061"', '"padding"']))
leaves = st.one_of(numbers, strings, st.sampled_from(["true", "false", "null"]))
spaces = st.sampled_from(["", " ", "\n\t\r "])


def members(values):
    return st.lists(st.tuples(names, spaces, values), max_size=4).map(
        lambda each: [f"{space}{name}{space}:{space}{value}" for name, space, value in each]
    )


def nested(inner):
    lists = st.lists(inner, max_size=4).map(lambda each: f"[{','.join(each)}]")
    return lists | members(inner).map(lambda each: f"{{{','.join(each)}}}")


def buried(value: str, depth: int, opening: str) -> str:
    return (
        opening * depth + value + "".join("]" if each == "[" else "}" for each in opening) * depth
    )


values = st.recursive(leaves, nested, max_leaves=12)
deep = st.builds(buried, leaves, st.integers(0, 70), st.sampled_from(["[", '{"a":']))


@st.composite
def large_bodies(draw) -> bytes:
    """Objects above LARGE_BYTES, with the long text anywhere among the other members."""
    parts = draw(members(values | deep))
    parts.insert(draw(st.integers(0, len(parts))), PADDING)
    return f"{draw(spaces)}{{{','.join(parts)}}}{draw(spaces)}".encode("utf-8", "surrogatepass")


@st.composite
def damaged_bodies(draw) -> bytes:
    """Large bodies with bytes cut out or put in near one end, or cut off in the middle."""
    raw = draw(large_bodies())
    place = draw(
        st.integers(-100, 100).map(lambda each: each % len(raw)) | st.integers(0, len(raw))
    )
    cut = draw(st.integers(0, 3))
    put = draw(st.sampled_from([b"", b",", b"}", b'"', b"\\", b"\0", b"\xff", b"[", b"1", b"{}"]))
    rest = b"" if draw(st.booleans()) else raw[place + cut :]
    return raw[:place] + put + rest


def request_of(*chunks: bytes) -> Request:
    messages = [
        {"type": "http.request", "body": each, "more_body": index < len(chunks)}
        for index, each in enumerate(chunks, 1)
    ]

    async def receive():
        return messages.pop(0)

    headers = [(b"content-type", b"application/json")]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


def shape(value: Any) -> Any:
    """A value with the type and the spelling of every part, in order: 0, 0.0 and -0.0 differ."""
    if isinstance(value, dict):
        return dict, [(name, shape(each)) for name, each in value.items()]
    if isinstance(value, list):
        return list, [shape(each) for each in value]
    return type(value), repr(value)


def by_orjson(raw: bytes) -> Any:
    try:
        return shape(_parsed(raw))
    except RequestError as error:
        return problem_of(error)


async def as_read(*chunks: bytes) -> Any:
    try:
        return shape((await read_json(request_of(*chunks))).document)
    except RequestError as error:
        return problem_of(error)


@given(large_bodies())
async def test_a_large_body_reads_as_by_one_parser(raw):
    """The same values of the same types, or the same problem with the same words.

    Of two members with one name the last counts. Only orjson refuses a number that is too large
    in the other one.
    """
    expected = by_orjson(raw)
    assume(not (isinstance(expected, Problem) and "infinity" in expected.detail and repeats(raw)))
    assert await as_read(raw) == expected


def repeats(raw: bytes) -> bool:
    """Whether some object has two members with one name."""
    found = []

    def note(members: list[tuple[str, Any]]) -> dict[str, Any]:
        found.append(len(members) > len(dict(members)))
        return dict(members)

    with suppress(ValueError):
        json.loads(raw, object_pairs_hook=note)
    return any(found)


@given(damaged_bodies())
async def test_a_damaged_large_body_has_one_fault(raw):
    """Where a body is no JSON, the problem does not tell which parser looked at it."""
    assert await as_read(raw) == by_orjson(raw)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("depth", range(DEPTH_MAX - 3, 71))
async def test_a_large_body_may_be_nested_as_deep_as_any(depth, opening):
    """The deepest accepted level is the same for both parsers."""
    raw = f'{{"a": {buried("1", depth, opening)}, {PADDING}}}'.encode()
    assert await as_read(raw) == by_orjson(raw)


@pytest.mark.parametrize("number", [*EDGES, *MALFORMED])
async def test_a_number_in_a_large_body_keeps_its_type(number):
    """At the edges of 64 bits the parsers differ: what one takes for a whole number is a float."""
    raw = f'{{"a": {number}, {PADDING}}}'.encode()
    assert await as_read(raw) == by_orjson(raw)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.integers(-9, 9) | st.text("ab")
    )
)
@example({})
def test_a_plain_large_body_takes_the_fast_way(document):
    """ASCII with few escapes is what the second parser is there for."""
    raw = f"{json.dumps(document)[:-1]}{',' if document else ''}{PADDING}}}".encode()
    assert _plain(raw) == document | {"padding": "x" * LARGE_BYTES}


@pytest.mark.parametrize("text", ["é", "\\n" * LARGE_BYTES, "\\u0000"], ids=ascii)
def test_other_large_bodies_take_the_usual_way(text):
    """What is not ASCII, is full of escapes, or holds a NUL is left to the one parser."""
    assert _plain(f'{{"a": "{text}", {PADDING}}}'.encode()) is None


async def test_a_body_in_pieces_reads_as_in_one():
    """Pieces, empty ones too, are one text; its digest is that of all of its bytes."""
    raw = f'{{"a": 1, {PADDING}}}'.encode()
    whole = await read_json(request_of(raw), digested=True)
    cut = await read_json(request_of(b"", raw[:9], b"", raw[9:]), digested=True)
    assert cut == whole
