"""The event parser, whatever way a stream is cut into chunks."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.domain.errors import StreamBroken
from assay.providers.sse import EventParser

STREAM = (
    b": keep-alive\r\n\r\n"
    b'event: message\ndata: {"text":"na\xc3\xafve \xf0\x9f\xa6\x8a"}\n\n'
    b"data:first\r\ndata: second\r\nid: 7\r\n\r\n"
    b"data: mixed\r\n\nretry: 10\n\n"
    b"data: lone\r\rdata: [DONE]\n\n"
)
EVENTS = [
    b'{"text":"na\xc3\xafve \xf0\x9f\xa6\x8a"}',
    b"first\nsecond",
    b"mixed",
    b"lone",
    b"[DONE]",
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_cuts_do_not_matter(cuts: list[int]) -> None:
    """Events are the same wherever the stream is cut, even inside a character or a line end."""
    parser = EventParser()
    edges = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[start:end] for start, end in pairwise(edges)]
    assert [event for chunk in chunks for event in parser.feed(chunk)] == EVENTS
    assert parser.finish() == []


def test_an_unended_event_is_given_at_the_end() -> None:
    """A server that leaves out the last blank line loses no event."""
    parser = EventParser()
    assert parser.feed(b"data: 1\n\ndata: 2") == [b"1"]
    assert parser.finish() == [b"2"]


@pytest.mark.parametrize("piece", [b"x" * 100, b"data: xxxx\n"], ids=["one line", "many lines"])
def test_an_event_is_bounded(piece: bytes) -> None:
    """An event that never ends is refused before it fills the memory."""
    parser = EventParser(size_max=1_000)
    with pytest.raises(StreamBroken):
        any(parser.feed(piece) for _ in range(300))


@pytest.mark.parametrize("cut", range(40))
def test_events_without_data_and_byte_order_marks_are_left_out(cut: int) -> None:
    """Proxies send empty events as a sign of life, and some servers start with a mark."""
    stream = b"\xef\xbb\xbfdata: 1\n\ndata:\n\ndata: \n\ndata: 2 \n\n"
    parser = EventParser()
    assert parser.feed(stream[:cut]) + parser.feed(stream[cut:]) == [b"1", b"2 "]
