"""Datasets and their items; see `DatasetStore`.

A version is a list of uploads, and an upload is a set of items: so a version is published by one
small row, however many items it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Row,
    and_,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from assay.domain.errors import RequestError
from assay.domain.ids import now_ms
from assay.domain.records import (
    ALL_ITEMS,
    DATASET_ID_KIND,
    DatasetVersion,
    ItemFilter,
    ItemsAdded,
    NewItem,
    StoredItem,
)
from assay.records.database import Database, insert_new
from assay.records.named import NamedTable
from assay.records.tables import (
    Document,
    bodies,
    dataset_items,
    dataset_versions,
    datasets,
    uploads,
)

REMOVED_AT_ONCE = 500
BODIES_LOCK = 7_265_637
"""The advisory lock of what adds items and what removes content, which exclude each other."""

_GONE = "The dataset was deleted while the items were uploaded."


class RecordedDatasets(NamedTable[DatasetVersion]):
    """See `DatasetStore`."""

    def __init__(self, database: Database) -> None:
        tables = datasets, dataset_versions, "dataset_id"
        super().__init__(database, DATASET_ID_KIND, *tables, _version)

    async def create(
        self, tenant: str, name: str, description: str, schema: Mapping[str, Any] | None
    ) -> DatasetVersion:
        of_name = {"description": description, "schema": schema, "newest": 0}
        return await self._create(tenant, name, of_name, {"items": 0, "uploads": []})

    async def open_upload(self, dataset: DatasetVersion) -> int:
        new = {"dataset_id": dataset.id, "base": dataset.version, "created_ms": now_ms()}
        async with self._database.writing() as connection:
            statement = insert(uploads).values(**new, published=0).returning(uploads.c.id)
            return int((await connection.execute(statement)).scalar_one())

    async def add_items(
        self, upload: int, items: Sequence[NewItem], *, beside: Sequence[int] = ()
    ) -> ItemsAdded:
        async with self._database.writing() as connection:
            tenant = (await self._upload(connection, upload)).tenant
            known = await _digests(connection, beside, [item.id for item in items])
            new: dict[str, NewItem] = {}
            clashes: list[int] = []
            for item in items:
                if item.id not in known:
                    new[item.id] = item
                elif known[item.id] != item.digest:
                    clashes.append(item.line)
                known.setdefault(item.id, item.digest)
            added = await _insert(connection, tenant, upload, new) if new else set()
            # To look for all of them before would take a plan that PostgreSQL does not choose
            # for a table that grows.
            if there := [id_ for id_ in new if id_ not in added]:
                known = await _digests(connection, (upload,), there)
                clashes += [new[id_].line for id_ in there if known[id_] != new[id_].digest]
        return ItemsAdded(len(added), tuple(sorted(clashes)))

    async def publish(self, upload: int, *, append: bool) -> DatasetVersion:
        async with self._database.writing() as connection:
            row = await self._upload(connection, upload)
            before = await self._find(connection, row.tenant, row.name)
            if before is None:
                raise RequestError("conflict", _GONE)
            if append and before.version != row.base:
                message = f"Version {before.version} was made meanwhile; append to that one."
                raise RequestError("conflict", message)
            all_uploads = [*(before.uploads if append else ()), upload]
            counted = select(func.count()).where(dataset_items.c.upload_id.in_(all_uploads))
            values = {
                "items": (await connection.execute(counted)).scalar_one(),
                "uploads": all_uploads,
            }
            made = await self._add_next(connection, row.tenant, row.name, values)
            if made is None:
                raise RequestError("conflict", _GONE)
            published = update(uploads).where(uploads.c.id == upload).values(published=1)
            await connection.execute(published)
            return made

    async def discard(self, upload: int) -> None:
        doomed = (uploads.c.id == upload, uploads.c.published == 0)
        found = dataset_items.c.upload_id.in_(select(uploads.c.id).where(*doomed))
        await remove_items(self._database, found)
        async with self._database.writing() as connection:
            await connection.execute(delete(uploads).where(*doomed))

    async def items(
        self, version: DatasetVersion, *, after: int, limit: int, wanted: ItemFilter = ALL_ITEMS
    ) -> Sequence[StoredItem]:
        place = dataset_items.c.place
        query = _WITH_BODY.where(*_conditions(version, wanted), place > after)
        async with self._database.reading() as connection:
            found = await connection.execute(query.order_by(place).limit(limit))
            return [_item(row) for row in found]

    async def places(self, version: DatasetVersion, ids: Sequence[str]) -> Mapping[str, int]:
        table = dataset_items
        query = select(table.c.item_id, table.c.place).where(
            table.c.upload_id.in_(version.uploads), table.c.item_id.in_(ids)
        )
        async with self._database.reading() as connection:
            found = await connection.execute(query.order_by(table.c.place))
            return {row.item_id: row.place for row in found}

    async def count(self, version: DatasetVersion, wanted: ItemFilter = ALL_ITEMS) -> int:
        counted = select(func.count()).where(*_conditions(version, wanted))
        async with self._database.reading() as connection:
            return int((await connection.execute(counted)).scalar_one())

    async def splits(self, version: DatasetVersion) -> Mapping[str | None, int]:
        split = dataset_items.c.split
        counted = select(split, func.count()).where(*_conditions(version, ALL_ITEMS))
        async with self._database.reading() as connection:
            rows = await connection.execute(counted.group_by(split))
            found = {row[0]: row[1] for row in rows}
        return dict(sorted(found.items(), key=lambda one: (one[0] is None, one[0] or "")))

    async def sample(
        self, version: DatasetVersion, limit: int, wanted: ItemFilter = ALL_ITEMS
    ) -> Sequence[StoredItem]:
        # A multiplicative hash of the place (Knuth) is as good as random here, and repeatable.
        mixed = dataset_items.c.place * 2_654_435_761 % 4_294_967_296
        query = _WITH_BODY.where(*_conditions(version, wanted)).order_by(mixed).limit(limit)
        async with self._database.reading() as connection:
            return [_item(row) for row in await connection.execute(query)]

    async def items_called(
        self, version: DatasetVersion, ids: Sequence[str]
    ) -> Mapping[str, StoredItem]:
        table = dataset_items
        query = _WITH_BODY.where(table.c.upload_id.in_(version.uploads), table.c.item_id.in_(ids))
        async with self._database.reading() as connection:
            return {row.item_id: _item(row) for row in await connection.execute(query)}

    async def item(self, tenant: str, place: int) -> StoredItem | None:
        table = dataset_items
        query = _WITH_BODY.where(table.c.place == place, table.c.tenant == tenant)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _item(row)

    async def delete(self, tenant: str, name: str, *, erase: bool) -> bool:
        hidden = await super().delete(tenant, name, erase=False)
        if not erase:
            return hidden
        of_name = select(uploads.c.id).join(datasets).where(*self._named(tenant, name))
        await remove_items(self._database, dataset_items.c.upload_id.in_(of_name))
        return await super().delete(tenant, name, erase=True)

    async def _upload(self, connection: AsyncConnection, upload: int) -> Row[Any]:
        both = uploads.join(datasets)
        query = select(uploads.c.base, datasets.c.tenant, datasets.c.name).select_from(both)
        wanted = (uploads.c.id == upload, datasets.c.deleted_ms.is_(None))
        found = await connection.execute(query.where(*wanted))
        row = cast("Row[Any] | None", found.one_or_none())
        if row is None:
            raise RequestError("conflict", _GONE)
        return row


def _same_content(table: FromClause, other: FromClause) -> ColumnElement[bool]:
    return and_(table.c.tenant == other.c.tenant, table.c.digest == other.c.digest)


_WITH_BODY = select(dataset_items, bodies.c.body).join(bodies, _same_content(dataset_items, bodies))


async def remove_items(database: Database, *wanted: ColumnElement[bool]) -> int:
    """Remove items with the content that no other item has, so many at a time that each step is
    short, and count them."""
    items = dataset_items.c
    step = select(items.place).where(*wanted).limit(REMOVED_AT_ONCE)
    count = 0
    while True:
        async with database.writing() as connection:
            await _lock_bodies(connection, "pg_advisory_xact_lock")
            statement = delete(dataset_items).where(items.place.in_(step))
            removed = (
                await connection.execute(statement.returning(items.tenant, items.digest))
            ).all()
            await connection.execute(
                delete(bodies).where(
                    tuple_(bodies.c.tenant, bodies.c.digest).in_({(*row,) for row in removed}),
                    ~exists().where(_same_content(bodies, dataset_items)),
                )
            )
        count += len(removed)
        if len(removed) < REMOVED_AT_ONCE:
            return count


async def count_items(connection: AsyncConnection, changed: Sequence[int]) -> None:
    """Count the items of the versions that have one of the changed uploads."""
    columns = dataset_versions.c
    owners = select(uploads.c.dataset_id).where(uploads.c.id.in_(changed))
    found = await connection.execute(select(dataset_versions).where(columns.dataset_id.in_(owners)))
    for row in found.all():
        if not set(row.uploads).isdisjoint(changed):
            counted = select(func.count()).where(dataset_items.c.upload_id.in_(row.uploads))
            this = (columns.dataset_id == row.dataset_id, columns.version == row.version)
            statement = update(dataset_versions).where(*this)
            await connection.execute(statement.values(items=counted.scalar_subquery()))


async def _lock_bodies(connection: AsyncConnection, lock: str) -> None:
    """What removes content waits for what adds items, which may refer to the same content."""
    if connection.dialect.name == "postgresql":  # SQLite has one writer at a time
        await connection.execute(text(f"SELECT {lock}({BODIES_LOCK})"))


async def _digests(
    connection: AsyncConnection, among: Sequence[int], ids: Sequence[str]
) -> dict[str, str]:
    """The hash of each of the items that the uploads have already."""
    if not among:
        return {}
    table = dataset_items
    query = select(table.c.item_id, table.c.digest).where(
        table.c.upload_id.in_(among), table.c.item_id.in_(ids)
    )
    return {row.item_id: row.digest for row in await connection.execute(query)}


async def _insert(
    connection: AsyncConnection, tenant: str, upload: int, items: Mapping[str, NewItem]
) -> set[str]:
    """Insert the items that the upload has not yet, with their content; the ids of these."""
    await _lock_bodies(connection, "pg_advisory_xact_lock_shared")
    rows = [
        {
            "upload_id": upload, "tenant": tenant, "item_id": item.id, "digest": item.digest,
            "group": item.group, "split": item.split, "metadata": dict(item.metadata),
        }
        for item in items.values()
    ]  # fmt: skip
    statement = insert_new(connection, dataset_items).returning(dataset_items.c.item_id)
    added = set((await connection.scalars(statement, rows)).all())
    content = {items[id_].digest: items[id_].body for id_ in added}
    await insert_bodies(
        connection,
        [{"tenant": tenant, "digest": digest, "body": body} for digest, body in content.items()],
    )
    return added


async def insert_bodies(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert content where it is not there yet."""
    if rows:
        await connection.execute(insert_new(connection, bodies), rows)


def _conditions(version: DatasetVersion, wanted: ItemFilter) -> list[Any]:
    columns = dataset_items.c
    conditions: list[Any] = [columns.upload_id.in_(version.uploads)]
    if wanted.ids:
        conditions.append(columns.item_id.in_(wanted.ids))
    if wanted.places:
        conditions.append(columns.place.in_(wanted.places))
    if wanted.split is not None:
        conditions.append(columns.split == wanted.split)
    if wanted.group is not None:
        conditions.append(columns.group == wanted.group)
    for name, value in wanted.metadata.items():
        # Equal numbers have several spellings, and SQLite has no booleans: true is found as 1.
        alike = [value]
        if not isinstance(value, str):
            alike = [one for one in (bool(value), int(value), float(value)) if one == value]
        # The database that spells the item's value spells the wanted one, too: as 1.0e+16, say.
        spelled = [literal({name: one}, Document)[name] for one in alike]
        conditions.append(columns.metadata[name].in_(spelled))
    return conditions


def _version(row: Row[Any]) -> DatasetVersion:
    return DatasetVersion(
        row.id,
        row.name,
        row.version,
        row.created_ms,
        row.description,
        row.schema,
        row.items,
        tuple(row.uploads),
    )


def _item(row: Row[Any]) -> StoredItem:
    return StoredItem(row.place, row.item_id, row.digest, row.body, row.group, row.split)
