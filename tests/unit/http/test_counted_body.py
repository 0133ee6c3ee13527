"""A body is what arrived: in pieces, with a length or without one, and shorter than announced."""

from __future__ import annotations

import pytest

from assay.http.admission import CountedBody
from assay.http.lifecycle import Load
from fakes.limits import limits_with
from fakes.recorded_events import RecordedEvents


async def received(declared: int | None, *pieces: bytes) -> tuple[bytes, Load]:
    messages = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
        for number, piece in enumerate(pieces, 1)
    ]

    async def receive():
        return messages.pop(0)

    load = Load()
    body = CountedBody(receive, limits_with(), load, declared, RecordedEvents())
    message = await body.receive()
    assert not message["more_body"]
    assert body.received == sum(map(len, pieces))
    return message["body"], load


@pytest.mark.parametrize("declared", [None, 9, 12])
@pytest.mark.parametrize("pieces", [(b"123456789",), (b"1234", b"", b"56789"), (b"", b"123456789")])
async def test_it_is_joined_from_its_pieces(declared, pieces):
    """A length that was not reached adds nothing."""
    body, load = await received(declared, *pieces)
    assert body == b"123456789"
    # Pieces of a body without a length are rounded one by one.
    assert load.body_bytes == pytest.approx((declared or 9) * 1.5, abs=2)
