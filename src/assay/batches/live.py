"""Judges live traffic: groups of spans whose time has come become rows of their rule's batch.

A group leaves its place only when its row is on disk, and a row is known by the group's name: so
whatever dies, each is judged, and once. A rule has a batch for each hour, which takes rows until
the hour is over and all that was due in it has come.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from assay.batches.alone import held_alone
from assay.batches.creation import BatchCreator, BatchRequestSpec
from assay.batches.lasting import LastingBatches
from assay.batches.live_cases import live_row
from assay.batches.summary import NANO, summarize
from assay.catalog.certificates import with_newest_certificate
from assay.catalog.evaluators import find_evaluator
from assay.catalog.rules import RULE, KnownRule, Rules
from assay.catalog.stores import OpenStores
from assay.criteria import parse_criteria
from assay.domain.batches import BATCH_ID_KIND, Batch, BatchStatus, NewRow, Sums
from assay.domain.clock import SYSTEM_CLOCK, Clock
from assay.domain.errors import RequestError, StoreUnavailable
from assay.domain.events import BatchEnded, RulePaused
from assay.domain.exact_json import dumps, loads
from assay.domain.faults import internal_fault
from assay.domain.ids import now_ms
from assay.domain.ports import BatchStore, EventSink, IdempotencyStore
from assay.domain.records import RecordsUnavailable
from assay.domain.supervision import SupervisedTask
from assay.domain.tenants import TenantLimited, TenantStorage
from assay.domain.traces import DueGroup, RuleState, TraceStore

EVERY_S = 1.0
GROUPS_AT_ONCE, CHUNKS_AT_ONCE = 200, 10
"""What is done for one rule before it is another's turn."""
HOUR_MS, DAY_MS, MINUTE_MS = 3_600_000, 86_400_000, 60_000
LATE_MS = 60_000
"""After the end of an hour, for clocks that differ."""
ROWS_PER_DAY_MAX = 100_000
"""Of one rule: the last bound, should judging ever cause the traffic that it judges."""
LEASE = "~live"
LIMITS = ("usd_per_day", "rows_per_day")
CheckRow = Callable[[Mapping[str, Any]], NewRow | str]
"""The checked row, or what is wrong with it."""


@dataclass(frozen=True, slots=True)
class RuleSpending:
    """What the batches of a rule took today; what is still in hand is estimated."""

    rows: int
    cost_usd: float

    def reason(self, one: KnownRule) -> str:
        """Which limit is spent; empty for none."""
        if self.cost_usd >= one.rule.usd_per_day:
            return "usd_per_day"
        return "rows_per_day" if self.rows >= ROWS_PER_DAY_MAX else ""


class LiveTraffic:
    """The rules of all tenants, which one of the workers looks after at a time."""

    def __init__(
        self,
        rules: Rules,
        traces: TraceStore,
        batches: BatchStore,
        lasting: LastingBatches,
        creator: BatchCreator,
        storage: TenantStorage,
        *,
        open_stores: OpenStores,
        leases: IdempotencyStore,
        events: EventSink,
        check_row: CheckRow,
        clock: Clock = SYSTEM_CLOCK,
        time_ms: Callable[[], int] = now_ms,
    ) -> None:
        self._rules = rules
        self._traces = traces
        self._batches = batches
        self._lasting = lasting
        self._creator = creator
        self._storage = storage
        self._open_stores = open_stores
        self._leases = leases
        self._events = events
        self._check_row = check_row
        self._clock = clock
        self._time_ms = time_ms

    async def run(self, task: SupervisedTask) -> None:
        """Look after them once a second; while a store is unavailable, wait."""
        while not task.stopping:
            await self._clock.sleep(EVERY_S)
            with suppress(RecordsUnavailable, StoreUnavailable):
                await self.look()

    async def look(self) -> None:
        """Make rows of what is due, and close batches whose hour is over.

        Raises `RecordsUnavailable` and `StoreUnavailable`.
        """
        rules = [one for found in (await self._rules.by_tenant()).values() for one in found]
        if not rules:
            return
        async with held_alone(self._leases, LEASE, "live") as held:
            for one in rules if held else ():
                await self._look_after(one)

    async def _look_after(self, one: KnownRule) -> None:
        try:
            state = await self._traces.state(one.tenant, one.id)
            now = self._time_ms()
            for _ in range(CHUNKS_AT_ONCE):
                if state.next_due_ms is None or state.next_due_ms > now:
                    break
                await self._judge(one, state)
                state = await self._traces.state(one.tenant, one.id)
            for batch_id, hour_ms in state.open.items():
                end_ms = hour_ms + HOUR_MS
                is_current = batch_id == live_batch_id(one, hour_ms)
                waits = state.next_due_ms is not None and state.next_due_ms < end_ms
                if not is_current or (now > end_ms + LATE_MS and not waits):
                    await self._close(one, batch_id)
        except (RecordsUnavailable, StoreUnavailable):
            raise
        except (RequestError, TenantLimited) as error:
            await self._pause(one, state, error.message)
        except Exception as error:  # noqa: BLE001  # one rule's fault must not stop the others
            self._events.emit(internal_fault("live_traffic", error, one.id))

    async def _judge(self, one: KnownRule, state: RuleState) -> None:
        """Make rows of the groups that are due, as far as the rule's limits go."""
        reason = "disabled" if not one.rule.enabled else (await self.spent(one)).reason(one)
        groups = await self._traces.due(one.tenant, one.id, GROUPS_AT_ONCE)
        hour_ms = groups[0].due_ms // HOUR_MS * HOUR_MS if groups else 0
        groups = [group for group in groups if group.due_ms < hour_ms + HOUR_MS]
        counts: Counter[str] = Counter()
        rows: list[NewRow] = []
        minute, in_minute = state.minute, state.in_minute
        for group in groups:
            if group.due_ms // MINUTE_MS > minute:
                minute, in_minute = group.due_ms // MINUTE_MS, 0
            if reason or in_minute >= one.rule.per_minute:
                counts[reason or "per_minute"] += 1
                continue
            row = await asyncio.to_thread(self._row, one, group)
            if isinstance(row, str):
                counts[row] += 1
            else:
                rows.append(row)
                in_minute += 1
        if rows:
            counts["judged"] += await self._add(one, hour_ms, rows)
        names = [group.group for group in groups]
        await self._traces.finish(one.tenant, one.id, names, counts, minute, in_minute)
        await self._pause(one, state, "" if reason == "disabled" else reason)

    def _row(self, one: KnownRule, group: DueGroup) -> NewRow | str:
        """The row of a group, or the reason why there is none."""
        if not group.observations:
            return "expired"
        found = live_row(group, one.rule.group_by)
        if found is None:
            return "no_output"
        row, subject = found
        checked = self._check_row(row)
        if isinstance(checked, str):
            return "invalid"
        document = checked.document[:-1] + b',"subject":' + dumps(subject) + b"}"
        return NewRow(checked.line, checked.item_id, document)

    async def _add(self, one: KnownRule, hour_ms: int, rows: Sequence[NewRow]) -> int:
        """Add rows to the batch of the hour, on disk, and count those that are new."""
        batch_id = live_batch_id(one, hour_ms)
        batch = await self._batches.find(one.tenant, batch_id)
        if batch is None:
            await self._traces.open_batch(one.tenant, one.id, batch_id, hour_ms)
            await self._creator.create(await self._spec(one), batch_id)
        elif batch.ended:
            return 0  # it was cancelled
        size = sum(len(row.document) for row in rows)
        await self._storage.add_bytes(one.tenant, batch_id, size)
        added = await self._batches.add(batch_id, rows)
        if batch is None or batch.status == "open":
            await self._batches.start(batch_id)
        await self._batches.durable(batch_id)
        return added.accepted

    async def _spec(self, one: KnownRule) -> BatchRequestSpec:
        stores = await self._open_stores()
        if await stores.objects.find(one.tenant, RULE, one.id) is None:
            raise RequestError("not_found", "The rule was deleted.")
        found = await find_evaluator(self._open_stores, one.tenant, one.rule.evaluator)
        criteria, judge = found.spec["criteria"], found.spec.get("judge")
        alert = one.rule.alert or {}
        if alert and not names_a_criterion(alert["gate"].get("criterion"), criteria):
            fault = "The evaluator has no longer the criterion of the rule's threshold."
            raise RequestError("invalid_request", fault)
        return BatchRequestSpec(
            one.tenant, criteria, parse_criteria(criteria), judge,
            await with_newest_certificate(stores, one.tenant, found, judge),
            name=f"live {one.rule.name}",
            webhook=alert.get("webhook"),
            gates=[alert["gate"]] if alert else (),
            rule={"id": one.id, "name": one.rule.name},
        )  # fmt: skip

    async def _close(self, one: KnownRule, batch_id: str) -> None:
        """Take no more rows into a batch; its webhook is called if the rule's threshold is
        missed."""
        batch = await self._batches.find(one.tenant, batch_id)
        if batch is not None and not batch.ended:
            if batch.settled < batch.total and batch.status == "running":
                return
            sums = await self._lasting.sums(batch, by_group=False)
            if await self._sealed(batch, webhook=misses_threshold(batch, sums)) == "running":
                return  # it had not been started
        await self._traces.close_batch(one.tenant, one.id, batch_id)

    async def _sealed(self, batch: Batch, *, webhook: bool) -> BatchStatus | None:
        """Seal a batch; one that was never started is, or is removed if it has no rows."""
        if batch.status == "open" and not batch.total:
            await self._lasting.delete(batch)
            return None
        if batch.status == "open":
            await self._batches.start(batch.id)
            return "running"
        status = await self._batches.seal(batch.id, webhook=webhook)
        if status == "completed":
            self._events.emit(BatchEnded(batch.id, "completed"))
        return status

    async def _pause(self, one: KnownRule, state: RuleState, reason: str) -> None:
        if reason != state.paused:
            await self._traces.pause(one.tenant, one.id, reason)
            if reason:
                code = reason if reason in LIMITS else "problem"
                self._events.emit(RulePaused(one.rule.name, one.id, code))

    async def spent(self, one: KnownRule) -> RuleSpending:
        """What the rule's batches took since midnight, in UTC."""
        hour_ms = self._time_ms() // HOUR_MS * HOUR_MS
        midnight_ms = hour_ms // DAY_MS * DAY_MS
        rows, cost_usd = 0, 0.0
        for batch in await self.hourly(one, midnight_ms, hour_ms):
            rows += batch.total
            cost = batch.sums.get("cost_nano_usd", 0) / NANO
            cost_usd += cost * batch.total / batch.settled if batch.settled else 0.0
        return RuleSpending(rows, cost_usd)

    async def hourly(self, one: KnownRule, from_ms: int, to_ms: int) -> Sequence[Batch]:
        """The rule's batches of the hours from one to the other, the newest first."""
        ids = await self._traces.batches(one.tenant, one.id, from_ms, to_ms)
        found = await asyncio.gather(*(self._lasting.find(one.tenant, id_) for id_ in ids))
        return [batch for batch in found if batch is not None]

    async def forget(self, one: KnownRule) -> None:
        """Judge no more for a rule that is deleted; what is in hand still gets its results."""
        state = await self._traces.state(one.tenant, one.id)
        for batch_id in state.open:
            batch = await self._batches.find(one.tenant, batch_id)
            if batch is not None and not batch.ended:
                await self._sealed(batch, webhook=False)
        await self._traces.forget(one.tenant, one.id)


def names_a_criterion(name: str | None, criteria: Any) -> bool:
    """Whether a threshold is about one of these criteria; without a name, it is about all."""
    return name is None or name in {criterion.name for criterion in parse_criteria(criteria)}


def misses_threshold(batch: Batch, sums: Sums) -> bool:
    """Whether a batch is below one of its gates; where nothing has a score, it is not."""
    shown = loads(batch.shown)
    summary = summarize(shown.get("criteria", ()), sums)
    entries = {one["name"]: one for one in summary["criteria"]}
    for gate in shown.get("gates") or ():
        entry = entries.get(gate.get("criterion"), summary["rows"])
        rate, score = gate.get("min_pass_rate"), gate.get("min_score")
        found, least = (entry["mean"], score) if rate is None else (entry["pass_rate"], rate)
        if found is not None and found < least:
            return True
    return False


def live_batch_id(one: KnownRule, hour_ms: int) -> str:
    """The batch of a rule for an hour: a changed rule has another one."""
    named = f"{one.id}:{one.rule.token}:{hour_ms}".encode()
    digest = hashlib.blake2b(named, digest_size=10).hexdigest()
    return f"{BATCH_ID_KIND}_{hour_ms:012x}{digest}"
