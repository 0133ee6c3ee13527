"""How a serving process keeps its memory: few looks by the collector, floods given back."""

from __future__ import annotations

import asyncio
import ctypes
import gc

from assay.api.lifecycle import Load

GC_THRESHOLDS = (10_000, 20, 50)
"""Objects made beyond those freed, before the youngest are looked at; then in multiples."""
LOOK_EVERY_S = 5.0
TRIM_BYTES_MIN = 64 * 1_048_576
"""Less than this many bytes of bodies leave no holes worth the time to give them back."""


def settle_memory() -> None:
    """Take what start-up made out of the collector's sight, and let it look less often.

    What is made from now on lives as long as a request, and nearly all of it is freed without
    the collector; a look at everything would hold the loop for tens of milliseconds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


async def give_back_memory(load: Load) -> None:
    """After a flood, return what the C library keeps free; for as long as the task lives.

    Large blocks stay on its heap, where the next request finds them without a page fault each
    4 KB: to map each by itself was measured at two thirds more CPU for a megabyte. The holes that
    many of them leave are returned once the bodies are gone.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others need none
    most_bytes = 0
    while trim is not None:
        await asyncio.sleep(LOOK_EVERY_S)
        most_bytes = max(most_bytes, load.body_bytes_most)
        load.body_bytes_most = load.body_bytes
        if most_bytes >= TRIM_BYTES_MIN and load.body_bytes < most_bytes // 4:
            trim(0)
            most_bytes = 0
