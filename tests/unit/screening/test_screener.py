"""A screener in several event loops, given up on, and closed."""

import asyncio
import threading

from assay.domain.completion import Caller
from assay.domain.evaluation import Case
from assay.screening import Screener
from fakes.recorded_events import RecordedEvents

LONG = Case(output="Nothing to see here. " * 20_000)


async def screened(screener: Screener) -> list[bool]:
    found = [screener.screen(LONG, ["flag"], Caller()) for _ in range(6)]
    return [bool(each.suspicions) for each in await asyncio.gather(*found)]


def test_long_cases_are_searched_in_any_loop_however_many_wait():
    """A search that waits in one loop does not bind the screener to it."""
    screener = Screener(RecordedEvents())
    for _ in range(2):
        assert asyncio.run(screened(screener)) == [False] * 6


async def test_a_search_that_is_given_up_leaves_the_next_its_turn():
    """A cancelled search keeps no place that others wait for."""
    screener = Screener(RecordedEvents())
    left = asyncio.create_task(screened(screener))
    await asyncio.sleep(0.001)
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    assert await screened(screener) == [False] * 6


async def test_a_closed_screener_leaves_no_thread():
    """Its search thread ends with it."""
    before = set(threading.enumerate())
    screener = Screener(RecordedEvents())
    await screener.screen(LONG, ["flag"], Caller())
    [searcher] = [
        thread for thread in set(threading.enumerate()) - before if "search" in thread.name
    ]
    await screener.aclose()
    await asyncio.to_thread(searcher.join, 30)
    assert not searcher.is_alive()
