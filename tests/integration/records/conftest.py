"""Databases: each test runs on a SQLite file and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio

from assay.records.database import Database
from assay.records.migrate import migrate
from fakes.postgres_process import PostgresProcess, postgres_programs
from fakes.records_api import RecordsApi, running_records_api

WITHOUT_POSTGRES = "there is no PostgreSQL here: bin/extras installs one"


def sqlite_url(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder / 'records.db'}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresProcess | None]:
    """One server for all tests of a process, each of which has databases of its own."""
    programs = postgres_programs()
    if programs is None:
        yield None
        return
    with TemporaryDirectory(prefix="assay-postgres-") as folder:
        server = PostgresProcess(Path(folder), programs)
        yield server
        server.stop()


async def migrated_url(kind: str, folder: Path, postgres: PostgresProcess | None) -> str:
    """The URL of an empty database with the newest schema."""
    url = sqlite_url(folder)
    if kind == "postgresql":
        if postgres is None:
            pytest.skip(WITHOUT_POSTGRES)
        url = await asyncio.to_thread(postgres.new_database)
    await asyncio.to_thread(migrate, url)
    return url


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def database(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresProcess | None
) -> AsyncIterator[Database]:
    """An empty database with the newest schema."""
    opened = Database(await migrated_url(request.param, tmp_path, postgres), embedded=False)
    yield opened
    await opened.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "postgresql"])
async def api(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    postgres: PostgresProcess | None,
) -> AsyncIterator[RecordsApi]:
    """The service over an empty database; all tests of a module share it."""
    folder = tmp_path_factory.mktemp("api")
    url = await migrated_url(request.param, folder, postgres)
    async with running_records_api(folder, url) as opened:
        yield opened
