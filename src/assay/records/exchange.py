"""A tenant's records as JSON Lines, out of one database and into another.

The first line names the schema; each other one is a row of a table, in an order in which they can
be read back. Ids and times stay what they are; the numbers of uploads are given anew. What was
imported before is passed by, with all that belongs to it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import IO, Any

from sqlalchemy import ColumnElement, LargeBinary, Row, Select, Table, exists, insert, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from assay.domain.exact_json import dumps, loads
from assay.domain.records import COMPARISON, COMPARISON_ROWS, CONTROL_ID_KIND
from assay.records.database import SCHEMA, create_engine, insert_new
from assay.records.tables import (
    bodies,
    dataset_items,
    dataset_versions,
    datasets,
    evaluator_versions,
    evaluators,
    labels,
    objects,
    results,
    runs,
    uploads,
)

FORMAT = "assay.records"
ROWS_AT_ONCE, BYTES_AT_ONCE = 500, 8 * 1_024 * 1_024
READ_AT_ONCE = 50
"""Rows that an export has in memory."""
TABLES = (
    evaluators, evaluator_versions, datasets, uploads, dataset_versions, dataset_items, bodies,
    labels, runs, results, objects,
)  # fmt: skip
_BY_NAME = {table.name: table for table in TABLES}
LEFT_OUT = (CONTROL_ID_KIND, COMPARISON, COMPARISON_ROWS)
"""Control sets name places of items, which an import gives anew; comparisons are made again."""
TAKEN = "there are other records of the same names or ids already"


class NotImportable(ValueError):
    """The file cannot be imported; nothing of it was."""


async def exported(url: str, tenant: str) -> AsyncIterator[bytes]:
    """The lines of all that the tenant has and has not deleted, as of one moment."""
    engine = create_engine(url)
    try:
        async with engine.connect() as connection:
            options = {"reads_only": True}
            if connection.dialect.name == "postgresql":
                options["isolation_level"] = "REPEATABLE READ"  # type: ignore[assignment]
            await connection.execution_options(**options)
            yield dumps({"object": FORMAT, "schema": SCHEMA}) + b"\n"
            for table in TABLES:
                owned = _owned(table, tenant).execution_options(yield_per=READ_AT_ONCE)
                async for row in await connection.stream(owned):
                    yield _line(table, row)
    finally:
        await engine.dispose()


async def import_records(url: str, tenant: str, file: IO[bytes]) -> dict[str, int]:
    """Add all rows to the tenant's records, or none of them; the number of new rows by table.

    Raises `NotImportable`, and SQLAlchemy's errors.
    """
    engine = create_engine(url)
    counts = dict.fromkeys(_BY_NAME, 0)
    try:
        async with engine.begin() as connection:
            imported = _Import(connection, tenant)
            for some in _chunks(file):
                for table in TABLES:  # in the order in which they refer to each other
                    if rows := [row for name, row in some if name == table.name]:
                        counts[table.name] += await imported.add(table, rows)
    except IntegrityError as error:
        raise NotImportable(TAKEN) from error
    except (KeyError, TypeError, AttributeError, ValueError, SQLAlchemyError) as error:
        if isinstance(error, NotImportable | SQLAlchemyError):
            raise
        raise NotImportable("it has a line that is no row of an export") from error
    finally:
        await engine.dispose()
    return counts


def _owned(table: Table, tenant: str) -> Select[Any]:
    """The rows of the tenant, without what is deleted, or belongs to no version."""

    def of(names: Table, key: ColumnElement[Any]) -> ColumnElement[bool]:
        kept = (names.c.tenant == tenant, names.c.deleted_ms.is_(None))
        return key.in_(select(names.c.id).where(*kept))

    published = uploads.c.published == 1, of(datasets, uploads.c.dataset_id)
    items = dataset_items.c.upload_id.in_(select(uploads.c.id).where(*published))
    in_use = exists().where(
        items, dataset_items.c.tenant == tenant, dataset_items.c.digest == bodies.c.digest
    )
    finished = (runs.c.tenant == tenant, runs.c.sums.is_not(None))
    wanted: dict[str, tuple[ColumnElement[bool], ...]] = {
        "evaluators": (of(evaluators, evaluators.c.id),),
        "evaluator_versions": (of(evaluators, evaluator_versions.c.evaluator_id),),
        "datasets": (of(datasets, datasets.c.id),),
        "dataset_versions": (of(datasets, dataset_versions.c.dataset_id),),
        "uploads": published,
        "dataset_items": (items,),
        "bodies": (bodies.c.tenant == tenant, in_use),
        "labels": (labels.c.tenant == tenant,),
        "runs": finished,
        "results": (results.c.run_id.in_(select(runs.c.id).where(*finished)),),
        "objects": (objects.c.tenant == tenant, objects.c.kind.not_in(LEFT_OUT)),
    }
    return select(table).where(*wanted[table.name]).order_by(*table.primary_key.columns)


def _line(table: Table, row: Row[Any]) -> bytes:
    values = {
        str(name): value
        for name, value in zip(table.c.keys(), row, strict=True)
        if name != "tenant"
    }
    for name in _bytes_in(table):
        values[name] = values[name].decode()
    return dumps({"table": table.name, "row": values}) + b"\n"


def _chunks(file: IO[bytes]) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """The rows with the names of their tables, a bounded number and size of them at a time."""
    head = loads(file.readline() or b"{}")
    if not isinstance(head, dict) or head.get("object") != FORMAT:
        raise NotImportable("it is no export of records")
    if head.get("schema") != SCHEMA:
        raise NotImportable(f"it has schema {head.get('schema')}, and this version reads {SCHEMA}")
    some: list[tuple[str, dict[str, Any]]] = []
    size = 0
    for line in file:
        document = loads(line)
        if document["table"] not in _BY_NAME:
            raise NotImportable("it has rows of an unknown table")
        some.append((document["table"], document["row"]))
        size += len(line)
        if len(some) == ROWS_AT_ONCE or size >= BYTES_AT_ONCE:
            yield some
            some, size = [], 0
    yield some


def _bytes_in(table: Table) -> list[str]:
    """The names of the columns whose JSON stands in an export as text."""
    return [str(name) for name, column in table.c.items() if isinstance(column.type, LargeBinary)]


class _Import:
    """Adds rows to the records of a tenant, but those whose owner was there before."""

    def __init__(self, connection: AsyncConnection, tenant: str) -> None:
        self._connection = connection
        self._tenant = tenant
        self._keys: dict[tuple[str, Any], Any] = {}
        """The key of each row that owns others, by its table and its key in the export; None if it
        was there before."""

    async def add(self, table: Table, rows: Sequence[dict[str, Any]]) -> int:
        """Insert rows, and count them."""
        rows = [self._as_stored(table, row) for row in rows]
        for owner in table.foreign_keys:
            rows = self._owned(table, rows, owner.parent.name, owner.column.table.name)
        if table is uploads:
            return await self._add_uploads(rows)
        if table is bodies:
            rows = await self._in_use(rows)
        if not rows:
            return 0
        statement = insert_new(self._connection, table).returning(list(table.primary_key)[-1])
        added = (await self._connection.scalars(statement, rows)).all()
        if "id" in table.c:
            known = {row["id"]: row for row in rows if row["id"] not in set(added)}
            await self._check_known(table, known)
            if table in (evaluators, datasets, runs):
                self._keys |= {(table.name, row["id"]): row["id"] for row in rows}
                self._keys |= dict.fromkeys((table.name, id_) for id_ in known)
        return len(added)

    def _as_stored(self, table: Table, row: dict[str, Any]) -> dict[str, Any]:
        if table is runs:
            row["batch"]["tenant"] = self._tenant
            row["request"] = dumps({**loads(row["request"]), "tenant": self._tenant}).decode()
        if table is dataset_items:
            del row["place"]
        if "tenant" in table.c:
            row["tenant"] = self._tenant
        return row | {name: row[name].encode() for name in _bytes_in(table)}

    def _owned(
        self, table: Table, rows: Sequence[dict[str, Any]], column: str, owners: str
    ) -> list[dict[str, Any]]:
        """The rows whose owner is new, each with its key."""
        owned = []
        for row in rows:
            key = self._keys[owners, row[column]]
            if key is not None:
                owned.append(row | {column: key})
                if table is dataset_versions:
                    owned[-1]["uploads"] = [self._keys["uploads", one] for one in row["uploads"]]
            elif table is uploads:
                self._keys["uploads", row["id"]] = None
        return owned

    async def _add_uploads(self, rows: Sequence[dict[str, Any]]) -> int:
        for row in rows:
            number = row.pop("id")
            statement = insert(uploads).values(row).returning(uploads.c.id)
            added = await self._connection.execute(statement)
            self._keys["uploads", number] = added.scalar_one()
        return len(rows)

    async def _in_use(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The content that an item has: not that of one that was erased since the export."""
        items, digests = dataset_items.c, [row["digest"] for row in rows]
        query = select(items.digest).where(items.tenant == self._tenant, items.digest.in_(digests))
        used = set(await self._connection.scalars(query.distinct()))
        return [row for row in rows if row["digest"] in used]

    async def _check_known(self, table: Table, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Raises `NotImportable` where a row that was not added is not the tenant's, as it was."""
        names = [name for name in ("id", "tenant", "newest", "deleted_ms") if name in table.c]
        query = select(*(table.c[name] for name in names)).where(table.c.id.in_(rows))
        found = {tuple(row) for row in await self._connection.execute(query)}
        if found != {tuple(row[name] for name in names) for row in rows.values()}:
            raise NotImportable(TAKEN)
