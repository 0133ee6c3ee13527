"""What has a name and versions: made, found, listed and deleted in the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from sqlalchemy import Executable, Row, Select, Table, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from assay.domain.errors import RequestError
from assay.domain.ids import new_id, now_ms
from assay.domain.records import VERSION_MAX, NamedRecord
from assay.records.database import Database

Version = TypeVar("Version", bound=NamedRecord)


class NamedTable(Generic[Version]):
    """The names in `table`, and their versions in another one, where `key` refers to the name.

    A deleted name stays reserved until it is purged. See `VersionStore`.
    """

    def __init__(
        self,
        database: Database,
        kind: str,
        table: Table,
        versions: Table,
        key: str,
        to_version: Callable[[Row[Any]], Version],
    ) -> None:
        self._database = database
        self._kind = kind
        self._table = table
        self._versions = versions
        self._key = versions.c[key]
        self._to_version = to_version

    async def find(self, tenant: str, name: str, version: int | None = None) -> Version | None:
        async with self._database.reading() as connection:
            return await self._find(connection, tenant, name, version)

    async def versions(
        self, tenant: str, name: str, before: int = VERSION_MAX, limit: int = 100
    ) -> Sequence[Version]:
        version = self._versions.c.version
        query = self._joined(*self._is(tenant, name), version < before)
        return await self._listed(query.order_by(version.desc()).limit(limit))

    async def page(self, tenant: str, before: str, limit: int) -> Sequence[Version]:
        table, newest = self._table, self._versions.c.version == self._table.c.newest
        older = (table.c.id < before,) if before else ()
        query = self._joined(table.c.tenant == tenant, table.c.deleted_ms.is_(None), newest, *older)
        return await self._listed(query.order_by(table.c.id.desc()).limit(limit))

    async def delete(self, tenant: str, name: str, *, erase: bool) -> bool:
        statement: Any = update(self._table).where(*self._is(tenant, name))
        statement = statement.values(deleted_ms=now_ms())
        if erase:
            statement = delete(self._table).where(*self._named(tenant, name))
        async with self._database.writing() as connection:
            return bool((await connection.execute(statement)).rowcount)

    async def _create(
        self, tenant: str, name: str, of_name: Mapping[str, Any], of_version: Mapping[str, Any]
    ) -> Version:
        """A new name with its first version; raises `RequestError` (`conflict`)."""
        named = {"id": new_id(self._kind), "tenant": tenant, "name": name, **of_name}
        async with self._database.writing() as connection:
            try:
                await connection.execute(insert(self._table).values(named))
            except IntegrityError:
                message = f"{name} exists, or was deleted a while ago."
                raise RequestError("conflict", message) from None
            return await self._add_version(
                connection, tenant, name, named["id"], of_name["newest"], of_version
            )

    async def _add_next(
        self, connection: AsyncConnection, tenant: str, name: str, values: Mapping[str, Any]
    ) -> Version | None:
        """Add a version, whose number no other one gets; None if there is no such name."""
        claimed = update(self._table).where(*self._is(tenant, name))
        claimed = claimed.values(newest=self._table.c.newest + 1).returning(self._table)
        row = await _one(connection, claimed)
        if row is None:
            return None
        return await self._add_version(connection, tenant, name, row.id, row.newest, values)

    async def _add_version(
        self,
        connection: AsyncConnection,
        tenant: str,
        name: str,
        id_: str,
        version: int,
        values: Mapping[str, Any],
    ) -> Version:
        new = {self._key.name: id_, "version": version, "created_ms": now_ms(), **values}
        await connection.execute(insert(self._versions).values(new))
        made = await self._find(connection, tenant, name)
        if made is None:  # it was written in this transaction
            raise LookupError
        return made

    async def _find(
        self, connection: AsyncConnection, tenant: str, name: str, version: int | None = None
    ) -> Version | None:
        """A version with the columns of its name; the newest where `version` is None."""
        wanted = self._table.c.newest if version is None else version
        query = self._joined(*self._is(tenant, name), self._versions.c.version == wanted)
        row = await _one(connection, query)
        return None if row is None else self._to_version(row)

    async def _listed(self, query: Executable) -> Sequence[Version]:
        async with self._database.reading() as connection:
            return [self._to_version(row) for row in await connection.execute(query)]

    def _joined(self, *conditions: Any) -> Select[Any]:
        of_version = (column for column in self._versions.c if column is not self._key)
        both = self._table.join(self._versions, self._key == self._table.c.id)
        return select(self._table, *of_version).select_from(both).where(*conditions)

    def _is(self, tenant: str, name: str) -> tuple[Any, ...]:
        return *self._named(tenant, name), self._table.c.deleted_ms.is_(None)

    def _named(self, tenant: str, name: str) -> tuple[Any, ...]:
        return self._table.c.tenant == tenant, self._table.c.name == name


async def _one(connection: AsyncConnection, statement: Executable) -> Row[Any] | None:
    row: Row[Any] | None = (await connection.execute(statement)).one_or_none()
    return row
