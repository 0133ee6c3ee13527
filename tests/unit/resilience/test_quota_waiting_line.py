"""The line of one process."""

from __future__ import annotations

import asyncio

from assay.domain.completion import Caller
from assay.resilience.waiting_line import WaitingLine

URGENT = Caller(priority="interactive")
BATCH = Caller(priority="batch")


def test_only_one_caller_is_at_the_head():
    """And the next one takes over when it leaves."""
    line = WaitingLine()
    with line.place(URGENT, {}) as first:
        with line.place(URGENT, {}) as second:
            assert first.at_head.is_set()
            assert not second.at_head.is_set()
        assert first.at_head.is_set()
    with line.place(URGENT, {}) as third:
        assert third.at_head.is_set()


async def test_an_urgent_caller_overtakes_a_batch_row_in_its_rest():
    """The row wakes up at once and waits for the head again."""
    line = WaitingLine()
    with line.place(BATCH, {}) as row:
        resting = asyncio.create_task(row.rest(30))
        await asyncio.sleep(0)
        with line.place(URGENT, {}) as urgent:
            await asyncio.wait_for(resting, 1)
            assert urgent.at_head.is_set()
            assert not row.at_head.is_set()
        assert row.at_head.is_set()
        assert not row.overtaken.is_set()


def test_a_batch_row_that_waited_long_goes_first():
    """Its handicap is ten seconds, not for ever."""
    line = WaitingLine()
    with line.place(BATCH, {}) as row:
        row.arrived_s -= 11
        with line.place(URGENT, {}):
            assert row.at_head.is_set()


def test_costs_before_a_caller_are_of_those_that_stay_before_it():
    """An urgent caller does not wait for the rows."""
    line = WaitingLine()
    with line.place(BATCH, {"requests": 1, "tokens": 50}), line.place(URGENT, {"requests": 1}):
        assert line.costs_before(URGENT) == {"requests": 1}
        assert line.costs_before(BATCH) == {"requests": 2, "tokens": 50}
