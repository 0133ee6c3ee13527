"""What is asked at the same time is asked in one call, and each caller gets its own answer."""

from __future__ import annotations

import asyncio

import pytest

from assay.domain.errors import StoreUnavailable
from assay.domain.supervision import Supervisor
from assay.resilience.grouped_calls import QUESTIONS_MAX, GroupedCalls
from fakes.recorded_events import RecordedEvents


class Store:
    """Answers each number with its double; may be held, and may be gone."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.gone_for: set[int] = set()
        self.too_few = False
        self.open = asyncio.Event()
        self.supervisor = Supervisor(RecordedEvents())
        self.grouped = GroupedCalls(self.ask, self.supervisor)

    async def ask(self, numbers):
        self.calls.append(list(numbers))
        await self.open.wait()
        if self.gone_for & set(numbers):
            raise StoreUnavailable("the store is gone")
        answers = [2 * number for number in numbers]
        return answers[:-1] if self.too_few and len(answers) > 1 else answers

    async def asked(self, count: int) -> list[asyncio.Task[int]]:
        """The tasks of so many callers, the first of which is being answered."""
        tasks = [asyncio.ensure_future(self.grouped.answer(number)) for number in range(count)]
        await asyncio.sleep(0)
        return tasks


async def test_a_single_caller_asks_at_once():
    """One after another, nobody waits for others."""
    store = Store()
    store.open.set()
    assert [await store.grouped.answer(number) for number in (1, 2, 3)] == [2, 4, 6]
    assert store.calls == [[1], [2], [3]]


@pytest.mark.parametrize("others", [1, QUESTIONS_MAX, QUESTIONS_MAX + 1, 1_003])
async def test_those_who_ask_meanwhile_share_calls(others):
    """In order, and so many in a call that the store does not stand still for others."""
    store = Store()
    tasks = await store.asked(1 + others)
    store.open.set()
    assert await asyncio.gather(*tasks) == [2 * number for number in range(1 + others)]
    assert [number for call in store.calls for number in call] == list(range(1 + others))
    assert len(store.calls) == 1 + -(-others // QUESTIONS_MAX)
    assert max(map(len, store.calls)) <= QUESTIONS_MAX
    assert await store.grouped.answer(7) == 14
    assert store.calls[-1] == [7]


async def test_a_caller_who_leaves_is_not_asked_for():
    """Nor does it matter to the others, whether it waits or is the one who asks."""
    store = Store()
    tasks = await store.asked(4)
    tasks[0].cancel()
    tasks[2].cancel()
    store.open.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [answers[1], answers[3]] == [2, 6]
    assert isinstance(answers[0], asyncio.CancelledError)
    assert isinstance(answers[2], asyncio.CancelledError)
    assert store.calls == [[0], [1, 3]]


async def test_a_failure_reaches_all_who_shared_the_call_and_nobody_else():
    """The next call is made as if nothing had been."""
    store = Store()
    store.gone_for = {3}
    tasks = await store.asked(2 + QUESTIONS_MAX)
    store.open.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers[0] == 0
    assert all(isinstance(answer, StoreUnavailable) for answer in answers[1:-1])
    assert answers[-1] == 2 * (1 + QUESTIONS_MAX)


async def test_answers_that_are_too_few_leave_no_caller_waiting():
    """Whoever has none learns it, and the next call is made as if nothing had been."""
    store = Store()
    store.too_few = True
    tasks = await store.asked(4)
    store.open.set()
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers[:3] == [0, 2, 4]
    assert isinstance(answers[3], ValueError)
    store.too_few = False
    assert await store.grouped.answer(7) == 14


async def test_nobody_waits_for_a_process_that_stops():
    """Those in the call under way and those behind them learn that there is no answer."""
    store = Store()
    tasks = await store.asked(2 + 2 * QUESTIONS_MAX)
    tasks[0].cancel()
    await asyncio.sleep(0.01)
    assert len(store.calls) == 2
    await store.supervisor.stop()
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*tasks[1:], return_exceptions=True)
    assert all(isinstance(answer, StoreUnavailable) for answer in answers)
