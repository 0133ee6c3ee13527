"""Works side by side: results in order, one failure for all, and nothing left running."""

from __future__ import annotations

import asyncio

import pytest

from assay.judging.concurrency import side_by_side


class Works:
    """Makes works that answer after some turns, fail, or wait, and notes who was cancelled."""

    def __init__(self) -> None:
        self.waiting = 0
        self.cancelled: list[int] = []

    async def answer(self, number: int, turns: int = 0) -> int:
        for _ in range(turns):
            await asyncio.sleep(0)
        return number

    async def fail(self, failure: BaseException, turns: int = 0) -> int:
        await self.answer(0, turns)
        raise failure

    async def wait(self, number: int) -> int:
        self.waiting += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        return number


@pytest.mark.parametrize("count", [0, 1, 2, 50])
async def test_results_come_in_the_order_of_the_works(count):
    """None, one or many; whichever ends first."""
    works = Works()
    results = await side_by_side(works.answer(each, count - each) for each in range(count))
    assert results == list(range(count))


async def test_works_run_at_the_same_time():
    """Each may wait for what another one does."""
    met = asyncio.Barrier(3)
    assert sorted(await side_by_side(met.wait() for _ in range(3))) == [0, 1, 2]


async def test_one_that_works_alone_takes_no_task():
    """It runs in the caller's own."""

    async def task():
        return asyncio.current_task()

    assert await side_by_side([task()]) == [asyncio.current_task()]
    assert asyncio.current_task() not in await side_by_side([task(), task()])


@pytest.mark.parametrize(
    "failure", [ValueError("no"), ExceptionGroup("several", [ValueError("no")])], ids=repr
)
@pytest.mark.parametrize("others", [0, 1, 5])
async def test_the_first_failure_is_raised_as_itself(failure, others):
    """Not as a group of one; the others are cancelled and have ended."""
    works = Works()
    before = asyncio.all_tasks()
    waiting = [works.wait(number) for number in range(others)]
    with pytest.raises(type(failure)) as raised:
        await side_by_side([*waiting, works.fail(failure, 3)])
    assert raised.value is failure
    assert sorted(works.cancelled) == list(range(others))
    assert asyncio.all_tasks() == before


async def test_of_two_failures_the_first_counts():
    """First in time, wherever it stands."""
    works = Works()
    with pytest.raises(KeyError):
        await side_by_side([works.fail(ValueError("late"), 9), works.fail(KeyError("early"), 2)])


@pytest.mark.parametrize("count", [1, 2, 20])
async def test_cancellation_reaches_all(count):
    """A caller that is cancelled while it waits leaves none of them running."""
    works = Works()
    before = asyncio.all_tasks()
    task = asyncio.create_task(side_by_side([works.wait(number) for number in range(count)]))
    while works.waiting < count:  # noqa: ASYNC110 # all of them are to be under way
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(works.cancelled) == list(range(count))
    assert asyncio.all_tasks() == before
