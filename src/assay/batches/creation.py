"""A new batch: with rows of its own, or over the items of a dataset."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson

from assay.batches.lasting import LastingBatches
from assay.batches.summary import outline
from assay.catalog.certificates import named_from_json, named_to_json
from assay.catalog.stores import OpenStores
from assay.criteria import parse_criteria
from assay.criteria.base import Criterion
from assay.domain.batches import BATCH_ID_KIND, Batch, NewBatch, NewRow, StoredResult
from assay.domain.errors import RequestError
from assay.domain.evaluation import NamedVersion
from assay.domain.exact_json import dumps, loads
from assay.domain.ids import id_time_ms, new_id
from assay.domain.ports import BatchStore
from assay.domain.records import ALL_ITEMS, DatasetVersion, ItemFilter
from assay.domain.tenants import TenantStorage
from assay.judging.generation import Generation

ITEMS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class BatchRequestSpec:
    """What a batch is to do; `criteria`, `judge` and `generate` as they were sent."""

    tenant: str
    criteria: Any
    parsed: tuple[Criterion, ...]
    judge: Any = None
    named: NamedVersion | None = None
    generation: Generation | None = None
    dataset: DatasetVersion | None = None
    wanted: ItemFilter = ALL_ITEMS
    name: str | None = None
    metadata: Mapping[str, Any] | None = None
    webhook: Mapping[str, Any] | None = None
    gates: Sequence[Mapping[str, Any]] = ()
    stop_when_certain: Mapping[str, Any] | None = None
    """`alpha` and `seed`."""
    retry_of: str | None = None
    store: bool = True
    rule: Mapping[str, Any] | None = None
    """The `id` and the `name` of the rule whose live traffic the rows are: the batch grows."""

    @property
    def is_kept(self) -> bool:
        """Whether the batch is about records, and so becomes one."""
        return self.store and bool(self.named or self.dataset or self.name)


class BatchCreator:
    """Makes batches and fills them."""

    def __init__(
        self,
        store: BatchStore,
        storage: TenantStorage,
        open_stores: OpenStores,
        retention_s: float,
    ) -> None:
        self._store = store
        self._storage = storage
        self._open_stores = open_stores
        self._retention_ms = round(retention_s * 1_000)

    async def create(self, spec: BatchRequestSpec, id_: str | None = None) -> NewBatch:
        """An empty batch; raises `TenantLimited` and, where it is kept, `RecordsUnavailable`."""
        id_ = id_ or new_id(BATCH_ID_KIND)
        created_ms = id_time_ms(id_)
        batch = NewBatch(
            id=id_,
            tenant=spec.tenant,
            created_ms=created_ms,
            expires_ms=created_ms + self._retention_ms,
            request=dumps(_request(spec)),
            shown=dumps(_shown(spec)),
            webhook=b"" if spec.webhook is None else orjson.dumps(spec.webhook),
            kept=spec.is_kept,
            seed=None if spec.stop_when_certain is None else spec.stop_when_certain["seed"],
            grows=spec.rule is not None,
        )
        if batch.kept:
            # First: a run without a batch is never seen, and a batch without a run would be lost.
            await (await self._open_stores()).runs.create(batch)
        await self._store.create(batch)
        try:
            await self._storage.open_batch(spec.tenant, batch.id)
        except BaseException:
            await self.discard(batch)
            raise
        return batch

    @asynccontextmanager
    async def filled(
        self, spec: BatchRequestSpec, *, start: bool = True
    ) -> AsyncIterator[NewBatch]:
        """A new batch, to be filled within the block, and then started; a fault leaves nothing."""
        batch = await self.create(spec)
        try:
            yield batch
            if start:
                await self._store.start(batch.id)
            await self._store.durable(batch.id)
        except BaseException:
            await self.discard(batch)
            raise

    async def fill(self, batch: NewBatch, dataset: DatasetVersion, wanted: ItemFilter) -> int:
        """Add the items of a dataset, each as a reference that is looked up when its turn comes."""
        datasets = (await self._open_stores()).datasets
        after = count = 0
        while items := await datasets.items(
            dataset, after=after, limit=ITEMS_AT_ONCE, wanted=wanted
        ):
            rows = [
                NewRow(count + place, item.id, orjson.dumps({"place": item.place}))
                for place, item in enumerate(items, 1)
            ]
            added = await self._store.add(batch.id, rows)
            if added.refused:
                raise RequestError("conflict", f"The dataset {added.refused[0].message}.")
            after, count = items[-1].place, count + len(items)
        return count

    async def fill_unscored(
        self, batch: NewBatch, earlier: Batch, lasting: LastingBatches, dataset: DatasetVersion
    ) -> int:
        """Add the items whose results in an earlier batch are not complete."""
        datasets = (await self._open_stores()).datasets
        cursor, more, count = 0, True, 0
        while more:
            page = await lasting.page(earlier, cursor, ITEMS_AT_ONCE)
            cursor, more = page.cursor, page.has_more
            ids = await asyncio.to_thread(_incomplete, page.results)
            places = await datasets.places(dataset, ids) if ids else {}
            rows = [
                NewRow(count + number, id_, orjson.dumps({"place": place}))
                for number, (id_, place) in enumerate(places.items(), 1)
            ]
            if rows:
                await self._store.add(batch.id, rows)
            count += len(rows)
        return count

    async def discard(self, batch: NewBatch) -> None:
        """Remove a batch that could not be filled."""
        found = await self._store.find(batch.tenant, batch.id)
        if found is not None:
            await self._store.delete(found)
        if batch.kept:
            await (await self._open_stores()).runs.delete(batch.id)


def retry_spec(earlier: Batch, request: bytes, dataset: DatasetVersion) -> BatchRequestSpec:
    """A batch that does what an earlier one was to do, without gates: those are about all rows."""
    document, shown = loads(request), loads(earlier.shown)
    generate = document.get("generate")
    return BatchRequestSpec(
        earlier.tenant,
        document["criteria"],
        parse_criteria(document["criteria"]),
        document.get("judge"),
        named_from_json(document.get("evaluator")),
        Generation.model_validate(generate) if generate else None,
        dataset,
        name=shown.get("name"),
        metadata=shown.get("metadata"),
        retry_of=earlier.id,
    )


def _incomplete(results: Sequence[StoredResult]) -> list[str]:
    """The items of results in which not every criterion is scored."""
    return [one.item_id for one in results if loads(one.body).get("status") != "completed"]


def _request(spec: BatchRequestSpec) -> dict[str, Any]:
    """What `load_batch_spec` reads."""
    return {
        "tenant": spec.tenant,
        "criteria": spec.criteria,
        "judge": spec.judge,
        "evaluator": named_to_json(spec.named),
        "store": spec.store,
        "gates": spec.gates,
        "stop_when_certain": spec.stop_when_certain,
        "generate": spec.generation and spec.generation.model_dump(mode="json", by_alias=True),
        "rule": spec.rule,
    }


def _shown(spec: BatchRequestSpec) -> dict[str, Any]:
    dataset = spec.dataset
    return {
        "criteria": outline(spec.parsed),
        "evaluator": spec.named and str(spec.named),
        "dataset": dataset and dataset.reference,
        "name": spec.name,
        "generated_by": spec.generation and spec.generation.model,
        "retry_of": spec.retry_of,
        "rule": spec.rule,
        "metadata": spec.metadata,
        "gates": spec.gates,
        "stop_when_certain": spec.stop_when_certain,
        "webhook_url": None if spec.webhook is None else spec.webhook["url"],
    }
