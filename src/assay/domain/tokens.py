"""How many tokens a text has, told from its size: no megabyte is tokenised on the event loop."""

from __future__ import annotations

import math
from collections.abc import Iterable

BYTES_PER_TOKEN = 4
SAMPLE_CHARS = 4_096


def estimated_tokens(texts: Iterable[str]) -> int:
    """UTF-8 bytes of all texts, divided by four and rounded up."""
    return math.ceil(sum(map(text_bytes, texts)) / BYTES_PER_TOKEN)


def text_bytes(text: str) -> float:
    """Length in UTF-8; of a long text that is not ASCII, told from a sample of its middle."""
    if text.isascii():
        return len(text)
    if len(text) <= SAMPLE_CHARS:
        return len(text.encode(errors="replace"))
    middle = (len(text) - SAMPLE_CHARS) // 2
    sample = text[middle : middle + SAMPLE_CHARS].encode(errors="replace")
    return len(text) * len(sample) / SAMPLE_CHARS
