"""A guard in more than one event loop, as an evaluator of a program that runs several."""

import asyncio
import threading

from assay.domain.completion import Caller
from assay.domain.evaluation import Case
from assay.screening import Screener
from fakes.recorded_events import RecordedEvents

LONG = Case(output="Nothing to see here. " * 20_000)


async def screened(guard: Screener) -> list[bool]:
    found = [guard.screen(LONG, ["flag"], Caller()) for _ in range(6)]
    return [bool(each.suspicions) for each in await asyncio.gather(*found)]


def test_long_cases_are_searched_in_any_loop_however_many_wait():
    """What waits for its turn in one loop binds the guard to none."""
    guard = Screener(RecordedEvents())
    for _ in range(2):
        assert asyncio.run(screened(guard)) == [False] * 6


async def test_a_search_that_is_given_up_leaves_the_next_its_turn():
    """Whoever leaves takes nothing along that others wait for."""
    guard = Screener(RecordedEvents())
    left = asyncio.create_task(screened(guard))
    await asyncio.sleep(0.001)
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    assert await screened(guard) == [False] * 6


async def test_a_closed_screener_leaves_no_thread():
    """Its search thread ends with it."""
    before = set(threading.enumerate())
    guard = Screener(RecordedEvents())
    await guard.screen(LONG, ["flag"], Caller())
    [searcher] = [
        thread for thread in set(threading.enumerate()) - before if "search" in thread.name
    ]
    await guard.aclose()
    await asyncio.to_thread(searcher.join, 30)
    assert not searcher.is_alive()
