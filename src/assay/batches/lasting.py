"""Batches that outlive Redis: copied to the records when they have ended, and read from there.

A copy goes on where it was interrupted, and to repeat a part of it changes nothing: so whatever
dies, each row has its one result.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence

import orjson

from assay.catalog.stores import OpenStores
from assay.domain.batches import BadRow, Batch, ResultPage, StoredResult, Sums
from assay.domain.ids import now_ms
from assay.domain.ports import BatchStore, JobQueue, ResultStore
from assay.domain.records import RecordsUnavailable

RESULTS_AT_ONCE = 200


class BatchArchive:
    """Copies batches that have ended to the records, and then lets Redis forget them.

    `late_s` is how long rows in flight may still get a result after a batch was cancelled.
    """

    def __init__(
        self,
        queue: JobQueue,
        batches: BatchStore,
        results: ResultStore,
        open_stores: OpenStores,
        *,
        late_s: float,
        retention_s: float,
    ) -> None:
        self._queue = queue
        self._batches = batches
        self._results = results
        self._open_stores = open_stores
        self._late_ms = round(late_s * 1_000)
        self._retention_ms = round(retention_s * 1_000)

    async def copy(self, batch_id: str) -> None:
        """Copy the batch if that is due; raises `StoreUnavailable` and `RecordsUnavailable`."""
        request = await self._batches.request(batch_id)
        if request is None:
            return
        batch = await self._batches.find(orjson.loads(request)["tenant"], batch_id)
        if batch is None or not batch.uncopied:
            return
        if batch.status != "completed" and now_ms() < batch.finished_ms + self._late_ms:
            return
        runs = (await self._open_stores()).runs
        cursor, more = await runs.copied(batch_id), True
        while cursor is not None and more:
            page = await self._results.page(batch, cursor, RESULTS_AT_ONCE)
            is_there = await runs.add_results(batch_id, page.results, page.cursor)
            cursor, more = page.cursor if is_there else None, page.has_more
        if cursor is not None:  # else the batch was deleted meanwhile
            sums = await self._results.sums(batch_id, by_group=True)
            await runs.finish(batch, request, sums)
        await self._queue.release(batch, batch.created_ms + self._retention_ms)


class LastingBatches:
    """Reads batches from Redis, and from the records what Redis has let go."""

    def __init__(self, batches: BatchStore, results: ResultStore, open_stores: OpenStores) -> None:
        self._batches = batches
        self._results = results
        self._open_stores = open_stores

    async def find(self, tenant: str, batch_id: str) -> Batch | None:
        """The tenant's batch; raises `StoreUnavailable` and `RecordsUnavailable`."""
        found = await self._batches.find(tenant, batch_id)
        if found is not None:
            return found
        return await (await self._open_stores()).runs.find(tenant, batch_id)

    async def list(self, tenant: str, before: str, limit: int) -> Sequence[Batch]:
        """The tenant's batches older than the id `before`, the newest first.

        While the records are unavailable, those that Redis has.
        """
        found = {batch.id: batch for batch in await self._batches.page(tenant, before, limit)}
        try:
            recorded = await (await self._open_stores()).runs.page(tenant, before, limit)
        except RecordsUnavailable:
            recorded = ()
        both = {batch.id: batch for batch in recorded} | found
        return [both[id_] for id_ in sorted(both, reverse=True)][:limit]

    async def page(self, batch: Batch, cursor: int, limit: int) -> ResultPage:
        """See `ResultStore.page`."""
        if batch.recorded:
            return await (await self._open_stores()).runs.results(batch, cursor, limit)
        return await self._results.page(batch, cursor, limit)

    async def pages(self, batch: Batch, cursor: int = 0) -> AsyncIterator[Sequence[StoredResult]]:
        """All results from `cursor` on, a few at a time."""
        more = True
        while more:
            page = await self.page(batch, cursor, RESULTS_AT_ONCE)
            more = page.has_more and page.cursor > cursor
            cursor = page.cursor
            yield page.results

    async def known_ids(self, batch: Batch, ids: Sequence[str]) -> Collection[str]:
        """See `BatchStore.known_ids`."""
        if batch.recorded:
            return await (await self._open_stores()).runs.known_ids(batch.id, ids)
        return await self._batches.known_ids(batch.id, ids)

    async def sums(self, batch: Batch, *, by_group: bool) -> Sums:
        """See `ResultStore.sums`."""
        if batch.recorded:
            return await (await self._open_stores()).runs.sums(batch.id)
        return await self._results.sums(batch.id, by_group=by_group)

    async def bad_rows(self, batch: Batch, limit: int) -> Sequence[BadRow]:
        """See `BatchStore.bad_rows`; a batch over a dataset has none."""
        return () if batch.recorded else await self._batches.bad_rows(batch.id, limit)

    async def request(self, batch: Batch) -> bytes | None:
        """See `BatchStore.request`."""
        if batch.recorded:
            return await (await self._open_stores()).runs.request(batch.id)
        return await self._batches.request(batch.id)

    async def delete(self, batch: Batch) -> None:
        """Remove the batch, wherever it is."""
        if batch.recorded or batch.kept:
            await (await self._open_stores()).runs.delete(batch.id)
        if not batch.recorded:
            await self._batches.delete(batch)
