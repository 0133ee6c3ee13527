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


async def test_the_most_bytes_in_flight_are_remembered() -> None:
    """The most stays when the bodies go, until whoever read it sets it back."""
    load = Load()
    load.enter()
    load.take(300)
    load.enter()
    load.take(200)
    load.leave(500)
    assert (load.body_bytes, load.body_bytes_most) == (0, 500)
