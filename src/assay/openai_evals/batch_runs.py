"""Runs as batches over datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from assay.batches.creation import BatchCreator, BatchRequestSpec
from assay.batches.lasting import LastingBatches
from assay.catalog.stores import OpenStores
from assay.criteria import parse_criteria
from assay.domain.batches import BatchStatus
from assay.domain.errors import RequestError
from assay.domain.evaluation import NamedVersion
from assay.domain.exact_json import loads
from assay.domain.ports import BatchStore
from assay.domain.records import ALL_ITEMS
from assay.judging.generation import Generation
from assay.openai_evals.errors import not_found

RunStatus = Literal["queued", "in_progress", "completed", "canceled", "failed"]
STATUSES: Mapping[BatchStatus, RunStatus] = {
    "open": "queued",
    "running": "in_progress",
    "completed": "completed",
    "decided": "completed",
    "cancelled": "canceled",
    "failed": "failed",
}


@dataclass(frozen=True, slots=True)
class RunState:
    """How far a run is."""

    status: RunStatus
    total: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of the row with this number, as a batch has it."""

    number: int
    document: Mapping[str, Any]


class BatchRuns:
    """Runs evaluators over datasets; every method raises `StoreUnavailable`."""

    def __init__(
        self,
        store: BatchStore,
        lasting: LastingBatches,
        creator: BatchCreator,
        open_stores: OpenStores,
    ) -> None:
        self._store = store
        self._lasting = lasting
        self._creator = creator
        self._open_stores = open_stores

    async def start(
        self,
        tenant: str,
        name: str,
        evaluator: str,
        dataset: str,
        generate: Generation | None,
        webhook: Mapping[str, str] | None,
    ) -> str:
        """The id of a new run over the newest version of a dataset; raises `RequestError`."""
        stores = await self._open_stores()
        version = await stores.evaluators.find(tenant, evaluator)
        items = await stores.datasets.find(tenant, dataset)
        if version is None or items is None:
            raise not_found("eval or file", evaluator if version is None else dataset)
        criteria = version.spec["criteria"]
        spec = BatchRequestSpec(
            tenant,
            criteria,
            parse_criteria(criteria),
            named=NamedVersion(version.name, version.version),
            generation=generate,
            dataset=items,
            name=name,
            webhook=webhook,
        )
        async with self._creator.filled(spec) as batch:
            await self._creator.fill(batch, items, ALL_ITEMS)
        return batch.id

    async def find(self, tenant: str, run_id: str) -> RunState | None:
        """How far a run is; None if it is gone."""
        batch = await self._lasting.find(tenant, run_id)
        if batch is None:
            return None
        return RunState(STATUSES[batch.status], batch.total, batch.error)

    async def results(
        self, tenant: str, run_id: str, after: int, limit: int
    ) -> Sequence[RunResult]:
        """Results in order, from row number `after` on, up to the first row that has none."""
        batch, more = await self._lasting.find(tenant, run_id), True
        while batch is not None and more:
            page = await self._lasting.page(batch, after, limit)
            if page.results:
                return [RunResult(one.index, loads(one.body)) for one in page.results]
            after, more = page.cursor, page.has_more and page.cursor > after
        return ()

    async def cancel(self, tenant: str, run_id: str) -> None:
        """Stop what has not begun; raises `RequestError` for a run that is gone or has ended."""
        batch = await self._lasting.find(tenant, run_id)
        if batch is None:
            raise not_found("run", run_id)
        if batch.ended:
            raise RequestError("invalid_request", "The run has ended.")
        await self._store.cancel(batch.id)
        await self._store.durable(batch.id)

    async def delete(self, tenant: str, run_id: str) -> None:
        """Remove a run with its results."""
        batch = await self._lasting.find(tenant, run_id)
        if batch is not None:
            await self._lasting.delete(batch)
