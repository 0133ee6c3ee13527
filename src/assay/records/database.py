"""The database: opened at the first use, bounded in time, with outages as `RecordsUnavailable`."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from sqlalchemy import QueuePool, Table, event, inspect, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from assay.domain.events import RecordsDegraded
from assay.domain.exact_json import dumps
from assay.domain.ports import EventSink
from assay.domain.records import RecordsUnavailable

SCHEMA = 6
"""The number of the newest migration in `migrations/versions`."""
OPERATION_S_MAX = 15.0
"""The longest that one use of the database may take: a stuck one must not hold a request."""
CONNECTIONS_MAX = 10
CLOSE_S = 5.0
"""How long connections in use are waited for before the others are closed."""
CLOSE_POLL_S = 0.01
ERASE_PAGES = "secure_delete=ON"
"""What is deleted is overwritten in the file, too."""
UNAVAILABLE = "The records are unavailable."


class SchemaMismatch(ValueError):
    """The database has a schema that this version of Assay cannot work with."""


class Database:
    """A database of records.

    `url` is SQLAlchemy's, for SQLite or PostgreSQL. An `embedded` one is migrated as it is opened;
    another one by `assay migrate`.
    """

    def __init__(self, url: str, *, embedded: bool, events: EventSink | None = None) -> None:
        self._events = events
        self._available = True
        self._url = url
        self._embedded = embedded
        self._engine: AsyncEngine | None = None
        self._opening = asyncio.Lock()
        self._ready = False

    def __repr__(self) -> str:
        return f"Database(embedded={self._embedded})"

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection with a consistent view; raises `RecordsUnavailable`."""
        async with self._connected() as connection:
            await connection.execution_options(reads_only=True)
            async with connection.begin():
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction, which is committed at the end; raises `RecordsUnavailable`."""
        async with self._connected() as connection, connection.begin():
            yield connection

    async def check(self) -> None:
        """Raises `SchemaMismatch`, and `RecordsUnavailable` if the database does not answer."""
        async with self._outages():
            await self._check()

    async def aclose(self) -> None:
        """Close all connections, those in use as soon as they are given back."""
        engine, self._engine = self._engine, None
        if engine is None:
            return
        # The pool forgets what is in use when it is disposed of, and nothing would ever close it.
        pool = cast("QueuePool", engine.pool)
        for _ in range(round(CLOSE_S / CLOSE_POLL_S)):
            if not pool.checkedout():
                break
            await asyncio.sleep(CLOSE_POLL_S)
        await engine.dispose()

    async def _check(self) -> None:
        async with self._opening:
            if self._ready:
                return
            found = await self._schema()
            if self._embedded and found[0] < SCHEMA:
                # Alembic takes most of a second to load, and is rarely needed.
                from assay.records.migrate import migrate  # noqa: PLC0415

                await asyncio.to_thread(migrate, self._url)
                found = (SCHEMA, SCHEMA)
            _check_schema(*found)
            self._ready = True

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        async with self._outages():
            if not self._ready:
                try:
                    await self._check()
                except SchemaMismatch as mismatch:  # it was out of reach when the process started
                    raise OSError(str(mismatch)) from None
            async with self._pool().connect() as connection:
                yield connection

    @asynccontextmanager
    async def _outages(self) -> AsyncIterator[None]:
        """Raise `RecordsUnavailable` for an outage within the block, or if it takes too long."""
        try:
            async with asyncio.timeout(OPERATION_S_MAX):
                yield
        except (IntegrityError, ProgrammingError, DataError):
            raise  # a fault of ours, or one that the caller of this handles
        except (DBAPIError, NoConnectionFree, sqlite3.Error, OSError, TimeoutError) as outage:
            self._report(available=False, fault=_words(outage))
            raise RecordsUnavailable(UNAVAILABLE) from outage
        self._report(available=True)

    def _report(self, *, available: bool, fault: str = "") -> None:
        if available != self._available and self._events is not None:
            self._events.emit(RecordsDegraded(available, fault))
        self._available = available

    async def _schema(self) -> tuple[int, int]:
        """The schema of the database, 0 for none, and the oldest one that can work with it."""
        async with self._pool().connect() as connection:
            tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
            if "alembic_version" not in tables:
                return 0, 0
            current = await connection.scalar(text("SELECT version_num FROM alembic_version"))
            oldest = await connection.scalar(text("SELECT min_reader FROM schema_info"))
        return int(current or 0), int(oldest or 0)

    def _pool(self) -> AsyncEngine:
        if self._engine is None:
            self._engine = create_engine(self._url)
        return self._engine


def create_engine(url: str) -> AsyncEngine:
    """An engine whose SQLite connections keep to foreign keys and survive a power cut."""
    if not url.startswith("sqlite"):
        return create_async_engine(
            url, pool_size=CONNECTIONS_MAX, max_overflow=0, pool_pre_ping=True,
            connect_args={"timeout": 5}, json_serializer=_json,
        )  # fmt: skip
    Path(make_url(url).database or "").parent.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(
        url, pool_size=CONNECTIONS_MAX, max_overflow=0, json_serializer=_json
    )

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun below
        cursor = connection.cursor()
        for pragma in ("busy_timeout=10000", "journal_mode=WAL", "foreign_keys=ON", ERASE_PAGES):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Any) -> None:
        # A transaction that reads first and then writes would fail where another one wrote between.
        reads_only = connection.get_execution_options().get("reads_only")
        connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")

    return engine


def insert_new(connection: AsyncConnection, table: Table) -> Any:
    """An insert that passes by rows whose key is there already."""
    return dialect_of(connection).insert(table).on_conflict_do_nothing()


def dialect_of(connection: AsyncConnection) -> Any:
    """What is SQLAlchemy's for this database alone."""
    return sqlite if connection.dialect.name == "sqlite" else postgresql


def _json(value: Any) -> str:
    return dumps(value).decode()


def _check_schema(current: int, oldest_reader: int) -> None:
    if current < SCHEMA:
        raise SchemaMismatch(
            f"The records have schema {current}, and this version of Assay needs {SCHEMA}. "
            "Run `assay migrate`."
        )
    if oldest_reader > SCHEMA:
        raise SchemaMismatch(
            f"The records have schema {current}, which this version of Assay ({SCHEMA}) cannot "
            "read. Use a newer version."
        )


def _words(outage: BaseException) -> str:
    """What the driver says, without the statement and its values."""
    cause = outage.orig if isinstance(outage, DBAPIError) else outage
    return (str(cause) or type(cause).__name__).partition("\n")[0][:200]
