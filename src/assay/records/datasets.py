"""Datasets and their items; see `DatasetStore`.

A version is a list of uploads, and an upload is a set of items: so a version is published by one
small row, however many items it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Row,
    Select,
    and_,
    delete,
    exists,
    func,
    insert,
    select,
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
from assay.records.tables import bodies, dataset_items, dataset_versions, datasets, uploads

_GONE = "The dataset was deleted while the items were uploaded."


class RecordedDatasets:
    """See `DatasetStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._names = NamedTable(DATASET_ID_KIND, datasets, dataset_versions, "dataset_id")

    async def create(
        self, tenant: str, name: str, description: str, schema: Mapping[str, Any] | None
    ) -> DatasetVersion:
        of_name = {"description": description, "schema": schema, "newest": 0}
        async with self._database.writing() as connection:
            empty = {"items": 0, "uploads": []}
            await self._names.create(connection, tenant, name, of_name, empty)
            return _version(await self._names.find(connection, tenant, name))

    async def find(
        self, tenant: str, name: str, version: int | None = None
    ) -> DatasetVersion | None:
        async with self._database.reading() as connection:
            row = await self._names.find(connection, tenant, name, version)
        return None if row is None else _version(row)

    async def versions(self, tenant: str, name: str) -> Sequence[DatasetVersion]:
        async with self._database.reading() as connection:
            return [_version(row) for row in await self._names.versions(connection, tenant, name)]

    async def page(self, tenant: str, before: str, limit: int) -> Sequence[DatasetVersion]:
        async with self._database.reading() as connection:
            found = await self._names.page(connection, tenant, before, limit)
        return [_version(row) for row in found]

    async def open_upload(self, dataset: DatasetVersion) -> int:
        new = {"dataset_id": dataset.id, "base": dataset.version, "created_ms": now_ms()}
        async with self._database.writing() as connection:
            statement = insert(uploads).values(**new, published=0).returning(uploads.c.id)
            return int((await connection.execute(statement)).scalar_one())

    async def add_items(
        self, upload: int, items: Sequence[NewItem], *, beside: Sequence[int] = ()
    ) -> ItemsAdded:
        async with self._database.writing() as connection:
            tenant = await self._tenant(connection, upload)
            known = await _digests(connection, (*beside, upload), [item.id for item in items])
            new: dict[str, NewItem] = {}
            clashes: list[int] = []
            for item in items:
                if item.id not in known:
                    new[item.id] = item
                elif known[item.id] != item.digest:
                    clashes.append(item.line)
                known.setdefault(item.id, item.digest)
            if new:
                await _insert(connection, tenant, upload, list(new.values()))
        return ItemsAdded(len(new), tuple(clashes))

    async def publish(self, upload: int, *, append: bool) -> DatasetVersion:
        async with self._database.writing() as connection:
            row = await self._upload(connection, upload)
            before = await self._names.find(connection, row.tenant, row.name)
            if before is None:
                raise RequestError("conflict", _GONE)
            if append and before.version != row.base:
                message = f"Version {before.version} was made meanwhile; append to that one."
                raise RequestError("conflict", message)
            claimed = await self._names.next_version(connection, row.tenant, row.name)
            if claimed is None:
                raise RequestError("conflict", _GONE)
            all_uploads = [*(before.uploads if append else ()), upload]
            counted = select(func.count()).where(dataset_items.c.upload_id.in_(all_uploads))
            values = {
                "items": (await connection.execute(counted)).scalar_one(),
                "uploads": all_uploads,
            }
            await self._names.add_version(connection, claimed.id, claimed.newest, values)
            published = update(uploads).where(uploads.c.id == upload).values(published=1)
            await connection.execute(published)
            return _version(await self._names.find(connection, row.tenant, row.name))

    async def discard(self, upload: int) -> None:
        async with self._database.writing() as connection:
            doomed = (uploads.c.id == upload, uploads.c.published == 0)
            await _remove_bodies(connection, select(uploads.c.id).where(*doomed))
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
        async with self._database.writing() as connection:
            if erase:
                of_name = select(uploads.c.id).join(datasets)
                named = (datasets.c.tenant == tenant, datasets.c.name == name)
                await _remove_bodies(connection, of_name.where(*named))
            return await self._names.delete(connection, tenant, name, erase=erase)

    async def _upload(self, connection: AsyncConnection, upload: int) -> Row[Any]:
        both = uploads.join(datasets)
        query = select(uploads.c.base, datasets.c.tenant, datasets.c.name).select_from(both)
        found = await connection.execute(query.where(uploads.c.id == upload))
        row = cast("Row[Any] | None", found.one_or_none())
        if row is None:
            raise RequestError("conflict", _GONE)
        return row

    async def _tenant(self, connection: AsyncConnection, upload: int) -> str:
        return str((await self._upload(connection, upload)).tenant)


def _same_content(table: FromClause, other: FromClause) -> ColumnElement[bool]:
    return and_(table.c.tenant == other.c.tenant, table.c.digest == other.c.digest)


_WITH_BODY = select(dataset_items, bodies.c.body).join(bodies, _same_content(dataset_items, bodies))


async def _remove_bodies(connection: AsyncConnection, doomed: Select[Any]) -> None:
    """Remove the content that only items of the doomed uploads have."""
    lost, kept = dataset_items.alias(), dataset_items.alias()
    same_as = partial(_same_content, bodies)
    await connection.execute(
        delete(bodies).where(
            exists().where(same_as(lost), lost.c.upload_id.in_(doomed)),
            ~exists().where(same_as(kept), kept.c.upload_id.not_in(doomed)),
        )
    )


async def _digests(
    connection: AsyncConnection, among: Sequence[int], ids: Sequence[str]
) -> dict[str, str]:
    """The hash of each of the items that the uploads have already."""
    table = dataset_items
    query = select(table.c.item_id, table.c.digest).where(
        table.c.upload_id.in_(among), table.c.item_id.in_(ids)
    )
    return {row.item_id: row.digest for row in await connection.execute(query)}


async def _insert(
    connection: AsyncConnection, tenant: str, upload: int, items: Sequence[NewItem]
) -> None:
    content = {item.digest: item.body for item in items}
    await connection.execute(
        insert_new(connection, bodies),
        [{"tenant": tenant, "digest": digest, "body": body} for digest, body in content.items()],
    )
    await connection.execute(
        insert(dataset_items),
        [
            {
                "upload_id": upload, "tenant": tenant, "item_id": item.id, "digest": item.digest,
                "group": item.group, "split": item.split, "metadata": dict(item.metadata),
            }
            for item in items
        ],
    )  # fmt: skip


def _conditions(version: DatasetVersion, wanted: ItemFilter) -> list[Any]:
    columns = dataset_items.c
    conditions: list[Any] = [columns.upload_id.in_(version.uploads)]
    if wanted.split is not None:
        conditions.append(columns.split == wanted.split)
    if wanted.group is not None:
        conditions.append(columns.group == wanted.group)
    for name, value in wanted.metadata.items():
        member = columns.metadata[name]
        match value:
            case bool():
                conditions.append(member.as_boolean() == value)
            case int() | float():
                conditions.append(member.as_float() == value)
            case _:
                conditions.append(member.as_string() == str(value))
    return conditions


def _version(row: Row[Any] | None) -> DatasetVersion:
    if row is None:  # it was written in this transaction
        raise LookupError
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
