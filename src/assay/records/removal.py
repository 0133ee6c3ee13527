"""What leaves the records: what was deleted a while ago, and what is to be erased at once."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from sqlalchemy import Text, cast, delete, literal, or_, select, tuple_, update

from assay.domain.erasure import Erased, ErasureTarget
from assay.domain.errors import StoreUnavailable
from assay.domain.exact_json import loads
from assay.domain.ids import now_ms
from assay.domain.ports import BatchStore
from assay.domain.records import RecordsUnavailable
from assay.domain.supervision import SupervisedTask
from assay.records.database import Database
from assay.records.datasets import count_items, remove_items
from assay.records.objects import forget_comparisons
from assay.records.runs import REMOVED, remove_runs
from assay.records.tables import (
    Document,
    dataset_items,
    datasets,
    evaluator_versions,
    evaluators,
    labels,
    objects,
    results,
    runs,
    uploads,
)

EVERY_S = 60.0
DAY_MS = 24 * 3_600 * 1_000
RESERVED_MS = 30 * DAY_MS
"""How long a deleted name is reserved, and its records could be restored by hand."""
ABANDONED_MS = DAY_MS
"""No upload takes so long: its process died."""
NAMES_AT_ONCE = 100
RESULTS_AT_ONCE = 200


async def upkeep(
    database: Database, batches: BatchStore, retention_ms: int | None, task: SupervisedTask
) -> None:
    """Once a minute, purge; this also notices when the database is back after an outage."""
    while not task.stopping:
        await asyncio.sleep(EVERY_S)
        with suppress(RecordsUnavailable, StoreUnavailable):
            await purge(database, now_ms())
            await purge_runs(database, batches, retention_ms, now_ms())


async def purge_runs(
    database: Database, batches: BatchStore, retention_ms: int | None, at_ms: int
) -> None:
    """Remove runs older than the retention, and those that will never get their results.

    These were never copied to their end, and Redis has not had their batch for 30 days or since it
    was made: long enough to bring a Redis that was lost back from a backup, and to copy it then.
    Raises `RecordsUnavailable` and `StoreUnavailable`.
    """
    await remove_runs(database, runs.c.copied == REMOVED)  # a process died while it removed them
    if retention_ms is not None:
        old = runs.c.created_ms < at_ms - retention_ms
        await remove_runs(database, runs.c.sums.is_not(None), old)
    unfinished = (runs.c.sums.is_(None), runs.c.created_ms < at_ms - RESERVED_MS)
    async with database.reading() as connection:
        query = select(runs.c.id, runs.c.tenant).where(*unfinished)
        found = (await connection.execute(query)).all()
    for row in found:
        if await batches.find(row.tenant, row.id) is None:
            await remove_runs(database, runs.c.id == row.id, *unfinished)


async def purge(database: Database, at_ms: int) -> None:
    """Remove what was deleted 30 days before, and uploads abandoned a day before, in short steps.

    Raises `RecordsUnavailable`.
    """
    abandoned = (uploads.c.published == 0, uploads.c.created_ms < at_ms - ABANDONED_MS)
    deleted = datasets.c.deleted_ms < at_ms - RESERVED_MS
    of_deleted = select(uploads.c.id).join(datasets).where(deleted)
    for doomed in (select(uploads.c.id).where(*abandoned), of_deleted):
        await remove_items(database, dataset_items.c.upload_id.in_(doomed))
    async with database.writing() as connection:
        await connection.execute(delete(uploads).where(*abandoned))
        await connection.execute(delete(datasets).where(deleted))
        gone = evaluators.c.deleted_ms < at_ms - RESERVED_MS
        await forget_comparisons(connection, objects.c.created_ms < at_ms - RESERVED_MS)
        some = select(evaluators.c.id).where(gone).limit(NAMES_AT_ONCE)
        await connection.execute(delete(evaluators).where(evaluators.c.id.in_(some)))


class Eraser:
    """See `RecordEraser`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def erase(self, tenant: str, what: ErasureTarget) -> Erased:
        if what.item_id is not None:
            item, label = dataset_items.c.item_id == what.item_id, labels.c.item_id == what.item_id
        else:
            subject = literal(what.subject, Document)
            item = dataset_items.c.metadata["subject"] == subject
            named = select(datasets.c.name, dataset_items.c.item_id).select_from(
                dataset_items.join(uploads).join(datasets)
            )
            about = named.where(dataset_items.c.tenant == tenant, item)
            label = or_(
                labels.c.metadata["subject"] == subject,
                tuple_(labels.c.dataset, labels.c.item_id).in_(about),
            )
        wanted = (dataset_items.c.tenant == tenant, item)
        async with self._database.writing() as connection:
            statement = delete(labels).where(labels.c.tenant == tenant, label)
            said = (await connection.execute(statement)).rowcount
            of_items = select(dataset_items.c.upload_id).where(*wanted).distinct()
            affected = (await connection.scalars(of_items)).all()
        items = await remove_items(self._database, *wanted)
        async with self._database.writing() as connection:
            await count_items(connection, affected)
        examples = await self._erase_examples(tenant, what)
        await self._erase_results(tenant, what)
        async with self._database.writing() as connection:
            await forget_comparisons(connection, objects.c.tenant == tenant)
        return Erased(items, said, examples)

    async def _erase_results(self, tenant: str, what: ErasureTarget) -> None:
        """Remove the results of runs that hold the item or speak of the subject."""
        columns, place = results.c, ("", -1)
        owned = select(results).join(runs).where(runs.c.tenant == tenant)
        ordered = owned.order_by(columns.run_id, columns.number).limit(RESULTS_AT_ONCE)
        while True:
            after = tuple_(columns.run_id, columns.number) > place
            async with self._database.writing() as connection:
                rows = (await connection.execute(ordered.where(after))).all()
                doomed = [
                    (row.run_id, row.number)
                    for row in rows
                    if what.covers(row.item_id, loads(row.body).get("metadata"))
                ]
                keys = tuple_(columns.run_id, columns.number)
                await connection.execute(delete(results).where(keys.in_(doomed)))
            if len(rows) < RESULTS_AT_ONCE:
                return
            place = (rows[-1].run_id, rows[-1].number)

    async def _erase_examples(self, tenant: str, what: ErasureTarget) -> int:
        """Remove the examples about the subject from versions of evaluators, one at a time."""
        if what.subject is None:
            return 0
        versions, count = evaluator_versions.c, 0
        has_some = cast(versions.spec, Text).contains("subject")
        owned = select(versions.evaluator_id, versions.version).join(evaluators)
        async with self._database.reading() as connection:
            found = await connection.execute(owned.where(evaluators.c.tenant == tenant, has_some))
            keys = found.all()
        for key in keys:
            this = (versions.evaluator_id == key.evaluator_id, versions.version == key.version)
            async with self._database.writing() as connection:
                spec = dict(await connection.scalar(select(versions.spec).where(*this)) or {})
                examples = spec.get("examples") or []
                kept = [
                    one for one in examples if not what.covers(None, one["case"].get("metadata"))
                ]
                if len(kept) < len(examples):
                    count += len(examples) - len(kept)
                    changed = {**spec, "examples": kept}
                    statement = update(evaluator_versions).where(*this).values(spec=changed)
                    await connection.execute(statement)
        return count
