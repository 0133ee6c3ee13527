"""The forms in which texts are compared and parsed."""

from __future__ import annotations

import re
import unicodedata

FENCE = "```"
FENCE_OPENING = re.compile(r"```[\w+-]{0,32}\s*")


def comparable(text: str, *, ignore_case: bool = False) -> str:
    """The text in Unicode normalization form C, case-folded with `ignore_case`.

    An accent is the same letter whether it is one code point or two; compatibility forms (full
    width, ligatures) stay different. Case folding makes ß equal to ss. Source: Unicode Standard
    Annex #15.
    """
    normal = unicodedata.normalize("NFC", text)
    return unicodedata.normalize("NFC", normal.casefold()) if ignore_case else normal


def without_fence(text: str) -> str:
    """The inside of a text that is one ``` code block, of any language; any other text as it is.

    Source: CommonMark 0.31, fenced code blocks.
    """
    opening, newline, rest = text.strip().partition("\n")
    if newline and rest.endswith(FENCE) and FENCE_OPENING.fullmatch(opening):
        return rest.removesuffix(FENCE)
    return text
