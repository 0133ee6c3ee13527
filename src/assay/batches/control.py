"""Judges control sets again, on schedule and after changes, and watches for drift.

A run is noted before its batch is made, and accounted for in one write that also forgets it. So
whatever dies in between, no batch is left behind and none counts twice.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from assay.batches.alone import held_alone
from assay.batches.calibrating import calibrated, disagreements, label_report
from assay.batches.creation import BatchCreator, BatchRequestSpec
from assay.batches.labelled import LabelledBatches
from assay.batches.lasting import LastingBatches
from assay.calibration.options import ReportOptions
from assay.catalog.certificates import with_newest_certificate
from assay.catalog.control_sets import CONTROL, ControlSet, change_control_set
from assay.catalog.judged_labels import JudgedBatch, WantedLabels
from assay.catalog.names import find_version
from assay.catalog.stores import OpenStores, Stores
from assay.criteria import parse_criteria
from assay.criteria.judge import judge_spec
from assay.domain.batches import BATCH_ID_KIND
from assay.domain.clock import SYSTEM_CLOCK, Clock
from assay.domain.errors import RequestError, StoreUnavailable
from assay.domain.events import ControlSetsRead, JudgeDrifted
from assay.domain.faults import internal_fault
from assay.domain.ids import new_id, now_ms
from assay.domain.ports import BatchStore, EventSink, IdempotencyStore, Judges
from assay.domain.records import EvaluatorVersion, ItemFilter, RecordsUnavailable, StoredObject
from assay.domain.supervision import SupervisedTask
from assay.domain.tenants import TenantLimited
from assay.evaluation.revision import present_revision

EVERY_S = 60.0
JITTER_SHARE = 0.2
READ_AT_ONCE = 100
LEASE = "~control"
COMPARED_SHARE_MIN = 0.5
"""A run in which fewer of the rows have a verdict says nothing of the judge."""


class ControlSets:
    """The control sets of all tenants, which one of the workers looks after at a time."""

    def __init__(
        self,
        exist: Callable[[], bool],
        open_stores: OpenStores,
        batches: BatchStore,
        lasting: LastingBatches,
        creator: BatchCreator,
        judges: Judges,
        leases: IdempotencyStore,
        events: EventSink,
        *,
        clock: Clock = SYSTEM_CLOCK,
        time_ms: Callable[[], int] = now_ms,
    ) -> None:
        self._exist = exist
        self._open_stores = open_stores
        self._batches = batches
        self._lasting = lasting
        self._labelled = LabelledBatches(lasting, open_stores)
        self._creator = creator
        self._judges = judges
        self._leases = leases
        self._events = events
        self._clock = clock
        self._time_ms = time_ms

    async def run(self, task: SupervisedTask) -> None:
        """Look after them once a minute; while a store is unavailable, wait."""
        while not task.stopping:
            jitter = random.uniform(1 - JITTER_SHARE, 1 + JITTER_SHARE)  # noqa: S311  # no secret
            await self._clock.sleep(EVERY_S * jitter)
            with suppress(RecordsUnavailable, StoreUnavailable):
                await self.look()

    async def look(self) -> None:
        """Report alarms, account for what has ended and begin what is due.

        Raises `RecordsUnavailable` and `StoreUnavailable`.
        """
        if not self._exist():
            return
        stores = await self._open_stores()
        found: list[tuple[str, StoredObject]] = []
        while page := await stores.objects.of_all(
            CONTROL, found[-1][1].id if found else "", READ_AT_ONCE
        ):
            found += page
        self._report(found)
        if not found:
            return
        async with held_alone(self._leases, LEASE, CONTROL) as held:
            for tenant, stored in found if held else ():
                await self._look_after(stores, tenant, stored)

    def _report(self, found: list[tuple[str, StoredObject]]) -> None:
        alarms: dict[str, bool] = {}
        for _, stored in found:
            name = stored.document["evaluator"].partition("@")[0]
            alarms[name] = alarms.get(name, False) or stored.document["chart"]["alarm"]
        self._events.emit(ControlSetsRead(alarms))

    async def _look_after(self, stores: Stores, tenant: str, stored: StoredObject) -> None:
        try:
            control = ControlSet(**stored.document)
            evaluator = await find_version(
                stores.evaluators, tenant, control.evaluator, "/evaluator"
            )
            if evaluator is None or evaluator.id != stored.parent:
                await stores.objects.delete(tenant, CONTROL, stored.id)
                return
            one = _Watched(stores, tenant, stored.id, evaluator, control)
            if control.running is None:
                await self._begin(one)
            else:
                await self._follow(one, control.running)
        except (RecordsUnavailable, StoreUnavailable):
            raise
        except Exception as error:  # noqa: BLE001  # one set's fault must not stop the others
            self._events.emit(internal_fault("control_sets", error, stored.id))

    async def _begin(self, one: _Watched) -> None:
        """Make the batch of a run if one is due."""
        control, at_ms = one.control, self._time_ms()
        try:
            spec = await self._spec(one)
            revision = present_revision(spec.parsed, judge_spec(spec.judge), self._judges)
            if not control.is_due(revision, at_ms):
                return
            run: dict[str, Any] = {
                "batch": new_id(BATCH_ID_KIND),
                "at": at_ms,
                "revision": revision,
            }
            if await one.change(replace(control, running={**run, "begun": False})):
                await self._make(spec, run["batch"])
                await one.change(replace(one.control, running={**run, "begun": True}, problem=None))
        except (RequestError, TenantLimited) as error:
            after = replace(one.control, running=None, problem=error.message)
            if after != one.control:
                await one.change(after)

    async def _spec(self, one: _Watched) -> BatchRequestSpec:
        control, spec = one.control, one.evaluator.spec
        dataset = await find_version(one.stores.datasets, one.tenant, control.dataset, "/dataset")
        if dataset is None:
            raise RequestError("not_found", f"The dataset {control.dataset} is gone.")
        named = await with_newest_certificate(one.stores, one.tenant, one.evaluator, control.judge)
        return BatchRequestSpec(
            one.tenant, spec["criteria"], parse_criteria(spec["criteria"]), control.judge, named,
            dataset=dataset, wanted=ItemFilter(places=tuple(control.places)), name=CONTROL,
            metadata={CONTROL: one.id},
        )  # fmt: skip

    async def _make(self, spec: BatchRequestSpec, batch_id: str) -> None:
        batch = await self._creator.create(spec, batch_id)
        try:
            if spec.dataset is not None:
                await self._creator.fill(batch, spec.dataset, spec.wanted)
            await self._batches.start(batch_id)
        except RequestError:
            await self._creator.discard(batch)
            raise
        await self._batches.durable(batch_id)

    async def _follow(self, one: _Watched, running: Mapping[str, Any]) -> None:
        """Account for a run once its batch has ended."""
        batch = await self._lasting.find(one.tenant, running["batch"])
        status = "deleted" if batch is None else batch.status
        if status == "open" or (status == "deleted" and not running["begun"]):
            # Whoever made it died, and held the lease: the run begins anew.
            if batch is not None:
                await self._lasting.delete(batch)
            await one.change(replace(one.control, running=None))
            return
        if batch is not None and not batch.ended:
            return
        control = one.control
        run, chart = await self._outcome(one, running, status)
        after = control.after(run, chart)
        if await one.change(after) and chart["alarm"] and not control.chart["alarm"]:
            since = after.since or run
            self._events.emit(
                JudgeDrifted(one.evaluator.name, one.evaluator.id, run["batch"], since["batch"])
            )

    async def _outcome(
        self, one: _Watched, running: Mapping[str, Any], status: str
    ) -> tuple[dict[str, Any], Mapping[str, Any]]:
        """The run with its figures, and the chart after it."""
        control, chart = one.control, one.control.chart
        rows, differing, note = 0, 0, f"It does not count: its batch is {status}."
        if status == "completed":
            results = await self._labelled.find(one.tenant, running["batch"])
            wanted = WantedLabels.from_json(control.labels)
            judged = await self._labelled.read(results, [control.criterion], wanted)
            rows, differing = await asyncio.to_thread(compared, judged, control)
            note = f"It does not count: only {rows} of {control.rows} rows can be compared."
        if rows and rows >= COMPARED_SHARE_MIN * control.rows:
            note = ""
            chart = await asyncio.to_thread(extended, chart, rows, differing, running["batch"])
        run = {name: running[name] for name in ("batch", "at", "revision")}
        left_out = max(0, control.rows - rows)
        run |= {"rows": rows, "disagreements": differing, "left_out": left_out, "note": note}
        return run, chart


@dataclass(slots=True)
class _Watched:
    """A control set as this process knows it."""

    stores: Stores
    tenant: str
    id: str
    evaluator: EvaluatorVersion
    control: ControlSet

    async def change(self, after: ControlSet) -> bool:
        """Change it; False if somebody else has."""
        made = await change_control_set(self.stores, self.tenant, self.id, self.control, after)
        self.control = made or self.control
        return made is not None


def compared(judged: JudgedBatch, control: ControlSet) -> tuple[int, int]:
    """The rows that can be compared, and how many differ from what people say."""
    found = label_report(calibrated(judged, ReportOptions()), control.criterion, (control.of,))
    return (0, 0) if found is None else disagreements(found)


def extended(chart: Mapping[str, Any], rows: int, differing: int, seed: str) -> dict[str, Any]:
    """The chart after a run, as JSON.

    Cases come in an order drawn by the seed: similar ones often stand side by side in a dataset,
    and a row of hard ones would raise an alarm each time.
    """
    from assay.calibration.drift import DriftChart  # noqa: PLC0415  # numpy, for those who use it

    cases = [True] * differing + [False] * (rows - differing)
    random.Random(seed).shuffle(cases)  # noqa: S311  # no secret
    return asdict(DriftChart(**chart).extend(cases))
