"""The forms in which texts are compared and parsed."""

from __future__ import annotations

import json
import re
import unicodedata
from itertools import pairwise
from typing import Any

import regex
from pydantic_core import from_json

from assay.domain.errors import NotApplicable

WORD = regex.compile(r"[\p{L}\p{N}][\p{L}\p{N}\p{M}\u200c\u200d]*")
"""Letters and digits of any script, with their combining marks and the joiners between them."""

FENCE = "```"
FENCE_OPENING = re.compile(r"```[\w+-]{0,32}\s*")


TEXT_WORK_MAX = 20_000
"""Characters that may be compared on the event loop: at most 0.2 µs each to normalise and fold."""

MARKS_MAX = 30
"""Marks after a letter that are put in order together. Sorting takes the square of their number,
and no language needs as many: Unicode's stream-safe format ends a run there, too."""
LONG_MARKS = regex.compile(rf"\p{{M}}{{{MARKS_MAX}}}(?=\p{{M}})")


def comparable(text: str, *, ignore_case: bool = False) -> str:
    """The text in Unicode normalization form C, case-folded with `ignore_case`.

    An accent is the same letter whether it is one code point or two; compatibility forms (full
    width, ligatures) stay different. Case folding makes ß equal to ss. Source: Unicode Standard
    Annex #15.
    """
    normal = _normalized(text)
    return _normalized(normal.casefold()) if ignore_case else normal


def _normalized(text: str) -> str:
    if text.isascii():
        return text
    ends = [0, *(run.end() for run in LONG_MARKS.finditer(text)), len(text)]
    return "".join(unicodedata.normalize("NFC", text[a:b]) for a, b in pairwise(ends))


def words(text: str) -> list[str]:
    """The text's words (`WORD`) in lower case."""
    found: list[str] = WORD.findall(text.lower())
    return found


def parse_json(text: str) -> Any:
    """The value of strict JSON; whole numbers keep all their digits.

    Raises `ValueError`, and `NotApplicable` for JSON that is nested too deeply.
    """
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError as error:
        if "recursion" not in str(error) and "out of range" not in str(error):
            raise
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (RecursionError, ValueError) as error:
        if isinstance(error, json.JSONDecodeError):
            raise
        raise NotApplicable(
            "check_error", "the JSON is nested too deeply, or has a number too long, to be parsed"
        ) from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def without_fence(text: str) -> str:
    """The inside of a text that is one ``` code block, of any language; any other text as it is.

    Source: CommonMark 0.31, fenced code blocks.
    """
    opening, newline, rest = text.strip().partition("\n")
    if newline and rest.endswith(FENCE) and FENCE_OPENING.fullmatch(opening):
        return rest.removesuffix(FENCE)
    return text
