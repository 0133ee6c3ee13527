"""Ids: random values, and names that sort by time.

Random values are drawn from the operating system in blocks: one system call for each would cost
more than everything else about an id.
"""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime

BLOCK_BYTES = 4_096

_lock = threading.Lock()
_block = bytearray()


def random_hex(size: int) -> str:
    """`size` unpredictable bytes as hex digits; no byte is used twice."""
    with _lock:
        if len(_block) < size:
            _block[:] = os.urandom(max(BLOCK_BYTES, size))
        kept = len(_block) - size
        drawn = _block[kept:]
        del _block[kept:]
    return drawn.hex()


def new_id(kind: str) -> str:
    """The kind, `_` and 32 hex digits: 48 bits of milliseconds, so that ids sort, and 80 random."""
    return id_at(kind, now_ms())


def id_at(kind: str, at_ms: int) -> str:
    """As `new_id`, for a given time in milliseconds since 1970."""
    return f"{kind}_{at_ms:012x}{random_hex(10)}"


def now_ms() -> int:
    """The current time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def shown_time(at_ms: int) -> str:
    """A time as responses show it: ISO 8601, in UTC, to the second."""
    return datetime.fromtimestamp(at_ms // 1_000, UTC).isoformat().replace("+00:00", "Z")


def id_time_ms(name: str) -> int:
    """The time in an id, in milliseconds since 1970."""
    return int(name.rpartition("_")[2][:12], 16)


os.register_at_fork(after_in_child=_block.clear)
