"""Runs as batches over datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from assay.batches.creation import BatchCreator, BatchRequestSpec
from assay.batches.lasting import LastingBatches
from assay.catalog.stores import OpenStores
from assay.criteria import parse_criteria
from assay.domain.batches import Batch, BatchStatus
from assay.domain.errors import RequestError
from assay.domain.evaluation import NamedVersion
from assay.domain.exact_json import loads
from assay.domain.ports import BatchStore
from assay.domain.records import ALL_ITEMS
from assay.judging.generation import Generation
from assay.openai_evals.backend import RunResult, RunState, RunStatus, not_found

STATUSES: Mapping[BatchStatus, RunStatus] = {
    "open": "queued",
    "running": "in_progress",
    "completed": "completed",
    "decided": "completed",
    "cancelled": "canceled",
    "failed": "failed",
}


class BatchRuns:
    """See `Runs`."""

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
        batch = await self._creator.create(spec)
        try:
            await self._creator.fill(batch, items, ALL_ITEMS)
            await self._store.start(batch.id)
            await self._store.durable(batch.id)
        except BaseException:
            await self._creator.discard(batch)
            raise
        return batch.id

    async def find(self, tenant: str, run_id: str) -> RunState | None:
        batch = await self._lasting.find(tenant, run_id)
        if batch is None:
            return None
        return RunState(STATUSES[batch.status], batch.total, batch.error)

    async def results(
        self, tenant: str, run_id: str, after: int, limit: int
    ) -> Sequence[RunResult]:
        batch, more = await self._lasting.find(tenant, run_id), True
        while batch is not None and more:
            page = await self._lasting.page(batch, after, limit)
            if page.results:
                return [RunResult(one.index, loads(one.body)) for one in page.results]
            after, more = page.cursor, page.has_more and page.cursor > after
        return ()

    async def cancel(self, tenant: str, run_id: str) -> None:
        batch = await self._found(tenant, run_id)
        if batch.ended:
            raise RequestError("invalid_request", "The run has ended.")
        await self._store.cancel(batch.id)
        await self._store.durable(batch.id)

    async def delete(self, tenant: str, run_id: str) -> None:
        batch = await self._lasting.find(tenant, run_id)
        if batch is not None:
            await self._lasting.delete(batch)

    async def _found(self, tenant: str, run_id: str) -> Batch:
        batch = await self._lasting.find(tenant, run_id)
        if batch is None:
            raise not_found("run", run_id)
        return batch
