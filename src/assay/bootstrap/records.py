"""The records, which are loaded and opened at the first use; until then they cost nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from assay.catalog.stores import Stores
from assay.domain.ports import EventSink
from assay.domain.records import RecordsUnavailable
from assay.domain.supervision import Supervisor
from assay.redis.client import Client
from assay.settings import Settings
from assay.store.batches.batches import RedisBatches

if TYPE_CHECKING:
    from assay.records.database import Database

FILE_NAME = "records.db"
DAY_MS = 86_400_000


class Records:
    """The database that the settings name, or a file in the data directory."""

    def __init__(
        self, settings: Settings, redis: Client, events: EventSink, supervisor: Supervisor
    ) -> None:
        self._batches = RedisBatches(redis, rows_max=settings.batches.rows_max)
        self._events = events
        self._supervisor = supervisor
        retention_d = settings.records.results_retention_d
        self._retention_ms = None if retention_d is None else round(retention_d * DAY_MS)
        self.url = records_url(settings)
        self._embedded = self.url.startswith("sqlite")
        self._file = Path(self.url.partition(":///")[2])
        self._opening = asyncio.Lock()
        self._database: Database | None = None
        self._stores: Stores | None = None

    async def open(self) -> Stores:
        """The stores; raises `RecordsUnavailable`."""
        async with self._opening:
            if self._stores is None:
                # In a thread, because it takes a third of a second.
                await asyncio.to_thread(import_module, "assay.records.datasets")
                self._database, self._stores = _build(
                    self.url, embedded=self._embedded, events=self._events
                )
                from assay.records.removal import upkeep  # noqa: PLC0415

                keep_up = partial(upkeep, self._database, self._batches, self._retention_ms)
                self._supervisor.start("records_upkeep", keep_up)
            return self._stores

    @property
    def exist(self) -> bool:
        """Whether somebody may have records: a file is there after the first use."""
        return not self._embedded or self._file.exists()

    async def __aenter__(self) -> Self:
        """Open a configured database at once, to see whether its schema fits.

        One that is unreachable is opened later. Raises `SchemaMismatch`.
        """
        if not self._embedded:
            await self.open()
            if self._database is not None:
                with suppress(RecordsUnavailable):
                    await self._database.check()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._database is not None:
            await self._database.aclose()


def records_url(settings: Settings) -> str:
    """SQLAlchemy's URL of the records; raises `OSError` if its file cannot be read."""
    records = settings.records
    url = records.url if records.url_file is None else records.url_file.read_text().strip()
    if not url:
        return f"sqlite+aiosqlite:///{settings.server.data_dir.absolute() / FILE_NAME}"
    scheme, _, rest = url.partition("://")
    return f"postgresql+asyncpg://{rest}" if scheme in ("postgres", "postgresql") else url


def migrate_records(settings: Settings) -> None:
    """Bring the schema up to date; raises `OSError` if the database does not answer."""
    from assay.records.migrate import migrate  # noqa: PLC0415

    with _failures():
        migrate(records_url(settings))


def export_records(settings: Settings, tenant: str, file: IO[bytes]) -> int:
    """Write all of a tenant's records as JSON Lines, and count the rows; raises `OSError`."""
    from assay.records.exchange import exported  # noqa: PLC0415

    async def export() -> int:
        count = -1  # the first line is no row
        async for line in exported(records_url(settings), tenant):
            file.write(line)
            count += 1
        return count

    with _failures():
        return asyncio.run(export())


def import_records(settings: Settings, tenant: str, file: IO[bytes]) -> dict[str, int]:
    """Add the rows of an export, all or none; raises `OSError` and `ValueError`."""
    from assay.records import exchange  # noqa: PLC0415

    migrated = records_url(settings)
    if migrated.startswith("sqlite"):
        migrate_records(settings)
    with _failures():
        return asyncio.run(exchange.import_records(migrated, tenant, file))


@contextmanager
def _failures() -> Iterator[None]:
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    try:
        yield
    except SQLAlchemyError as error:
        # Its message has the statement, but not the URL.
        raise OSError(str(error).partition("\n")[0]) from None


def _build(url: str, **options: Any) -> tuple[Database, Stores]:
    from assay.records.database import Database  # noqa: PLC0415  # see the top of this module
    from assay.records.datasets import RecordedDatasets  # noqa: PLC0415
    from assay.records.evaluators import RecordedEvaluators  # noqa: PLC0415
    from assay.records.labels import RecordedLabels  # noqa: PLC0415
    from assay.records.objects import RecordedObjects  # noqa: PLC0415
    from assay.records.removal import Eraser  # noqa: PLC0415
    from assay.records.runs import RecordedRuns  # noqa: PLC0415

    database = Database(url, **options)
    return database, Stores(
        RecordedEvaluators(database),
        RecordedDatasets(database),
        RecordedRuns(database),
        RecordedObjects(database),
        RecordedLabels(database),
        Eraser(database),
    )
