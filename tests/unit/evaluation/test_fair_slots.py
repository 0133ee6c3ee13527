"""Slots that tenants take in turn."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from assay.evaluation.sandbox.fair_slots import FairSlots, SlotsFull


class Jobs:
    """Jobs that hold their slots until they are let go; `running` has their tenants."""

    def __init__(self, slots: FairSlots) -> None:
        self._slots = slots
        self._ends: list[tuple[str, asyncio.Event]] = []
        self.order: list[str] = []

    @property
    def running(self) -> list[str]:
        return [tenant for tenant, end in self._ends if not end.is_set()]

    async def start(self, tenant: str) -> asyncio.Task[None]:
        task = asyncio.create_task(self._run(tenant))
        await asyncio.sleep(0)
        return task

    async def end(self, tenant: str) -> None:
        next(end for owner, end in self._ends if owner == tenant and not end.is_set()).set()
        for _ in range(4):
            await asyncio.sleep(0)

    async def _run(self, tenant: str) -> None:
        end = asyncio.Event()
        async with self._slots.slot(tenant):
            self.order.append(tenant)
            self._ends.append((tenant, end))
            await end.wait()


@pytest.fixture
def jobs() -> Jobs:
    return Jobs(FairSlots(2, tenant_slots_max=1, waiting_max=6, tenant_waiting_max=4))


async def test_one_tenant_never_holds_all_slots(jobs: Jobs) -> None:
    """Five hostile jobs that never end leave a slot to everyone else."""
    for _ in range(5):
        await jobs.start("hostile")
    assert jobs.running == ["hostile"]
    for _ in range(3):
        await jobs.start("other")
        assert jobs.running == ["hostile", "other"]
        await jobs.end("other")


async def test_tenants_that_wait_are_served_in_turn(jobs: Jobs) -> None:
    """A tenant with a long queue gets one slot, then the next tenant gets one."""
    for tenant in ("a", "b", "c", "c", "d"):
        await jobs.start(tenant)
    for _ in range(4):
        await jobs.end(jobs.running[0])
    assert jobs.order == ["a", "b", "c", "d", "c"]


async def test_both_bounds_of_the_queue_refuse_at_once(jobs: Jobs) -> None:
    """A tenant may fill its own part of the queue, and all tenants together the whole."""
    for _ in range(5):
        await jobs.start("a")
    with pytest.raises(SlotsFull):
        await (await jobs.start("a"))
    for _ in range(3):
        await jobs.start("b")
    with pytest.raises(SlotsFull):
        await (await jobs.start("c"))
    assert jobs.running == ["a", "b"]


@pytest.mark.parametrize("same_moment", [False, True])
async def test_a_job_that_goes_away_while_it_waits_leaves_its_place(
    jobs: Jobs, same_moment: bool
) -> None:
    """Cancelled in the queue, or in the moment of its turn, it costs no one a slot."""
    await jobs.start("a")
    gone = await jobs.start("a")
    await jobs.start("a")
    if same_moment:
        jobs._ends[0][1].set()
        await asyncio.sleep(0)
    gone.cancel()
    if not same_moment:
        await jobs.end("a")
    with suppress(asyncio.CancelledError):
        await gone
    for _ in range(4):
        await asyncio.sleep(0)
    assert jobs.running == ["a"]
    assert jobs.order == ["a", "a"]
