"""Runs and their results; see `RunStore`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Row, Update, case, delete, null, select, update

from assay.domain.batches import Batch, NewBatch, ResultPage, StoredResult, Sums
from assay.records.database import Database, insert_new
from assay.records.objects import forget_comparisons
from assay.records.tables import objects, results, runs

PAGE_BYTES_MAX = 8 * 1024 * 1024
"""A page ends early if its results are larger, whatever limit was asked for."""
READ_AT_ONCE = 200
REMOVED_AT_ONCE = 1_000
REMOVED = -1
"""`copied` of a run that is being removed: nothing is added to it any more."""


class RecordedRuns:
    """See `RunStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, batch: NewBatch) -> None:
        new = {"id": batch.id, "tenant": batch.tenant, "created_ms": batch.created_ms}
        async with self._database.writing() as connection:
            # A batch with an id that follows from something is made again after a crash.
            await connection.execute(insert_new(connection, runs), {**new, "copied": 0})

    async def copied(self, batch_id: str) -> int | None:
        copied: int | None = await self._value(runs.c.copied, batch_id)
        return None if copied == REMOVED else copied

    async def add_results(self, batch_id: str, found: Sequence[StoredResult], copied: int) -> bool:
        rows = [
            {"run_id": batch_id, "number": one.index, "item_id": one.item_id, "body": one.body}
            for one in found
        ]
        further = case((runs.c.copied < copied, copied), else_=runs.c.copied)
        async with self._database.writing() as connection:
            # First: it locks the run, so that it is not removed before its results are there.
            moved = await connection.execute(_kept(batch_id).values(copied=further))
            if rows and moved.rowcount:
                await connection.execute(insert_new(connection, results), rows)
        return bool(moved.rowcount)

    async def finish(self, batch: Batch, request: bytes, sums: Sums) -> None:
        document = asdict(batch) | {"shown": batch.shown.decode(), "recorded": True}
        shown = _kept(batch.id)
        async with self._database.writing() as connection:
            await connection.execute(
                shown.values(batch=document, request=request, sums=asdict(sums))
            )

    async def find(self, tenant: str, batch_id: str) -> Batch | None:
        found = select(runs.c.batch).where(runs.c.id == batch_id, runs.c.tenant == tenant)
        async with self._database.reading() as connection:
            document = await connection.scalar(found)
        return None if document is None else _batch(document)

    async def request(self, batch_id: str) -> bytes | None:
        request: bytes | None = await self._value(runs.c.request, batch_id)
        return request

    async def page(self, tenant: str, before: str, limit: int) -> Sequence[Batch]:
        query = select(runs.c.batch).where(runs.c.tenant == tenant, runs.c.sums.is_not(None))
        if before:
            query = query.where(runs.c.id < before)
        async with self._database.reading() as connection:
            found = await connection.scalars(query.order_by(runs.c.id.desc()).limit(limit))
            return [_batch(document) for document in found]

    async def results(self, batch: Batch, cursor: int, limit: int) -> ResultPage:
        found: list[StoredResult] = []
        size, more = 0, True
        while more and len(found) < limit and size < PAGE_BYTES_MAX:
            wanted = min(READ_AT_ONCE, limit - len(found))
            rows = await self._results(batch.id, cursor, wanted)
            more = len(rows) == wanted
            for row in rows:
                found.append(StoredResult(row.number, row.item_id, bytes(row.body)))
                size += len(row.body)
                cursor = row.number + 1
        cursor = cursor if more else batch.total
        return ResultPage(found, cursor, has_more=cursor < batch.total)

    async def known_ids(self, batch_id: str, ids: Sequence[str]) -> Collection[str]:
        query = select(results.c.item_id).where(results.c.run_id == batch_id)
        async with self._database.reading() as connection:
            return set(await connection.scalars(query.where(results.c.item_id.in_(ids))))

    async def sums(self, batch_id: str) -> Sums:
        found = await self._value(runs.c.sums, batch_id)
        return Sums({}, {}) if found is None else Sums(**found)

    async def delete(self, batch_id: str) -> None:
        await remove_runs(self._database, runs.c.id == batch_id)

    async def _results(self, batch_id: str, cursor: int, limit: int) -> Sequence[Row[Any]]:
        query = select(results).where(results.c.run_id == batch_id, results.c.number >= cursor)
        async with self._database.reading() as connection:
            return (await connection.execute(query.order_by(results.c.number).limit(limit))).all()

    async def _value(self, column: Any, batch_id: str) -> Any:
        async with self._database.reading() as connection:
            return await connection.scalar(select(column).where(runs.c.id == batch_id))


async def remove_runs(database: Database, *wanted: ColumnElement[bool]) -> None:
    """Remove runs: they are hidden at once, and their results go in short steps."""
    hidden = update(runs).where(*wanted).values(copied=REMOVED, batch=null(), sums=null())
    async with database.writing() as connection:
        found = (await connection.execute(hidden.returning(runs.c.id, runs.c.tenant))).all()
        if found:
            tenants = {row.tenant for row in found}
            await forget_comparisons(connection, objects.c.tenant.in_(tenants))
    for id_ in [row.id for row in found]:
        left = True
        while left:
            numbers = select(results.c.number).where(results.c.run_id == id_).limit(REMOVED_AT_ONCE)
            step = delete(results).where(results.c.run_id == id_, results.c.number.in_(numbers))
            async with database.writing() as connection:
                left = (await connection.execute(step)).rowcount == REMOVED_AT_ONCE
        async with database.writing() as connection:
            await connection.execute(delete(runs).where(runs.c.id == id_))


def _kept(batch_id: str) -> Update:
    return update(runs).where(runs.c.id == batch_id, runs.c.copied != REMOVED)


def _batch(document: dict[str, Any]) -> Batch:
    return Batch(**{**document, "shown": document["shown"].encode()})
