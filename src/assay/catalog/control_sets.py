"""Control sets: labelled cases that a calibrated evaluator judges again and again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from assay.catalog.stores import Stores
from assay.domain.ids import random_hex
from assay.domain.records import CONTROL_ID_KIND, EVALUATOR_ID_KIND, StoredObject

CONTROL = CONTROL_ID_KIND
"""The kind of what is stored, and the name of the batches."""
RUNS_KEPT = 20
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class ControlSet:
    """The control set of an evaluator, as JSON.

    `evaluator` and `dataset` have their versions, `places` are those of the labelled items, and
    `of` says which kind of label counts. `rows` and `certified` are those of the calibration.
    `running` is the run whose batch is not accounted for; in the `runs`, the newest first, are the
    last ones that are. `since` is the run in which a drift may have begun. `token` is another one
    after each change, so that none is made twice.
    """

    evaluator: str
    dataset: str
    judge: Any
    calibration: str
    criterion: str
    of: str
    labels: Mapping[str, Any]
    places: Sequence[int]
    rows: int
    every_h: float
    certified: float
    worse: float
    chart: Mapping[str, Any]
    since: Mapping[str, Any] | None = None
    running: Mapping[str, Any] | None = None
    runs: Sequence[Mapping[str, Any]] = ()
    problem: str | None = None
    token: str = ""

    def is_due(self, revision: str, at_ms: int) -> bool:
        """Whether no run of the last `every_h` judged with this revision.

        So a changed judge is looked at once, and two processes with different configurations do
        not take turns for ever.
        """
        since_ms = at_ms - self.every_h * HOUR_MS
        return all(run["at"] <= since_ms or run["revision"] != revision for run in self.runs)

    def after(self, run: Mapping[str, Any], chart: Mapping[str, Any]) -> ControlSet:
        """The control set with the outcome of its run, and the chart that it led to."""
        since = self.since
        if chart["quiet"] == chart["cases"]:
            since = None
        elif chart["quiet"] >= self.chart["cases"]:
            since = {"batch": run["batch"], "at": run["at"]}
        runs = (run, *self.runs)[:RUNS_KEPT]
        return replace(self, chart=chart, since=since, running=None, runs=runs, problem=None)


def control_id(evaluator_id: str) -> str:
    """The id of the control set of an evaluator, which has at most one."""
    return evaluator_id.replace(EVALUATOR_ID_KIND, CONTROL, 1)


async def find_control_set(stores: Stores, tenant: str, evaluator_id: str) -> StoredObject | None:
    """The control set of the evaluator; raises `RecordsUnavailable`."""
    return await stores.objects.find(tenant, CONTROL, control_id(evaluator_id), evaluator_id)


async def put_control_set(
    stores: Stores, tenant: str, evaluator_id: str, control: ControlSet
) -> StoredObject:
    """Give the evaluator this control set, whatever it had; raises `RecordsUnavailable`."""
    document = asdict(replace(control, token=random_hex(8)))
    new = StoredObject(control_id(evaluator_id), CONTROL, document, evaluator_id)
    return await stores.objects.add(tenant, new)


async def change_control_set(
    stores: Stores, tenant: str, id_: str, before: ControlSet, after: ControlSet
) -> ControlSet | None:
    """The changed control set; None if it is not as it was `before`."""
    changed = replace(after, token=random_hex(8))
    document = asdict(changed)
    found = await stores.objects.change(tenant, id_, document, token=before.token)
    return None if found is None else changed
