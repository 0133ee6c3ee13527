"""Estimates of tokens from the size of texts: no megabyte is tokenised on the event loop."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import chain
from typing import Any

from assay.domain.completion import Prompt
from assay.domain.images import Image

BYTES_PER_TOKEN = 4
SAMPLE_CHARS = 4_096


def estimated_tokens(parts: Iterable[str | Image]) -> int:
    """UTF-8 bytes of all texts, divided by four and rounded up, and the tokens of all images."""
    size = 0.0
    for part in parts:
        if isinstance(part, Image):
            size += part.tokens * BYTES_PER_TOKEN
        else:
            size += len(part) if part.isascii() else text_bytes(part)
    return math.ceil(size / BYTES_PER_TOKEN)


def prompt_tokens(prompt: Prompt[Any]) -> int:
    """The estimate for all turns of a prompt."""
    return estimated_tokens(chain.from_iterable([turn.parts for turn in prompt.turns]))


def text_bytes(text: str) -> float:
    """Length in UTF-8; a long text that is not ASCII is measured by a sample of its middle."""
    if text.isascii():
        return len(text)
    if len(text) <= SAMPLE_CHARS:
        return len(text.encode(errors="replace"))
    middle = (len(text) - SAMPLE_CHARS) // 2
    sample = text[middle : middle + SAMPLE_CHARS].encode(errors="replace")
    return len(text) * len(sample) / SAMPLE_CHARS
