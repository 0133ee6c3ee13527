"""Cuts a stream of bytes into lines, with one line at a time in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

BOM = b"\xef\xbb\xbf"
LINES_PER_TURN = 256
"""Then the event loop gets a turn: a body of nothing but line ends has millions of lines."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is not blank, or what is wrong with it; `document` if it is already parsed."""

    number: int
    content: bytes = b""
    fault: str = ""
    document: dict[str, Any] | None = None


async def read_lines(stream: AsyncIterator[bytes], bytes_max: int) -> AsyncIterator[Line]:
    """Every line that is not blank, numbered from 1; a longer one than `bytes_max` is dropped."""
    rest = bytearray()
    number = 1
    skipping = False
    async for chunk in stream:
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            rest += chunk[start:end]
            line = _line(number, bytes(rest), bytes_max, skipping)
            if line is not None:
                yield line
            rest.clear()
            number, start, skipping = number + 1, end + 1, False
            if number % LINES_PER_TURN == 0:
                await asyncio.sleep(0)
        rest += chunk[start:]
        if len(rest) > bytes_max:
            rest.clear()
            skipping = True
    line = _line(number, bytes(rest), bytes_max, skipping)
    if line is not None:
        yield line


def _line(number: int, content: bytes, bytes_max: int, skipping: bool) -> Line | None:
    if skipping or len(content) > bytes_max:
        return Line(number, fault=f"must have at most {bytes_max} bytes")
    stripped = content.removeprefix(BOM if number == 1 else b"").strip()
    return Line(number, stripped) if stripped else None
