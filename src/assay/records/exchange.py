"""A tenant's records as JSON Lines, out of one database and into another.

The first line names the schema; each other one is a row of a table, in an order in which they can
be read back. Ids and times stay what they are; the numbers of uploads are given anew.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import IO, Any

from sqlalchemy import ColumnElement, Row, Select, Table, exists, insert, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from assay.domain.exact_json import dumps, loads
from assay.records.database import SCHEMA, create_engine
from assay.records.datasets import insert_bodies
from assay.records.tables import (
    bodies,
    dataset_items,
    dataset_versions,
    datasets,
    evaluator_versions,
    evaluators,
    labels,
    uploads,
)

FORMAT = "assay.records"
ROWS_AT_ONCE = 500
TABLES = (
    evaluators, evaluator_versions, datasets, uploads, dataset_versions, bodies, dataset_items,
    labels,
)  # fmt: skip
_BY_NAME = {table.name: table for table in TABLES}
_GIVEN_ANEW = {"uploads": "id", "dataset_items": "place"}


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
                async for row in await connection.stream(_owned(table, tenant)):
                    yield _line(table, row)
    finally:
        await engine.dispose()


async def import_records(url: str, tenant: str, file: IO[bytes]) -> dict[str, int]:
    """Add all rows to the tenant's records, or none of them; the number of rows by table.

    Raises `NotImportable`, and SQLAlchemy's errors.
    """
    engine = create_engine(url)
    counts = dict.fromkeys(_BY_NAME, 0)
    try:
        async with engine.begin() as connection:
            numbers: dict[int, int] = {}
            lines = _rows(file)
            while some := list(islice(lines, ROWS_AT_ONCE)):
                for table in TABLES:  # in the order in which they refer to each other
                    if rows := [row for name, row in some if name == table.name]:
                        counts[table.name] += len(rows)
                        await _insert(connection, table, tenant, rows, numbers)
    except IntegrityError as error:
        raise NotImportable("the tenant has records of the same names or ids already") from error
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
    wanted: dict[str, tuple[ColumnElement[bool], ...]] = {
        "evaluators": (of(evaluators, evaluators.c.id),),
        "evaluator_versions": (of(evaluators, evaluator_versions.c.evaluator_id),),
        "datasets": (of(datasets, datasets.c.id),),
        "dataset_versions": (of(datasets, dataset_versions.c.dataset_id),),
        "uploads": published,
        "dataset_items": (items,),
        "bodies": (bodies.c.tenant == tenant, in_use),
        "labels": (labels.c.tenant == tenant,),
    }
    return select(table).where(*wanted[table.name]).order_by(*table.primary_key.columns)


def _line(table: Table, row: Row[Any]) -> bytes:
    values = {
        str(name): value
        for name, value in zip(table.c.keys(), row, strict=True)
        if name != "tenant"
    }
    if table is bodies:
        values["body"] = values["body"].decode()
    return dumps({"table": table.name, "row": values}) + b"\n"


def _rows(file: IO[bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
    head = loads(file.readline() or b"{}")
    if not isinstance(head, dict) or head.get("object") != FORMAT:
        raise NotImportable("it is no export of records")
    if head.get("schema") != SCHEMA:
        raise NotImportable(f"it has schema {head.get('schema')}, and this version reads {SCHEMA}")
    for line in file:
        document = loads(line)
        if document["table"] not in _BY_NAME:
            raise NotImportable("it has rows of an unknown table")
        yield document["table"], document["row"]


async def _insert(
    connection: AsyncConnection,
    table: Table,
    tenant: str,
    rows: list[dict[str, Any]],
    numbers: dict[int, int],
) -> None:
    """Insert rows; `numbers` has the new number of each upload."""
    for row in rows:
        if "tenant" in table.c:
            row["tenant"] = tenant
        number = row.pop(_GIVEN_ANEW.get(table.name, ""), None)
        if table is uploads:
            statement = insert(uploads).values(row).returning(uploads.c.id)
            numbers[number] = (await connection.execute(statement)).scalar_one()
        elif table is dataset_items:
            row["upload_id"] = numbers[row["upload_id"]]
        elif table is dataset_versions:
            row["uploads"] = [numbers[upload] for upload in row["uploads"]]
        elif table is bodies:
            row["body"] = row["body"].encode()
    if table is bodies:
        await insert_bodies(connection, rows)
    elif table is not uploads:
        await connection.execute(insert(table), rows)
