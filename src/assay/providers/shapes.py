"""Reads optional fields of a provider's JSON: a value of another shape counts as left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

COUNT_MAX = 1_000_000_000
"""More tokens than any call has; a larger count is none."""

MISSHAPEN = (LookupError, TypeError, AttributeError, ValueError)
"""What reading JSON of an unexpected shape may raise."""


def mapping_of(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def list_of(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def first_of(value: Any) -> Mapping[str, Any]:
    """The first object of a list of objects."""
    return mapping_of(value[0]) if isinstance(value, list) and value else {}


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else ""


def count_of(value: Any) -> int:
    """A count, also one written as a text; 0 if there is none."""
    try:
        count = int(value)
    except (TypeError, ValueError, OverflowError):
        return 0
    return count if 0 <= count <= COUNT_MAX else 0
