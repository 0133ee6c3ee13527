"""Bounded concurrency over a stream."""

import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.client.ordered import WINDOW_PER_SLOT, async_in_order, for_each_in_order, in_order


async def stream(items):
    for item in items:
        yield item


@given(naps=st.lists(st.integers(0, 3), max_size=30), concurrency=st.integers(1, 5))
def test_results_come_in_the_order_of_the_input(naps, concurrency):
    """However long each item takes, results are in order and no more than allowed are at work."""
    taken, at_work, most = [], 0, 0

    async def work(pair):
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        for _ in range(pair[1]):
            await asyncio.sleep(0)
        at_work -= 1
        return pair[0]

    asyncio.run(for_each_in_order(stream(enumerate(naps)), work, taken.append, concurrency))
    assert taken == list(range(len(naps)))
    assert most <= concurrency


async def test_a_long_stream_is_not_read_ahead_without_bound():
    """While the first item is at work, only a window of the stream is held."""
    read, gate = [], asyncio.Event()

    async def endless():
        for number in range(10_000):
            read.append(number)
            yield number

    async def work(number):
        await gate.wait()
        return number

    taken = []
    run = asyncio.create_task(for_each_in_order(endless(), work, taken.append, 2))
    for _ in range(200):
        await asyncio.sleep(0)
    assert len(read) <= 2 * WINDOW_PER_SLOT + 3
    gate.set()
    await run
    assert taken == read


async def test_what_is_done_when_cancelled_is_taken():
    """A cancelled run takes what is finished, also behind an unfinished item, and ends."""
    taken = []

    async def work(number):
        if number == 1:
            await asyncio.Event().wait()
        return number

    run = asyncio.create_task(for_each_in_order(stream(range(4)), work, taken.append, 2))
    for _ in range(50):
        await asyncio.sleep(0)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert taken == [0, 2, 3]
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("where", ["items", "work", "take"])
async def test_an_error_anywhere_ends_the_run_and_leaves_nothing_behind(where):
    """The stream, the work or the taker may fail: the error passes on and no task is left."""

    async def items():
        for number in range(100):
            if where == "items" and number == 5:
                raise OSError(where)
            yield number

    async def work(number):
        await asyncio.sleep(0)
        if where == "work" and number == 5:
            raise OSError(where)
        return number

    failed = False

    def take(number):
        nonlocal failed
        if where == "take" and number == 5 and not failed:
            failed = True
            raise OSError(where)

    with pytest.raises(OSError, match=where):
        await for_each_in_order(items(), work, take, 3)
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1


def test_an_interruption_waits_for_no_call():
    """Ctrl-C is raised at once, while a call in flight is not yet answered."""
    gate = threading.Event()

    def rows():
        yield "in flight"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(in_order(rows(), lambda _: gate.wait(30), 1))
    assert not gate.is_set()
    assert [one for one in threading.enumerate() if one.name.startswith("assay")]
    gate.set()


@pytest.mark.parametrize("concurrency", [0, -1])
async def test_nothing_at_a_time_is_refused(concurrency):
    """It would wait for ever."""
    with pytest.raises(ValueError, match="concurrency"):
        list(in_order([1], str, concurrency))
    with pytest.raises(ValueError, match="concurrency"):
        await anext(async_in_order([1], asyncio.sleep, concurrency))
