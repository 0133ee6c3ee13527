"""The known name that an unknown one was probably meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

NAME_CHARS_MAX = 100
"""Of a longer name only the beginning is compared: the comparison is quadratic."""


def nearest(name: object, known: Iterable[str]) -> str | None:
    """The known name that is most like `name`; None where none is."""
    if not isinstance(name, str):
        return None
    found = difflib.get_close_matches(name[:NAME_CHARS_MAX], list(known), n=1)
    return found[0] if found else None


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the end of a message, or nothing."""
    found = nearest(name, known)
    return "" if found is None else f"; did you mean {found!r}?"
