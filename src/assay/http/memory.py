"""How a serving process keeps its memory: few looks by the collector, floods given back."""

from __future__ import annotations

import asyncio
import ctypes
import gc

from assay.http.lifecycle import Load

GC_THRESHOLDS = (50_000, 20, 50)
"""Objects made beyond those freed, before the youngest are looked at; then in multiples."""
LOOK_EVERY_S = 5.0
TRIM_BYTES_MIN = 64 * 1_048_576
"""Less than this many bytes of bodies leave no holes worth the time to give them back."""
LARGE_BLOCK_BYTES = 32 * 1_048_576
"""What is larger is mapped by itself; glibc takes no more than this."""
KEPT_BYTES = 256 * 1_048_576
"""Free at the end of the heap, before the C library gives it back by itself."""
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Names of the C library's settings, from malloc.h."""


def settle_memory() -> None:
    """Take what start-up made out of the collector's sight, and let it look less often.

    What is made from now on lives as long as a request, and nearly all of it is freed without
    the collector; a look at everything would hold the loop for tens of milliseconds.

    Freed blocks of a body's size stay with the C library: to map each by itself, or to give the
    end of the heap back whenever it is free, costs a page fault for every 4 KB of the next body,
    a tenth of all CPU at 1 MB.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    tune = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's; others need none
    if tune is not None:
        tune(MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
        tune(TRIM_THRESHOLD, KEPT_BYTES)


async def give_back_memory(load: Load) -> None:
    """After a flood, return what the C library keeps free; for as long as the task lives.

    Large blocks stay on its heap (see `settle_memory`); the holes that many of them leave are
    returned once the bodies are gone.
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
