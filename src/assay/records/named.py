"""What has a name and versions: made, found, listed and deleted in the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Executable, Row, Select, Table, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from assay.domain.errors import RequestError
from assay.domain.ids import new_id, now_ms


class NamedTable:
    """The names in `table`, and their versions in another one, where `key` refers to the name.

    A deleted name stays reserved until it is purged.
    """

    def __init__(self, kind: str, table: Table, versions: Table, key: str) -> None:
        self._kind = kind
        self._table = table
        self._versions = versions
        self._key = versions.c[key]

    async def create(
        self,
        connection: AsyncConnection,
        tenant: str,
        name: str,
        of_name: Mapping[str, Any],
        of_version: Mapping[str, Any],
    ) -> None:
        """A new name with its first version; raises `RequestError` (`conflict`)."""
        named = {"id": new_id(self._kind), "tenant": tenant, "name": name, **of_name}
        try:
            await connection.execute(insert(self._table).values(named))
        except IntegrityError:
            raise RequestError("conflict", f"{name} exists, or was deleted a while ago.") from None
        await self.add_version(connection, named["id"], of_name["newest"], of_version)

    async def next_version(
        self, connection: AsyncConnection, tenant: str, name: str
    ) -> Row[Any] | None:
        """The name's row with the number of its next version, which nobody else gets."""
        changed = update(self._table).where(*self._is(tenant, name))
        changed = changed.values(newest=self._table.c.newest + 1)
        changed = changed.returning(self._table)
        return await _one(connection, changed)

    async def add_version(
        self, connection: AsyncConnection, id_: str, version: int, values: Mapping[str, Any]
    ) -> None:
        """Add a version of the name with the id."""
        new = {self._key.name: id_, "version": version, "created_ms": now_ms(), **values}
        await connection.execute(insert(self._versions).values(new))

    async def find(
        self, connection: AsyncConnection, tenant: str, name: str, version: int | None = None
    ) -> Row[Any] | None:
        """A version with the columns of its name; the newest where `version` is None."""
        wanted = self._table.c.newest if version is None else version
        query = self._joined(*self._is(tenant, name), self._versions.c.version == wanted)
        return await _one(connection, query)

    async def versions(
        self, connection: AsyncConnection, tenant: str, name: str, before: int, limit: int
    ) -> Sequence[Row[Any]]:
        """Versions of a name that are older than `before`, the newest first."""
        version = self._versions.c.version
        query = self._joined(*self._is(tenant, name), version < before)
        return await _all(connection, query.order_by(version.desc()).limit(limit))

    async def page(
        self, connection: AsyncConnection, tenant: str, before: str, limit: int
    ) -> Sequence[Row[Any]]:
        """The newest version of each name made before the id `before`, the newest names first."""
        table, newest = self._table, self._versions.c.version == self._table.c.newest
        older = (table.c.id < before,) if before else ()
        query = self._joined(table.c.tenant == tenant, table.c.deleted_ms.is_(None), newest, *older)
        return await _all(connection, query.order_by(table.c.id.desc()).limit(limit))

    async def delete(
        self, connection: AsyncConnection, tenant: str, name: str, *, erase: bool
    ) -> bool:
        """Hide the name with its versions, or remove it, hidden or not; False if there is none."""
        table = self._table
        statement: Any = update(table).where(*self._is(tenant, name)).values(deleted_ms=now_ms())
        if erase:
            statement = delete(table).where(*self._named(tenant, name))
        return bool((await connection.execute(statement)).rowcount)

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


async def _all(connection: AsyncConnection, statement: Executable) -> Sequence[Row[Any]]:
    rows: Sequence[Row[Any]] = (await connection.execute(statement)).all()
    return rows
