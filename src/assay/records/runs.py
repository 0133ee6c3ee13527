"""Runs and their results; see `RunStore`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, delete, insert, select, update

from assay.domain.batches import Batch, NewBatch, ResultPage, StoredResult, Sums
from assay.records.database import Database, insert_new
from assay.records.tables import results, runs

PAGE_BYTES_MAX = 8 * 1024 * 1024
"""A page ends early if its results are larger, whatever limit was asked for."""
READ_AT_ONCE = 200


class RecordedRuns:
    """See `RunStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, batch: NewBatch) -> None:
        new = {"id": batch.id, "tenant": batch.tenant, "created_ms": batch.created_ms}
        async with self._database.writing() as connection:
            await connection.execute(insert(runs).values(**new, copied=0))

    async def copied(self, batch_id: str) -> int | None:
        copied: int | None = await self._value(runs.c.copied, batch_id)
        return copied

    async def add_results(self, batch_id: str, found: Sequence[StoredResult], copied: int) -> None:
        rows = [
            {"run_id": batch_id, "number": one.index, "item_id": one.item_id, "body": one.body}
            for one in found
        ]
        async with self._database.writing() as connection:
            if rows:
                await connection.execute(insert_new(connection, results), rows)
            moved = update(runs).where(runs.c.id == batch_id, runs.c.copied < copied)
            await connection.execute(moved.values(copied=copied))

    async def finish(self, batch: Batch, request: bytes, sums: Sums) -> None:
        document = asdict(batch) | {"shown": batch.shown.decode(), "recorded": True}
        shown = update(runs).where(runs.c.id == batch.id)
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

    async def sums(self, batch_id: str) -> Sums:
        found = await self._value(runs.c.sums, batch_id)
        return Sums({}, {}) if found is None else Sums(**found)

    async def delete(self, batch_id: str) -> None:
        async with self._database.writing() as connection:
            await connection.execute(delete(runs).where(runs.c.id == batch_id))

    async def _results(self, batch_id: str, cursor: int, limit: int) -> Sequence[Row[Any]]:
        query = select(results).where(results.c.run_id == batch_id, results.c.number >= cursor)
        async with self._database.reading() as connection:
            return (await connection.execute(query.order_by(results.c.number).limit(limit))).all()

    async def _value(self, column: Any, batch_id: str) -> Any:
        async with self._database.reading() as connection:
            return await connection.scalar(select(column).where(runs.c.id == batch_id))


def _batch(document: dict[str, Any]) -> Batch:
    return Batch(**{**document, "shown": document["shown"].encode()})
