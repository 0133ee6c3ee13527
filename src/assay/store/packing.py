"""The stored form of a value with a short head: the head as a line of JSON, then the body."""

from __future__ import annotations

from typing import Any

import orjson
from isal import isal_zlib  # zlib's format in half its time

COMPRESS_OVER_BYTES = 256
PLAIN, DEFLATED = b"0", b"1"


def pack(head: object, body: bytes) -> bytes:
    """Both as one value, compressed where that is worth it."""
    whole = orjson.dumps(head) + b"\n" + body
    if len(whole) <= COMPRESS_OVER_BYTES:
        return PLAIN + whole
    return DEFLATED + isal_zlib.compress(whole, 1)


def unpack(packed: bytes) -> tuple[Any, bytes]:
    """The head and the body of a packed value."""
    whole = packed[1:] if packed[:1] == PLAIN else isal_zlib.decompress(packed[1:])
    head, _, body = whole.partition(b"\n")
    return orjson.loads(head), body
