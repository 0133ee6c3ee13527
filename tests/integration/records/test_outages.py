"""The database in trouble: away, slow, full, of another schema, or shared; requests that need no
record go on, and readiness stays up."""

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event, text

from assay.domain.events import RecordsDegraded
from assay.domain.records import NewItem, RecordsUnavailable
from assay.records.database import OPERATION_S_MAX, Database, SchemaMismatch
from assay.records.datasets import RecordedDatasets
from assay.records.migrate import migrate
from assay.records.tables import metadata
from fakes.postgres_process import PostgresProcess, postgres_programs
from fakes.recorded_events import RecordedEvents
from fakes.records_api import ndjson, until
from fakes.service_process import ServiceProcess, clean_environment, running_service

INLINE = {"output": "x", "criteria": [{"type": "contains", "value": "x"}]}
EVALUATOR = {"name": "quality", "criteria": INLINE["criteria"]}


@pytest.fixture
def server() -> Iterator[PostgresProcess]:
    """A PostgreSQL of this test's own, which it may stop."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("there is no PostgreSQL here: bin/extras installs one")
    with TemporaryDirectory(prefix="assay-postgres-") as folder:
        process = PostgresProcess(Path(folder), programs)
        yield process
        with contextlib.suppress(Exception):
            process.stop()


@dataclass
class Subject:
    """A running service with records in PostgreSQL."""

    service: ServiceProcess
    http: aiohttp.ClientSession

    async def status(self, method: str = "GET", path: str = "/v1/evaluators", **options) -> int:
        async with self.http.request(method, path, **options) as response:
            if response.status == 503:
                assert (await response.json())["code"] == "records_unavailable"
                assert int(response.headers["Retry-After"]) >= 1
            return response.status

    async def goes_on(self) -> None:
        """A request without records is answered, and the process is ready."""
        assert await self.status("POST", "/v1/evaluations", json=INLINE) == 200
        async with self.http.get(f"{self.service.metrics_url}/readyz") as response:
            assert response.status == 200

    async def available(self) -> int:
        async with self.http.get(f"{self.service.metrics_url}/metrics") as response:
            found = re.search(
                r"^assay_records_available (\S+)", await response.text(), re.MULTILINE
            )
        assert found is not None
        return int(float(found[1]))

    async def back(self) -> bool:
        return await self.status() == 200


@contextlib.asynccontextmanager
async def serving(folder: Path, url: str) -> AsyncIterator[Subject]:
    config = f'[records]\nurl = "{url}"\n'
    async with (
        running_service(folder, config) as service,
        aiohttp.ClientSession(service.url) as http,
    ):
        yield Subject(service, http)


async def new_url(server: PostgresProcess) -> str:
    url = await asyncio.to_thread(server.new_database)
    await asyncio.to_thread(migrate, url)
    return url


async def test_away_at_the_start_and_again_later(tmp_path, server):
    """The service starts without its database, and uses it as soon as it answers; when it goes
    away, requests for records get 503 at once, and the log and the metric tell."""
    url = await new_url(server)
    await asyncio.to_thread(server.stop)
    async with serving(tmp_path, url) as subject:
        await subject.goes_on()
        assert await subject.status() == 503
        assert await subject.available() == 0
        await asyncio.to_thread(server.start)
        await until(subject.back)
        assert await subject.status("POST", json=EVALUATOR) == 201
        assert await subject.available() == 1
        await asyncio.to_thread(server.stop)
        assert await subject.status() == 503
        assert await subject.status("POST", json=EVALUATOR) == 503
        await subject.goes_on()
        assert await subject.available() == 0
        await asyncio.to_thread(server.start)
        await until(subject.back)
        assert await subject.status(path="/v1/evaluators/quality") == 200
        log = subject.service.log.read_text()
    assert log.count('"records_unavailable"') == log.count('"records_recovered"') == 2


@pytest.mark.slow
async def test_slow(tmp_path, server):
    """While the database stands still, requests that need it end with 503 within the bound, all
    at the same time, and others are answered as usual."""
    url = await new_url(server)
    async with serving(tmp_path, url) as subject:
        assert await subject.status("POST", json=EVALUATOR) == 201
        server.pause()
        try:
            waiting = [asyncio.create_task(subject.status()) for _ in range(30)]
            for _ in range(20):
                await subject.goes_on()
            async with asyncio.timeout(2 * OPERATION_S_MAX):
                assert set(await asyncio.gather(*waiting)) == {503}
        finally:
            server.resume()
        await until(subject.back)
        document = {"output": "x", "evaluator": "quality"}
        assert await subject.status("POST", "/v1/evaluations", json=document) == 200


async def test_a_schema_that_does_not_fit_is_found_later_too(tmp_path, server):
    """If the database was away at the start and has no tables, its requests get 503, and the log
    says what to do."""
    url = await asyncio.to_thread(server.new_database)
    await asyncio.to_thread(server.stop)
    async with serving(tmp_path, url) as subject:
        await asyncio.to_thread(server.start)
        assert await subject.status() == 503
        assert await subject.status() == 503
        await asyncio.to_thread(migrate, url)
        await until(subject.back)


class TestSchema:
    @pytest.mark.parametrize(
        ("change", "refused"),
        [
            ("DELETE FROM alembic_version", "Run `assay migrate`"),
            ("UPDATE alembic_version SET version_num = '0'", "Run `assay migrate`"),
            ("UPDATE alembic_version SET version_num = '99'", None),
            (
                "UPDATE schema_info SET min_reader = 98; UPDATE alembic_version SET version_num=99",
                "Use a newer version",
            ),
        ],
    )
    async def test_versions_of_the_schema(self, database: Database, change, refused):
        """An older schema is refused, and a newer one unless it says that this version can read
        it."""
        async with database.writing() as connection:
            for statement in change.split(";"):
                await connection.execute(text(statement))
        opened = Database(database._url, embedded=False)
        try:
            if refused is None:
                await opened.check()
                assert await RecordedDatasets(opened).page("acme", "", 5) == []
            else:
                with pytest.raises(SchemaMismatch, match=refused):
                    await opened.check()
        finally:
            await opened.aclose()

    async def test_the_migrations_make_the_tables(self, database: Database):
        """After all migrations the database has what `tables.py` says, and nothing else."""
        async with database.reading() as connection:
            found = await connection.run_sync(
                lambda sync: compare_metadata(MigrationContext.configure(sync), metadata)
            )
        assert found == []

    async def test_serve_refuses_an_older_one(self, tmp_path, server):
        """`assay serve` ends with the command to run, and without the URL."""
        url = await asyncio.to_thread(server.new_database)
        with pytest.raises(RuntimeError, match="assay migrate") as error:
            async with serving(tmp_path, url):
                pass
        assert f":{server.port}" not in str(error.value)

    async def test_migrations_at_once(self, tmp_path, server):
        """Two `assay migrate` at the same time both succeed, and so does a third."""
        url = await asyncio.to_thread(server.new_database)
        (tmp_path / "assay.toml").write_text(f'[records]\nurl = "{url}"\n')
        for count in (2, 1):
            assert [code for code, _ in await migrations(tmp_path, count)] == [0] * count
        opened = Database(url, embedded=False)
        await opened.check()
        await opened.aclose()

    async def test_a_migration_without_a_database(self, tmp_path):
        """The command says what is wrong, and neither password nor traceback."""
        url = "postgresql://assay:secret@127.0.0.1:9/records"
        (tmp_path / "assay.toml").write_text(f'[records]\nurl = "{url}"\n')
        [(code, said)] = await migrations(tmp_path, 1)
        assert code == 2
        assert "the records cannot be migrated" in said
        assert "secret" not in said
        assert "Traceback" not in said


async def migrations(folder: Path, count: int) -> list[tuple[int | None, str]]:
    """The exit codes and messages of `assay migrate`, run so often at the same time."""
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "assay", "migrate"),
            cwd=folder,
            env=clean_environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        for _ in range(count)
    ]
    said = await asyncio.gather(*(process.communicate() for process in processes))
    return [
        (process.returncode, out.decode())
        for process, (out, _) in zip(processes, said, strict=True)
    ]


OPEN_EMBEDDED = """
import asyncio, sys
from assay.records.database import Database
from assay.records.evaluators import RecordedEvaluators
async def main():
    database = Database(sys.argv[1], embedded=True)
    store = RecordedEvaluators(database)
    for number in range(5):
        await store.create("acme", f"{sys.argv[2]}-{number}", "", {"criteria": []})
    await database.aclose()
asyncio.run(main())
"""


async def test_processes_that_open_one_file_at_once(tmp_path):
    """Each of four processes finds the file new or half made, and all write into it."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'records.db'}"
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", OPEN_EMBEDDED, url, str(number)), env=clean_environment()
        )
        for number in range(4)
    ]
    assert [await process.wait() for process in processes] == [0] * 4
    database = Database(url, embedded=True)
    async with database.reading() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM evaluators")) == 20
    await database.aclose()


class TestFull:
    async def test_a_full_disk(self, database: Database):
        """What does not fit is refused as an outage, leaves nothing, and works once there is room;
        the events name the fault, and nothing of the content."""
        events = RecordedEvents()
        database._events = events
        store = RecordedDatasets(database)
        version = await store.create("acme", "faq", "", None)
        upload = await store.open_upload(version)
        secret = "the caller's text" * 100_000
        item = NewItem(1, "a", "digest", secret.encode())
        async with full(database):
            with pytest.raises(RecordsUnavailable):
                await store.add_items(upload, [item])
            assert (await store.find("acme", "faq")) == version
        assert (await store.add_items(upload, [item])).added == 1
        assert (await store.publish(upload, append=False)).items == 1
        (away, back) = events.of(RecordsDegraded)
        assert not away.available
        assert "full" in away.fault
        assert "caller" not in away.fault
        assert back.available


@contextlib.asynccontextmanager
async def full(database: Database) -> AsyncIterator[None]:
    """No page more for SQLite; PostgreSQL gets the error of a full disk from a trigger."""
    engine = database._pool().sync_engine
    if engine.dialect.name == "sqlite":
        await engine_closed(database)

        def limit(connection, _record):
            connection.execute("PRAGMA max_page_count=1")

        engine = database._pool().sync_engine
        event.listen(engine, "connect", limit)
        yield
        await engine_closed(database)
        return
    async with database.writing() as connection:
        for statement in FULL_DISK:
            await connection.execute(text(statement))
    yield
    async with database.writing() as connection:
        await connection.execute(text("DROP TRIGGER full_disk ON bodies"))


async def engine_closed(database: Database) -> None:
    await database.aclose()


FULL_DISK = (
    """CREATE OR REPLACE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'could not extend file: disk full' USING ERRCODE = '53100'; END $$""",
    "CREATE TRIGGER full_disk BEFORE INSERT ON bodies EXECUTE FUNCTION full_disk()",
)


async def test_a_killed_service_publishes_nothing(tmp_path, server):
    """After kill -9 in the middle of an upload, the dataset is as it was before."""
    url = await new_url(server)
    gate = asyncio.Event()

    async def unfinished():
        yield ndjson(*({"id": str(n), "output": "x" * 1_000} for n in range(3_000)))
        await gate.wait()

    async def left_over() -> int:
        database = Database(url, embedded=False)
        async with database.reading() as connection:
            left = await connection.scalar(text("SELECT count(*) FROM uploads WHERE published = 0"))
        await database.aclose()
        return int(left or 0)

    items, lines = "/v1/datasets/faq/items", {"Content-Type": "application/x-ndjson"}
    async with serving(tmp_path, url) as subject:
        assert await subject.status("POST", "/v1/datasets", json={"name": "faq"}) == 201
        await subject.status("PUT", items, data=ndjson({"id": "a"}), headers=lines)
        upload = asyncio.create_task(subject.status("PUT", items, data=unfinished(), headers=lines))
        await until(left_over)
        await subject.service.kill()
        gate.set()
        with pytest.raises(aiohttp.ClientError):
            await upload
    async with serving(tmp_path, url) as subject:
        async with subject.http.get(items) as response:
            assert [each["id"] for each in (await response.json())["data"]] == ["a"]
        assert await subject.status("PUT", items, data=ndjson({"id": "b"}), headers=lines) == 200
