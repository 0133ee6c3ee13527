"""Compressed answers: some servers send them though none is asked for."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable

import aiohttp

AT_ONCE_BYTES = 256 * 1024
"""Inflated at once, in a thread: the reader counts before it asks for more."""
GZIP_OR_ZLIB = 47
"""`wbits` for either header, with the largest window."""


def reader_of(response: aiohttp.ClientResponse) -> Callable[[], Awaitable[bytes]]:
    """What reads the next bytes of an answer, inflated; none at its end.

    Raises `aiohttp.ClientPayloadError` for an answer that cannot be inflated.
    """
    match response.headers.get("Content-Encoding", "identity").strip().lower():
        case "gzip" | "x-gzip" | "deflate":
            return _Inflating(response.content).read
        case _:  # an unknown encoding is read as malformed JSON
            return response.content.readany


class _Inflating:
    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content
        self._inflater = zlib.decompressobj(GZIP_OR_ZLIB)

    async def read(self) -> bytes:
        inflater = self._inflater
        while not inflater.eof:
            compressed = inflater.unconsumed_tail or await self._content.readany()
            try:
                chunk = await asyncio.to_thread(inflater.decompress, compressed, AT_ONCE_BYTES)
            except zlib.error:
                raise aiohttp.ClientPayloadError("the answer cannot be inflated") from None
            if chunk:
                return chunk
            if not compressed:
                raise aiohttp.ClientPayloadError("the compressed answer is cut short")
        return await self._content.readany() and b""
