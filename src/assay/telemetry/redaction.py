"""Keeps secrets, and characters that could forge other lines, out of the log."""

from __future__ import annotations

import re
from functools import lru_cache

from structlog.typing import EventDict, WrappedLogger

VALUE_CHARS_MAX = 2_000
TRACE_CHARS_MAX = 20_000
MASK = "***"

_SECRET_NAME = re.compile(
    r"(?:api_?key|authorization|password|passwd|secret|cookie|token)$", re.IGNORECASE
)
_SECRET_TEXT = re.compile(
    r"""(?P<scheme>\b(?:Bearer|Basic)\s+)[^\s,;'"]+              # credentials of a header
    |(?P<user>://[^\s:/@]{0,200}:)[^\s@/]{1,200}(?=@)          # the password in a URL
    |\b(?:sk|pk|ak|rk|assay|xai|gsk)[-_][A-Za-z0-9_\-]{16,}    # keys of providers, and our own
    |\bAIza[A-Za-z0-9_\-]{20,}""",
    re.IGNORECASE | re.VERBOSE,
)
_WORD = re.compile(r"[a-z0-9/.:]{0,40}")
"""A plain word, such as a route or a host: too plain for a key, a password or a control."""
# C0, DEL and C1 controls, line and paragraph separators, and the marks that reorder text.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def redacted(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Mask what is secret by its name or its form, and escape control characters.

    So no value ends its line or controls the terminal.
    """
    for name, value in event.items():
        if isinstance(value, int | float | None) or name.startswith("_"):
            continue
        if _is_secret(name):
            event[name] = MASK
            continue
        text = str(value)
        if not _WORD.fullmatch(text):
            is_trace = name == "exception"
            text = _cut(
                escape(mask(text), keep="\n" if is_trace else ""),
                TRACE_CHARS_MAX if is_trace else VALUE_CHARS_MAX,
            )
        event[name] = text
    return event


@lru_cache(maxsize=1_024)
def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def mask(text: str) -> str:
    """The text, with everything that looks like a secret masked."""
    return _SECRET_TEXT.sub(lambda found: (found["scheme"] or found["user"] or "") + MASK, text)


def escape(text: str, keep: str = "") -> str:
    """The text with control characters as `\\x1b`, `\\u2028`, except those in `keep`."""
    return _CONTROL.sub(lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], text)


def _cut(text: str, chars_max: int) -> str:
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"
