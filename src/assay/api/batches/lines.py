"""Cuts a stream of bytes into lines, of which one at a time is in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

BOM = b"\xef\xbb\xbf"
LINES_AT_ONCE = 256
"""After so many lines others get a turn: a body of nothing but line ends has millions."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is not blank, or what is wrong with it; `document` where it is parsed already."""

    number: int
    content: bytes = b""
    fault: str = ""
    document: dict[str, Any] | None = None


async def lines_of(stream: AsyncIterator[bytes], bytes_max: int) -> AsyncIterator[Line]:
    """Every line that is not blank, numbered from 1; of one over `bytes_max` nothing is kept."""
    rest = bytearray()
    number = 1
    skipping = False
    async for piece in stream:
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            rest += piece[start:end]
            line = _line(number, bytes(rest), bytes_max, skipping)
            if line is not None:
                yield line
            rest.clear()
            number, start, skipping = number + 1, end + 1, False
            if number % LINES_AT_ONCE == 0:
                await asyncio.sleep(0)
        rest += piece[start:]
        if len(rest) > bytes_max:
            rest.clear()
            skipping = True
    line = _line(number, bytes(rest), bytes_max, skipping)
    if line is not None:
        yield line


def _line(number: int, content: bytes, bytes_max: int, skipping: bool) -> Line | None:
    if skipping or len(content) > bytes_max:
        return Line(number, fault=f"longer than {bytes_max} bytes")
    stripped = content.removeprefix(BOM if number == 1 else b"").strip()
    return Line(number, stripped) if stripped else None
