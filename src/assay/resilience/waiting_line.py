"""Who of this process asks Redis next: one caller per model, so that waiting costs no polling."""

from __future__ import annotations

import asyncio
import bisect
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from assay.domain.completion import Caller
from assay.domain.errors import Overloaded
from assay.resilience.buckets import BucketName, Costs

WAITING_MAX = 10_000
BATCH_HANDICAP_S = 10.0
"""A batch row counts as if it had arrived so much later: behind the interactive ones, and never
starved by them."""


@dataclass(slots=True, eq=False)
class Place:
    """One caller's place; `at_head` is set while nobody is before it."""

    costs: Costs
    arrived_s: float
    handicap_s: float
    at_head: asyncio.Event = field(default_factory=asyncio.Event)
    overtaken: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def waited_s(self) -> float:
        """How long it has waited, less its handicap: its place in the line of all processes."""
        return time.monotonic() - self.arrived_s - self.handicap_s

    async def rest(self, seconds: float) -> None:
        """Sleep, but wake as soon as a more urgent caller takes the head."""
        try:
            async with asyncio.timeout(seconds):
                await self.overtaken.wait()
        except TimeoutError:
            return


class WaitingLine:
    """The callers of one model in this process: interactive before batch, then by arrival."""

    def __init__(self) -> None:
        self._places: list[Place] = []

    def __len__(self) -> int:
        return len(self._places)

    def costs_before(self, caller: Caller) -> Costs:
        """What those are going to take who would be before a caller that came now."""
        due_s = time.monotonic() + _handicap_s(caller)
        return _sum([place.costs for place in self._places if _due_s(place) <= due_s])

    @contextmanager
    def place(self, caller: Caller, costs: Costs) -> Iterator[Place]:
        """A place until the end of the block; raises `Overloaded` where the line is full."""
        if len(self._places) >= WAITING_MAX:
            raise Overloaded("too many requests wait for this model's quota", retry_after_s=1.0)
        place = Place(costs, time.monotonic(), _handicap_s(caller))
        bisect.insort(self._places, place, key=_due_s)
        self._show_head()
        try:
            yield place
        finally:
            self._places.remove(place)
            self._show_head()

    def _show_head(self) -> None:
        for number, place in enumerate(self._places[:2]):
            first, other = place.at_head, place.overtaken
            if number == 0:
                first.set()
                other.clear()
            else:
                first.clear()
                other.set()


def _due_s(place: Place) -> float:
    return place.arrived_s + place.handicap_s


def _handicap_s(caller: Caller) -> float:
    return BATCH_HANDICAP_S if caller.priority == "batch" else 0.0


def _sum(costs: list[Costs]) -> Costs:
    total: dict[BucketName, float] = {}
    for each in costs:
        for name, cost in each.items():
            total[name] = total.get(name, 0.0) + cost
    return total
