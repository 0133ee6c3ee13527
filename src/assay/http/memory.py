"""Memory of a serving process: a quiet garbage collector, and memory returned after a flood."""

from __future__ import annotations

import asyncio
import ctypes
import gc

from assay.domain.supervision import SupervisedTask
from assay.http.lifecycle import Load

GC_THRESHOLDS = (50_000, 20, 50)
"""Net allocations before the youngest generation is collected, then counts of collections."""
CHECK_INTERVAL_S = 5.0
TRIM_BYTES_MIN = 64 * 1_048_576
"""Fewer bytes of bodies leave no holes that are worth the time to return them."""
LARGE_BLOCK_BYTES = 32 * 1_048_576
"""Larger blocks are mapped on their own; this is the largest value that glibc accepts."""
KEPT_BYTES = 256 * 1_048_576
"""Free memory at the end of the heap from which on the C library returns it."""
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Parameters of `mallopt`, from malloc.h."""


def settle_memory() -> None:
    """Exclude the objects of start-up from garbage collection, and collect less often.

    Objects made later live as long as a request, and reference counting frees nearly all of them;
    a full collection would stop the event loop for tens of milliseconds.

    Freed blocks of a body's size stay with the C library. To map each of them on its own, or to
    return the end of the heap whenever it is free, costs a page fault for every 4 KB of the next
    body: a tenth of all CPU at 1 MB.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    tune = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's; others need none
    if tune is not None:
        tune(MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
        tune(TRIM_THRESHOLD, KEPT_BYTES)


async def give_back_memory(load: Load, task: SupervisedTask) -> None:
    """Return free memory to the system after each flood of bodies, until the task stops.

    Large blocks stay on the C library's heap (see `settle_memory`); the holes that many of them
    leave are returned once the bodies are gone.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others need none
    peak_bytes = 0
    while trim is not None and not task.stopping:
        await asyncio.sleep(CHECK_INTERVAL_S)
        peak_bytes = max(peak_bytes, load.take_peak())
        if peak_bytes >= TRIM_BYTES_MIN and load.body_bytes < peak_bytes // 4:
            trim(0)
            peak_bytes = 0
