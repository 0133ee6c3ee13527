"""JSON whose whole numbers keep all their digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from pydantic_core import from_json, to_json


def loads(raw: bytes) -> Any:
    """The value of JSON that this service has written."""
    return from_json(raw, cache_strings="keys")


def decode_fault(error: orjson.JSONDecodeError, raw: bytes) -> str:
    """Why orjson refused `raw` and where, without any of its text.

    Of bytes that are not UTF-8, it speaks of surrogates at the first character.
    """
    try:
        raw.decode()
    except UnicodeDecodeError as undecodable:
        return f"text is not valid UTF-8 at byte {undecodable.start + 1}"
    return str(error)


def dumps(
    value: Any, *, default: Callable[[Any], Any] | None = None, option: int | None = None
) -> bytes:
    """The JSON of a value; `default` and `option` are those of `orjson.dumps`.

    orjson is fast, and ends at 64 bits: a value with a longer number goes to pydantic's writer.
    """
    try:
        return orjson.dumps(value, default=default, option=option)
    except TypeError as error:
        if "64-bit" not in str(error):
            raise
        return to_json(value, fallback=default)
