"""What is to be settled is handed on in batches, in order, and never waited for."""

from __future__ import annotations

import asyncio

import pytest

from assay.domain.errors import StoreUnavailable
from assay.domain.events import InternalFault
from assay.domain.supervision import RESTART_S_MAX, Supervisor
from assay.resilience.settlements import BATCH_MAX, GATHER_S, WAITING_MAX, Settlements
from fakes.clock import FakeClock
from fakes.recorded_events import RecordedEvents


def supervisor() -> Supervisor:
    return Supervisor(RecordedEvents())


class Store:
    """Keeps the batches that it takes; may be held, and may be gone."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gone_for: set[int] = set()
        self.open = asyncio.Event()
        self.open.set()

    async def settle(self, batch) -> None:
        self.batches.append(list(batch))
        await self.open.wait()
        if self.gone_for & set(batch):
            raise StoreUnavailable("the store is gone")

    @property
    def taken(self) -> list[int]:
        return [number for batch in self.batches for number in batch]


@pytest.mark.parametrize("count", [1, BATCH_MAX - 1, BATCH_MAX, BATCH_MAX + 1, 10 * BATCH_MAX + 3])
async def test_all_is_settled_in_order_and_in_small_batches(count):
    """No batch holds up the store for longer than its share, and none overtakes another."""
    store = Store()
    settlements = Settlements(store.settle, supervisor(), gather_s=0.0)
    for number in range(count):
        settlements.add(number)
    await settlements.aclose()
    assert store.taken == list(range(count))
    assert len(store.batches) == -(-count // BATCH_MAX)
    assert max(map(len, store.batches)) <= BATCH_MAX


async def test_a_batch_waits_for_others():
    """What comes within the moment after the first one goes in the same call."""
    store, clock = Store(), FakeClock()
    settlements = Settlements(store.settle, supervisor(), clock=clock)
    settlements.add(1)
    await clock.advance(GATHER_S / 2)
    settlements.add(2)
    await clock.advance(GATHER_S)
    settlements.add(3)
    await clock.advance(GATHER_S)
    assert store.batches == [[1, 2], [3]]


async def test_what_finds_no_room_is_dropped():
    """Adding never waits, and what was there before is settled all the same."""
    store = Store()
    store.open.clear()
    settlements = Settlements(store.settle, supervisor(), gather_s=0.0)
    for number in range(WAITING_MAX + 100):
        settlements.add(number)
    store.open.set()
    await settlements.aclose()
    assert store.taken == list(range(WAITING_MAX))


@pytest.mark.parametrize("gone_for", [{0}, {BATCH_MAX}, set(range(3 * BATCH_MAX - 1))])
async def test_a_store_that_is_gone_costs_its_batch_alone(gone_for):
    """Batches that found no store are dropped; those after them are settled."""
    store = Store()
    store.gone_for = gone_for
    settlements = Settlements(store.settle, supervisor(), gather_s=0.0)
    for number in range(3 * BATCH_MAX):
        settlements.add(number)
    await settlements.aclose()
    assert store.taken == list(range(3 * BATCH_MAX))


async def test_closing_settles_what_waits_and_leaves_no_task():
    """Also what is added after a first close; closing what was never used does nothing."""
    store = Store()
    before = asyncio.all_tasks()
    settlements = Settlements(store.settle, supervisor())
    await settlements.aclose()
    for number in range(2):
        settlements.add(number)
        await settlements.aclose()
        assert asyncio.all_tasks() == before
    assert store.batches == [[0], [1]]


async def test_an_unexpected_error_is_reported_and_costs_its_batch_alone():
    """Settling goes on after it, with what waits and with what comes later."""
    settled, events, clock = [], RecordedEvents(), FakeClock()

    async def settle(batch):
        if "bad" in batch:
            raise RuntimeError("unforeseen")
        settled.extend(batch)

    settlements = Settlements(settle, Supervisor(events, clock), gather_s=0.0, clock=clock)
    settlements.add("bad")
    await clock.advance(0.0)
    settlements.add("good")
    await clock.advance(RESTART_S_MAX)
    settlements.add("later")
    await clock.advance(RESTART_S_MAX)
    assert settled == ["good", "later"]
    [fault] = events.of(InternalFault)
    assert (fault.where, fault.error_type) == ("settlements", "RuntimeError")


async def test_what_was_added_last_is_settled_at_the_close():
    """A process that ends settles what its calls have just used."""
    store = Store()
    settlements = Settlements(store.settle, supervisor())
    for number in range(40):
        settlements.add(number)
    await settlements.aclose()
    assert store.taken == list(range(40))
