"""What differs between two texts, word by word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

WORDS_MAX = 20_000
"""Of both texts together: the time grows with the product of their lengths."""
CHARS_MAX = 20 * WORDS_MAX
WORD = re.compile(r"\s+|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+|[^\w\s]")
"""Characters of scripts that write no spaces stand alone."""


class Span(NamedTuple):
    """A part of one of the texts."""

    kind: Literal["same", "removed", "added"]
    text: str


def word_diff(before: str, after: str) -> tuple[list[Span], list[Span]] | None:
    """Both texts in spans; None where they are too long to be compared."""
    if len(before) + len(after) > CHARS_MAX:
        return None
    old, new = WORD.findall(before), WORD.findall(after)
    if len(old) + len(new) > WORDS_MAX:
        return None
    removed: list[Span] = []
    added: list[Span] = []
    for kind, start, end, new_start, new_end in SequenceMatcher(None, old, new).get_opcodes():
        _add(removed, Span("same" if kind == "equal" else "removed", _text(old[start:end])))
        _add(added, Span("same" if kind == "equal" else "added", _text(new[new_start:new_end])))
    return removed, added


def _add(spans: list[Span], span: Span) -> None:
    if span.text:
        spans.append(span)


def _text(words: Sequence[str]) -> str:
    return "".join(words)
