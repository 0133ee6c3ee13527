"""JSON pointers (RFC 6901): how errors say where in the caller's document a fault lies."""

from __future__ import annotations

from collections.abc import Iterable

POINTER_CHARS_MAX = 256


def json_pointer(location: Iterable[str | int]) -> str:
    """The pointer to the end of these keys and indices; a very long one is cut."""
    pointer = "".join(f"/{pointer_part(str(step))}" for step in location)
    return pointer if len(pointer) <= POINTER_CHARS_MAX else pointer[:POINTER_CHARS_MAX] + "…"


def pointer_part(name: str) -> str:
    """A field name as a part of a pointer."""
    return name.replace("~", "~0").replace("/", "~1")
