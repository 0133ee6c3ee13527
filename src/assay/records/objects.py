"""Small documents; see `ObjectStore`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, insert, literal, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from assay.domain.ids import now_ms
from assay.domain.records import COMPARISON, COMPARISON_ROWS, StoredObject
from assay.records.database import Database, dialect_of
from assay.records.tables import objects


class RecordedObjects:
    """See `ObjectStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, tenant: str, new: StoredObject) -> StoredObject:
        values = _values(tenant, new)
        async with self._database.writing() as connection:
            statement = dialect_of(connection).insert(objects).values(values)
            statement = statement.on_conflict_do_update(index_elements=["id"], set_=values)
            return _object((await connection.execute(statement.returning(objects))).one())

    async def change(
        self,
        tenant: str,
        id_: str,
        document: Mapping[str, Any],
        *,
        updates: bool = True,
        token: str | None = None,
        children: Sequence[StoredObject] = (),
    ) -> StoredObject | None:
        values = {"document": dict(document)} | ({"updated_ms": now_ms()} if updates else {})
        changed = update(objects).where(objects.c.tenant == tenant, objects.c.id == id_)
        if token is not None:
            changed = changed.where(objects.c.document["token"].as_string() == token)
        async with self._database.writing() as connection:
            found = await connection.execute(changed.values(values).returning(objects))
            row = found.one_or_none()
            if row is not None and children:
                # Another process may have been ready in the meantime, with the same ones.
                of_it = objects.c.tenant == tenant, objects.c.parent == id_
                await connection.execute(delete(objects).where(*of_it))
                await connection.execute(
                    insert(objects), [_values(tenant, one) for one in children]
                )
        return None if row is None else _object(row)

    async def find(self, tenant: str, kind: str, id_: str, parent: str = "") -> StoredObject | None:
        query = select(objects).where(objects.c.id == id_, *_of(tenant, kind, parent))
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _object(row)

    async def page(
        self,
        tenant: str,
        kind: str,
        parent: str = "",
        *,
        after: str = "",
        limit: int,
        descending: bool = True,
        by_update: bool = False,
    ) -> Sequence[StoredObject]:
        # Ids sort by age, so that a page also follows one whose last object is deleted by now.
        time, id_ = objects.c.updated_ms, objects.c.id
        query = select(objects).where(*_of(tenant, kind, parent))
        async with self._database.reading() as connection:
            order = (time, id_) if by_update else (id_,)
            last: list[Any] = [literal(after, id_.type)]
            if after and by_update:
                of_last = select(time).where(id_ == after, objects.c.tenant == tenant)
                updated = await connection.scalar(of_last)
                # Without the last object, from the start: rather twice than never.
                last = [updated, *last] if updated is not None else []
            if after and last:
                key, bound = tuple_(*order), tuple_(*last)
                query = query.where(key < bound if descending else key > bound)
            query = query.order_by(*(one.desc() for one in order) if descending else order)
            return [_object(row) for row in await connection.execute(query.limit(limit))]

    async def of_all(self, kind: str, after: str, limit: int) -> Sequence[tuple[str, StoredObject]]:
        # Ids begin with their kind, and the rest are hex digits: so the primary key finds them.
        ids = objects.c.id.between(after or f"{kind}_", f"{kind}_g")
        query = select(objects).where(ids, objects.c.id != after, objects.c.kind == kind)
        async with self._database.reading() as connection:
            found = await connection.execute(query.order_by(objects.c.id).limit(limit))
            return [(row.tenant, _object(row)) for row in found]

    async def delete(self, tenant: str, kind: str, id_: str) -> bool:
        columns = objects.c
        async with self._database.writing() as connection:
            of_it = delete(objects).where(columns.tenant == tenant)
            it = of_it.where(columns.id == id_, columns.kind == kind)
            found = (await connection.execute(it)).rowcount
            if found:
                await connection.execute(of_it.where(columns.parent == id_))
        return bool(found)


async def forget_comparisons(connection: AsyncConnection, *wanted: ColumnElement[bool]) -> None:
    """Remove comparisons that are kept, and those that are being computed."""
    # One after the other: the second statement sees the rows of a comparison that was just ready.
    for kind in (COMPARISON, COMPARISON_ROWS):
        await connection.execute(delete(objects).where(objects.c.kind == kind, *wanted))


def _values(tenant: str, new: StoredObject) -> dict[str, Any]:
    now = now_ms()
    return {
        "id": new.id, "tenant": tenant, "kind": new.kind, "parent": new.parent,
        "created_ms": now, "updated_ms": now, "document": dict(new.document),
    }  # fmt: skip


def _of(tenant: str, kind: str, parent: str) -> tuple[Any, ...]:
    return objects.c.tenant == tenant, objects.c.kind == kind, objects.c.parent == parent


def _object(row: Row[Any]) -> StoredObject:
    return StoredObject(row.id, row.kind, row.document, row.parent, row.created_ms, row.updated_ms)
