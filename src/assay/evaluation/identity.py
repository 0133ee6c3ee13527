"""Names for results that sort by time."""

from __future__ import annotations

import time

from assay.domain.ids import random_hex


def new_id(kind: str) -> str:
    """The kind, `_` and 32 hex digits: 48 bits of milliseconds, so that ids sort, then chance."""
    return f"{kind}_{time.time_ns() // 1_000_000:012x}{random_hex(10)}"
