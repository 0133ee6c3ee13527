"""Random values, drawn from the system's source in blocks: to ask it for each of them costs more
than all else about a name."""

from __future__ import annotations

import os
import threading

BLOCK_BYTES = 4_096

_lock = threading.Lock()
_block = bytearray()


def random_hex(size: int) -> str:
    """`size` bytes that nobody can foresee, as hex digits; none of them is given out twice."""
    with _lock:
        if len(_block) < size:
            _block[:] = os.urandom(max(BLOCK_BYTES, size))
        kept = len(_block) - size
        drawn = _block[kept:]
        del _block[kept:]
    return drawn.hex()


os.register_at_fork(after_in_child=_block.clear)
