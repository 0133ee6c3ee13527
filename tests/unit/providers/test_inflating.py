"""Compressed answers are inflated in bounded steps, whatever they would become."""

from __future__ import annotations

import gzip
import zlib
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from assay.providers.inflating import AT_ONCE_BYTES, reader_of


class Content:
    """A body in pieces; `reads` counts how many were asked for."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.reads = 0

    async def readany(self) -> bytes:
        self.reads += 1
        return self._pieces.pop(0) if self._pieces else b""


def answer(encoding: str | None, *pieces: bytes) -> Any:
    headers = {} if encoding is None else {"Content-Encoding": encoding}
    return SimpleNamespace(headers=headers, content=Content(*pieces))


async def whole(response: Any) -> bytes:
    read = reader_of(response)
    chunks = []
    while chunk := await read():
        chunks.append(chunk)
    return b"".join(chunks)


TEXT = b"a verdict " * 1_000
ZIPPED = gzip.compress(TEXT)


@pytest.mark.parametrize(
    ("encoding", "sent"),
    [
        (None, TEXT),
        ("identity", TEXT),
        ("gzip", ZIPPED),
        ("X-GZIP", ZIPPED),
        ("deflate", zlib.compress(TEXT)),
    ],
    ids=["none", "identity", "gzip", "x-gzip", "deflate"],
)
@pytest.mark.parametrize("piece", [1, 7, 1_000_000])
async def test_an_answer_is_read_whole(encoding: str | None, sent: bytes, piece: int):
    """In whatever pieces it arrives."""
    pieces = [sent[start : start + piece] for start in range(0, len(sent), piece)]
    assert await whole(answer(encoding, *pieces)) == TEXT


async def test_a_bomb_is_inflated_only_as_far_as_it_is_read():
    """One small piece that would fill the memory gives one bounded chunk at a time."""
    response = answer("gzip", gzip.compress(b"\0" * 50_000_000))
    read = reader_of(response)
    assert len(await read()) == AT_ONCE_BYTES
    assert len(await read()) == AT_ONCE_BYTES
    assert response.content.reads == 1


@pytest.mark.parametrize("sent", [ZIPPED[:-9], b"plain text", b""], ids=["cut", "plain", "empty"])
async def test_an_answer_that_cannot_be_inflated_is_broken(sent: bytes):
    """Cut short, or not compressed at all."""
    with pytest.raises(aiohttp.ClientPayloadError):
        await whole(answer("gzip", sent))
