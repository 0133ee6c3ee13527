"""Counts what judge calls take, in Redis: a hash for each tenant and day.

The calls of a second are added up in the process, and written together in the background. A process
that is killed loses what it has not written.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple
from datetime import UTC, date, datetime
from itertools import chain, groupby
from typing import Any, NamedTuple

from assay.domain.completion import Usage
from assay.domain.errors import UNSENT_OUTCOMES
from assay.domain.events import AttemptFinished, Event, UsageLost
from assay.domain.ids import random_hex
from assay.domain.ports import EventSink
from assay.domain.supervision import SupervisedTask, Supervisor
from assay.domain.usage import Spent, UsageKey
from assay.redis.client import Client
from assay.redis.outages import OUTAGES, store_unavailable
from assay.redis.scripts import Argument, load_script
from assay.redis.time_budget import TimeBudget

ADD = load_script(__package__, "add")
TENANTS = "assay:v1:{usage}:tenants"
"""A sorted set: each tenant with the number of its last day."""
OTHER = "other"
PAIRS_MAX = 200
"""Models with a criterion that a tenant's day tells apart; of others, only the model is known."""
FIELDS = 7
KEPT_MS, NUMBERS_KEPT_MS = 400 * 86_400_000, 86_400_000
FLUSH_EVERY_S = 1.0
FLUSH_S_MAX = 2.0
CALL_S_MAX = 1.0
WAITING_MAX = 5_000
"""Sums that wait for Redis; calls that fit in none of them are lost, and counted as such."""
ADDED_AT_ONCE, READ_AT_ONCE = 50, 10
"""Redis serves nothing else while it adds, and the event loop nothing else while it parses."""


class _Addition(NamedTuple):
    """Sums of one tenant and day, with the number that keeps them from being added twice."""

    number: int
    sums: Sequence[tuple[UsageKey, Spent]]


class RedisUsage:
    """An `EventSink` that counts attempts, and the `UsageRecords` that they make.

    Without Redis, the sums wait; calls that fit in none of `WAITING_MAX` sums are lost, and
    reported.
    """

    def __init__(self, redis: Client) -> None:
        self._redis: Any = redis  # the library types replies for texts and bytes at once
        self._process = random_hex(8)
        self._number = 0
        self._sums: dict[UsageKey, Spent] = {}
        self._additions: deque[_Addition] = deque()
        self._writes = asyncio.Lock()
        self._lost_calls = 0

    def emit(self, event: Event) -> None:
        """Count an upstream call; one that several criteria share is divided among them."""
        if not isinstance(event, AttemptFinished) or event.outcome in UNSENT_OUTCOMES:
            return
        criteria, day = event.criteria or (OTHER,), datetime.now(UTC).date().isoformat()
        for number, criterion in enumerate(criteria):
            key = UsageKey(event.caller.tenant, day, event.model, criterion)
            part = event.usage.part(number, len(criteria))
            spent = Spent(int(number == 0), part, event.cost_usd / len(criteria))
            if key in self._sums or len(self._sums) < WAITING_MAX:
                self._sums[key] = self._sums.get(key, Spent()) + spent
            else:
                self._lost_calls += spent.calls

    def start(self, supervisor: Supervisor, events: EventSink) -> None:
        """Write what is counted, every second."""
        self._events = events
        self._writing = supervisor.start("usage", self._keep_writing)

    async def aclose(self) -> None:
        """Write what waits, within `FLUSH_S_MAX`."""
        await self._writing.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S_MAX):
                await self.flush()
        waiting = chain(self._sums.items(), *(addition.sums for addition in self._additions))
        self._lost_calls += sum(spent.calls for _, spent in waiting)
        self._report()

    async def flush(self) -> None:
        """Write what was counted; what Redis does not take is kept, and written once."""
        async with self._writes:
            with suppress(*OUTAGES):
                while self._cut():
                    async with TimeBudget(CALL_S_MAX):
                        await self._add(self._additions[0])
                    self._additions.popleft()
                self._report()

    async def tenants(self, first: date) -> list[str]:
        with store_unavailable():
            names = await self._redis.zrangebyscore(TENANTS, first.toordinal(), "+inf")
        return sorted(name.decode() for name in names)

    async def read(
        self, tenants: Sequence[str], days: Sequence[str]
    ) -> AsyncIterator[tuple[UsageKey, Spent]]:
        pairs = [(tenant, day) for tenant in tenants for day in days]
        for start in range(0, len(pairs), READ_AT_ONCE):
            chunk = pairs[start : start + READ_AT_ONCE]
            with store_unavailable():
                pipe = self._redis.pipeline(transaction=False)
                async with TimeBudget(CALL_S_MAX), pipe:
                    for tenant, day in chunk:
                        pipe.hgetall(_key(tenant, day))
                    hashes = await pipe.execute()
            for (tenant, day), fields in zip(chunk, hashes, strict=True):
                for name, spent in _read(fields):
                    yield UsageKey(tenant, day, *name), spent

    async def _keep_writing(self, task: SupervisedTask) -> None:
        while not task.stopping:
            await asyncio.sleep(FLUSH_EVERY_S)
            await self.flush()

    def _cut(self) -> bool:
        """Whether there is an addition to write; new ones are made once the old are written."""
        if not self._additions:
            sums, self._sums = sorted(self._sums.items()), {}
            for _, same in groupby(sums, lambda entry: entry[0][:2]):
                day = list(same)
                for start in range(0, len(day), ADDED_AT_ONCE):
                    self._number += 1
                    part = day[start : start + ADDED_AT_ONCE]
                    self._additions.append(_Addition(self._number, part))
        return bool(self._additions)

    async def _add(self, addition: _Addition) -> None:
        tenant, day, *_ = addition.sums[0][0]
        await self._redis.zadd(TENANTS, {tenant: date.fromisoformat(day).toordinal()})
        keys = [_key(tenant, day), _key(tenant, "numbers")]
        arguments: list[Argument] = [PAIRS_MAX * FIELDS, KEPT_MS, NUMBERS_KEPT_MS]
        arguments += [self._process, addition.number]
        for key, spent in addition.sums:
            arguments += [json.dumps([key.model, key.criterion]), json.dumps([key.model, OTHER])]
            arguments += [spent.calls, *astuple(spent.usage), repr(spent.cost_usd)]
        await ADD.run(self._redis, keys, arguments)

    def _report(self) -> None:
        lost, self._lost_calls = self._lost_calls, 0
        if lost:
            self._events.emit(UsageLost(lost))


def _key(tenant: str, what: str) -> str:
    return f"assay:v1:{{usage:{tenant}}}:{what}"


def _read(fields: Mapping[bytes, bytes]) -> Iterator[tuple[tuple[str, str], Spent]]:
    """The models and criteria of a day's hash, with what each took."""
    numbers: dict[str, dict[str, bytes]] = defaultdict(dict)
    for field, value in fields.items():
        name, _, count = field.decode().rpartition(":")
        numbers[name][count] = value
    for name, by_count in numbers.items():
        calls, cost_usd = int(by_count.pop("calls")), float(by_count.pop("cost_usd"))
        usage = Usage(**{count: int(value) for count, value in by_count.items()})
        model, criterion = json.loads(name)
        yield (model, criterion), Spent(calls, usage, cost_usd)
