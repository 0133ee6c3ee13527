"""The memory of a process after start-up and after a flood."""

from __future__ import annotations

import gc

from assay.http.lifecycle import Load
from assay.http.memory import GC_THRESHOLDS, settle_memory


def test_what_start_up_made_is_out_of_the_collectors_sight() -> None:
    """The objects made so far are frozen, and the youngest are looked at less often."""
    before = gc.get_threshold()
    try:
        settle_memory()
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold() == GC_THRESHOLDS
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


async def test_the_peak_of_bytes_in_flight_is_remembered() -> None:
    """The high-water mark stays when the bodies go, until it is taken."""
    load = Load()
    load.enter()
    load.reserve(300)
    load.enter()
    load.reserve(200)
    load.leave(400)
    assert (load.body_bytes, load.take_peak()) == (100, 500)
    assert load.take_peak() == 100
