"""Batches over datasets: what they do, and that they outlive Redis and every kind of death."""

import asyncio
import contextlib
import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from pyarrow import BufferReader
from pyarrow.parquet import read_table
from sqlalchemy import Table, select, update

from assay.domain.batches import Batch, NewBatch, StoredResult, Sums
from assay.domain.errors import StoreUnavailable
from assay.records.database import Database
from assay.records.removal import RESERVED_MS, purge_runs
from assay.records.runs import REMOVED, REMOVED_AT_ONCE, RecordedRuns
from assay.records.tables import results, runs
from fakes.postgres_process import PostgresProcess
from fakes.service_process import ServiceProcess, running_service

pytestmark = pytest.mark.timeout(150)  # several services are started one after the other

CONTAINS = {"type": "contains", "value": "Paris", "name": "paris"}
NDJSON = {"Content-Type": "application/x-ndjson"}


def a_batch(number: int, **values) -> Batch:
    known = {"status": "completed", "expires_ms": 2, "total": 3, "shown": b'{"a":1}', **values}
    return Batch(f"batch_{number:032x}", "acme", created_ms=1, **known)


async def recorded(store: RecordedRuns, batch: Batch) -> None:
    await store.create(NewBatch(batch.id, batch.tenant, 1, 2, b"{}", kept=True))


async def rows_of(database: Database, table: Table) -> list[str]:
    """The run of each row."""
    key = table.primary_key.columns[0]
    async with database.reading() as connection:
        return list(await connection.scalars(select(key).order_by(key)))


class KnownBatches:
    """A Redis that has these batches, or is out of reach."""

    def __init__(self, *batches: Batch) -> None:
        self._batches = {batch.id: batch for batch in batches}
        self.is_down = False

    async def find(self, tenant: str, batch_id: str) -> Batch | None:
        if self.is_down:
            raise StoreUnavailable("out of reach")
        return self._batches.get(batch_id)


class TestStore:
    async def test_a_run_shows_once_all_is_copied(self, database: Database):
        """Results that are copied twice count once, and a run is hidden until it is complete."""
        gates = [{"verdict": "passed", "interval": [0.9, 1.0]}]
        store, batch = RecordedRuns(database), a_batch(1, status="decided", gates=gates)
        await recorded(store, batch)
        assert await store.copied(batch.id) == 0
        for _ in range(2):
            await store.add_results(batch.id, [StoredResult(0, "a", b"{}")], 1)
        assert await store.copied(batch.id) == 1
        assert await store.find("acme", batch.id) is None
        assert await store.page("acme", "", 9) == []
        await store.add_results(batch.id, [StoredResult(2, "c", b"[]")], 3)
        await store.finish(batch, b"request", Sums({"rows:n": 2}, {}))
        found = await store.find("acme", batch.id)
        assert found is not None
        assert (found.recorded, found.shown, found.total) == (True, b'{"a":1}', 3)
        assert (found.status, found.gates) == ("decided", gates)
        assert await store.request(batch.id) == b"request"
        assert await store.sums(batch.id) == Sums({"rows:n": 2}, {})
        page = await store.results(found, 0, 1)
        assert ([one.index for one in page.results], page.has_more) == ([0], True)
        assert await store.known_ids(batch.id, ["a", "b", "c"]) == {"a", "c"}
        rest = await store.results(found, page.cursor, 9)
        assert ([one.item_id for one in rest.results], rest.has_more) == (["c"], False)

    async def test_a_run_that_goes_while_it_is_copied_stays_gone(self, database: Database):
        """What is copied after a run was deleted is dropped, whenever the deletion comes."""
        store, batch = RecordedRuns(database), a_batch(1)
        await recorded(store, batch)
        assert await store.add_results(batch.id, [StoredResult(0, "a", b"{}")], 1)
        await store.delete(batch.id)
        assert not await store.add_results(batch.id, [StoredResult(1, "b", b"{}")], 2)
        await store.finish(batch, b"request", Sums({}, {}))
        assert await rows_of(database, runs) == await rows_of(database, results) == []

    async def test_many_results_go_in_steps(self, database: Database):
        """A run is hidden as its removal begins, and what a dead process left goes with a purge."""
        store, batch = RecordedRuns(database), a_batch(1)
        await recorded(store, batch)
        found = [StoredResult(n, f"i{n}", b"{}") for n in range(2 * REMOVED_AT_ONCE + 1)]
        await store.add_results(batch.id, found, len(found))
        async with database.writing() as connection:
            await connection.execute(update(runs).values(copied=REMOVED))
        await store.finish(batch, b"request", Sums({}, {}))
        assert await store.copied(batch.id) is await store.find("acme", batch.id) is None
        await purge_runs(database, KnownBatches(), None, 1)
        assert await rows_of(database, runs) == await rows_of(database, results) == []

    async def test_runs_that_will_never_be_copied_are_purged(self, database: Database):
        """Those are unfinished, 30 days old, and their batch is gone: an outage of Redis proves
        nothing, and a run that is finished or under way stays."""
        store = RecordedRuns(database)
        for number in (1, 2, 3):
            await recorded(store, a_batch(number))
            await store.add_results(a_batch(number).id, [StoredResult(0, "a", b"{}")], 1)
        await store.finish(a_batch(3), b"", Sums({}, {}))
        redis, late = KnownBatches(a_batch(2)), RESERVED_MS + 2
        redis.is_down = True
        with pytest.raises(StoreUnavailable):
            await purge_runs(database, redis, None, late)
        redis.is_down = False
        await purge_runs(database, redis, None, late - 1)
        assert await rows_of(database, runs) == [a_batch(number).id for number in (1, 2, 3)]
        await purge_runs(database, redis, None, late)
        left = [a_batch(number).id for number in (2, 3)]
        assert await rows_of(database, runs) == await rows_of(database, results) == left

    async def test_results_go_after_their_retention(self, database: Database):
        """A finished run that is older goes with its results; one that is being copied does not."""
        store = RecordedRuns(database)
        for number in (1, 2):
            await recorded(store, a_batch(number))
            await store.add_results(a_batch(number).id, [StoredResult(0, "a", b"{}")], 1)
        await store.finish(a_batch(1), b"", Sums({}, {}))
        for retention_ms in (None, 1_000):
            await purge_runs(database, KnownBatches(), retention_ms, 1_001)
            assert await store.find("acme", a_batch(1).id) is not None
        await purge_runs(database, KnownBatches(), 1_000, 1_002)
        left = [a_batch(2).id]
        assert await rows_of(database, runs) == await rows_of(database, results) == left

    async def test_runs_belong_to_tenants_and_are_listed_newest_first(self, database: Database):
        """A deleted run is gone with its results, and cannot be copied to any more."""
        store = RecordedRuns(database)
        for number in (1, 2, 3):
            await recorded(store, a_batch(number))
            await store.finish(a_batch(number), b"", Sums({}, {}))
        first = await store.page("acme", "", 2)
        assert [batch.id[-1] for batch in first] == ["3", "2"]
        assert [batch.id[-1] for batch in await store.page("acme", first[-1].id, 2)] == ["1"]
        assert await store.page("other", "", 9) == []
        assert await store.find("other", a_batch(1).id) is None
        await store.delete(a_batch(3).id)
        assert await store.copied(a_batch(3).id) is None
        assert await store.find("acme", a_batch(3).id) is None


@contextlib.asynccontextmanager
async def serving(
    folder: Path, records_url: str = "", **environ: str
) -> AsyncIterator[tuple[ServiceProcess, aiohttp.ClientSession]]:
    environ = {"ASSAY_RECORDS__URL": records_url, **environ}
    async with (
        running_service(folder, environ={k: v for k, v in environ.items() if v}) as service,
        aiohttp.ClientSession(service.url) as session,
    ):
        yield service, session


async def call(session, method: str, path: str, expected: int = 200, **options):
    async with session.request(method, path, **options) as response:
        body = await response.text()
        assert response.status == expected, body
        return json.loads(body) if body.startswith("{") else body


async def with_dataset(session, rows: int, **fields) -> None:
    await call(session, "POST", "/v1/datasets", 201, json={"name": "faq"})
    items = [
        {"id": f"r{n}", "input": f"q{n}", "output": "Paris", "split": "ab"[n % 2], **fields}
        for n in range(rows)
    ]
    lines = "\n".join(map(json.dumps, items))
    await call(session, "PUT", "/v1/datasets/faq/items", data=lines, headers=NDJSON)


async def ended(session, batch_id: str, *, seconds: float = 60):
    async with asyncio.timeout(seconds):
        while True:
            batch = await call(session, "GET", f"/v1/batches/{batch_id}")
            if batch["status"] not in ("open", "running"):
                return batch
            await asyncio.sleep(0.05)


@pytest.fixture(params=["sqlite", "postgresql"])
def records_url(request: pytest.FixtureRequest, postgres: PostgresProcess | None) -> str:
    """The URL of records: none for the embedded file, else a migrated PostgreSQL."""
    if request.param == "sqlite":
        return ""
    if postgres is None:
        pytest.skip("there is no PostgreSQL here")
    return postgres.new_migrated_database()


async def test_a_run_outlives_redis(tmp_path: Path, records_url: str):
    """Rows of a dataset are judged; when Redis has let them go, all of it is read as before."""
    async with serving(
        tmp_path, records_url, ASSAY_BATCHES__RETENTION_H="0.001", ASSAY_BATCHES__LEASE_S="2"
    ) as (_, session):
        await with_dataset(session, 30)
        evaluator = {"name": "quality", "criteria": [CONTAINS]}
        await call(session, "POST", "/v1/evaluators", 201, json=evaluator)
        wanted = {"evaluator": "quality", "dataset": "faq", "filter": {"split": "a"}, "name": "n"}
        made = await call(session, "POST", "/v1/batches", 201, json=wanted)
        before = await ended(session, made["id"])
        assert (before["counts"]["scored"], before["counts"]["total"]) == (15, 15)
        assert (before["dataset"], before["evaluator"], before["name"]) == (
            "faq@1",
            "quality@1",
            "n",
        )
        other = await call(session, "POST", "/v1/batches", 201, json=wanted)
        await ended(session, other["id"])
        compare = f"/v1/batches/{other['id']}/compare?base={made['id']}"
        compared = await call(session, "GET", compare)
        assert (compared["items_common"], compared["comparable"]) == (15, True)
        await asyncio.sleep(5)  # past the retention of Redis
        after = await call(session, "GET", f"/v1/batches/{made['id']}")
        assert {**after, "expires_at": None} == {**before, "expires_at": None}
        assert await call(session, "GET", compare) == compared
        await call(session, "DELETE", f"/v1/batches/{other['id']}", 204)
        path = f"/v1/batches/{made['id']}/results"
        results = (await call(session, "GET", path + "?limit=100"))["data"]
        assert [result["item_id"] for result in results] == [f"r{n}" for n in range(0, 30, 2)]
        assert {result["evaluator"]["name"] for result in results} == {"quality"}
        listed = await call(session, "GET", "/v1/batches")
        assert [batch["id"] for batch in listed["data"]] == [made["id"]]
        for item, expected in (("r2", 201), ("r1", 422)):
            row = {"batch": made["id"], "item_id": item}
            sent = {"item": row, "criterion": "paris", "annotator": "ann", "passed": True}
            await call(session, "POST", "/v1/labels", expected, json=sent)
        await call(session, "POST", f"/v1/batches/{made['id']}/cancel", 409)
        await call(session, "DELETE", f"/v1/batches/{made['id']}", 204)
        await call(session, "GET", f"/v1/batches/{made['id']}", 404)


async def test_tables_of_results(tmp_path: Path):
    """CSV and Parquet have a row for each result and columns for each criterion."""
    async with serving(tmp_path) as (_, session):
        await with_dataset(session, 3)
        batch = {"criteria": [CONTAINS], "dataset": "faq"}
        made = await call(session, "POST", "/v1/batches", 201, json=batch)
        await ended(session, made["id"])
        path = f"/v1/batches/{made['id']}/results"
        text = await call(session, "GET", path, headers={"Accept": "text/csv"})
        rows = list(csv.DictReader(io.StringIO(text)))
        assert [(row["item_id"], row["paris.score"], row["passed"]) for row in rows] == [
            (f"r{n}", "1.0", "true") for n in range(3)
        ]
        parquet = {"Accept": "application/vnd.apache.parquet"}
        async with session.get(path, headers=parquet) as response:
            table = read_table(BufferReader(await response.read()))
        assert table.column("paris.score").to_pylist() == [1.0, 1.0, 1.0]
        assert table.column("item_index").to_pylist() == [0, 1, 2]


async def test_outputs_are_generated_and_judged(tmp_path: Path):
    """Items without an output get one from the model, which stands in the result with its cost."""
    async with serving(tmp_path) as (_, session):
        await call(session, "POST", "/v1/datasets", 201, json={"name": "faq"})
        await call(session, "PUT", "/v1/datasets/faq/items", data='{"input": "q"}', headers=NDJSON)
        batch = {"criteria": [{"type": "contains", "value": "Simulated"}], "dataset": "faq"}
        bare = await call(session, "POST", "/v1/batches", 201, json=batch)
        await ended(session, bare["id"])
        (row,) = (await call(session, "GET", f"/v1/batches/{bare['id']}/results"))["data"]
        assert row["error"]["code"] == "output_missing"
        message = {"role": "user", "content": "Answer {{item.input}}"}
        batch["generate"] = {"model": "simulated/judge", "messages": [message]}
        made = await call(session, "POST", "/v1/batches", 201, json=batch)
        assert (await ended(session, made["id"]))["generated_by"] == "simulated/judge"
        (row,) = (await call(session, "GET", f"/v1/batches/{made['id']}/results"))["data"]
        assert row["generated"]["output"].startswith("Simulated")
        assert (row["passed"], row["simulated"]) == (True, True)
        batch["generate"]["model"] = "nope"
        refused = await call(session, "POST", "/v1/batches", 422, json=batch)
        assert refused["errors"][0]["pointer"] == "/generate/model"


async def test_a_forecast_sends_nothing(tmp_path: Path):
    """It counts calls and tokens of every criterion that asks a model, and creates no batch."""
    async with serving(tmp_path) as (_, session):
        await with_dataset(session, 250, reference="Paris")
        wanted = {"criteria": [CONTAINS, "polite"], "dataset": "faq"}
        forecast = await call(session, "POST", "/v1/batches?dry_run=true", json=wanted)
        assert (forecast["rows"], forecast["sampled_rows"], forecast["calls"]) == (250, 100, 250)
        (model,) = forecast["models"]
        assert model["input_tokens"] > 250 * 100
        embedded = {"criteria": [{"type": "semantic_similarity"}], "dataset": "faq"}
        forecast = await call(session, "POST", "/v1/batches?dry_run=true", json=embedded)
        assert forecast["calls"] == 250
        assert (await call(session, "GET", "/v1/batches"))["data"] == []


async def test_only_unscored_rows_are_asked_again(tmp_path: Path):
    """A retry is a batch of the rows without a complete result, with what the first was to do."""
    async with serving(tmp_path) as (_, session):
        await call(session, "POST", "/v1/datasets", 201, json={"name": "faq"})
        rows = '{"id": "a", "output": "x", "reference": "x"}\n{"id": "b", "output": "x"}'
        await call(session, "PUT", "/v1/datasets/faq/items", data=rows, headers=NDJSON)
        batch = {"criteria": [{"type": "equals", "name": "m"}], "dataset": "faq"}
        made = await call(session, "POST", "/v1/batches", 201, json=batch)
        first = await ended(session, made["id"])
        assert (first["counts"]["scored"], first["counts"]["unscored"]) == (1, 1)
        again = await call(session, "POST", f"/v1/batches/{made['id']}/retry", 201)
        assert again["retry_of"] == made["id"]
        assert (await ended(session, again["id"]))["counts"]["total"] == 1
        inline = {"criteria": [CONTAINS], "items": [{"id": "a", "output": "x"}]}
        made = await call(session, "POST", "/v1/batches", 201, json=inline)
        await ended(session, made["id"])
        await call(session, "POST", f"/v1/batches/{made['id']}/retry", 409)


async def test_a_dataset_that_goes_while_its_batch_runs(tmp_path: Path):
    """Deleted, the batch still has its rows; erased, they are failed rows with the reason."""
    batch = {"criteria": [CONTAINS], "dataset": "faq"}
    async with serving(tmp_path, ASSAY_BATCHES__WORKER_IN_SERVE="false") as (_, session):
        await with_dataset(session, 30)
        deleted = await call(session, "POST", "/v1/batches", 201, json=batch)
        await call(session, "DELETE", "/v1/datasets/faq", 204)
    async with serving(tmp_path) as (_, session):
        assert (await ended(session, deleted["id"]))["counts"]["scored"] == 30
        await call(session, "POST", f"/v1/batches/{deleted['id']}/retry", 409)
        await call(session, "DELETE", "/v1/datasets/faq?erase=true", 204)
    async with serving(tmp_path, ASSAY_BATCHES__WORKER_IN_SERVE="false") as (_, session):
        await with_dataset(session, 30)
        erased = await call(session, "POST", "/v1/batches", 201, json=batch)
        await call(session, "DELETE", "/v1/datasets/faq?erase=true", 204)
    async with serving(tmp_path) as (_, session):
        assert (await ended(session, erased["id"]))["counts"]["failed"] == 30
        path = f"/v1/batches/{erased['id']}/results?limit=1"
        (row,) = (await call(session, "GET", path))["data"]
        assert row["error"]["code"] == "row_lost"


async def test_the_copy_survives_every_death(tmp_path: Path):
    """The service is killed again and again while it works and copies: each row has one result."""
    options = {"ASSAY_BATCHES__LEASE_S": "2", "ASSAY_BATCHES__RETENTION_H": "0.001"}
    batch_id = ""
    for round_number in range(4):
        async with serving(tmp_path, **options) as (service, session):
            if not batch_id:
                await with_dataset(session, 1_500)
                batch = {"criteria": [CONTAINS], "dataset": "faq"}
                batch_id = (await call(session, "POST", "/v1/batches", 201, json=batch))["id"]
            await asyncio.sleep(0.3 + 0.4 * round_number)
            await service.kill()
    async with serving(tmp_path, **options) as (_, session):
        batch = await ended(session, batch_id)
        assert batch["counts"]["scored"] == 1_500
        await asyncio.sleep(5)  # past the retention of Redis
        text = await call(
            session, "GET", f"/v1/batches/{batch_id}/results", headers={"Accept": "text/csv"}
        )
        ids = [row["item_id"] for row in csv.DictReader(io.StringIO(text))]
        assert ids == [f"r{n}" for n in range(1_500)]


async def test_rows_wait_for_a_database_that_is_down(tmp_path: Path, postgres):
    """Rows of a dataset are tried again until the database is back; nothing is lost."""
    if postgres is None:
        pytest.skip("there is no PostgreSQL here")
    url = postgres.new_migrated_database()
    async with serving(tmp_path, url, ASSAY_BATCHES__WORKER_ROWS="2") as (_, session):
        await with_dataset(session, 400)
        batch = {"criteria": ["polite"], "dataset": "faq"}
        made = await call(session, "POST", "/v1/batches", 201, json=batch)
        await asyncio.to_thread(postgres.stop)
        try:
            refused = await call(session, "GET", "/v1/datasets/faq", 503)
            assert refused["code"] == "records_unavailable"
            inline = {"output": "Paris", "criteria": [CONTAINS]}
            scored = await call(session, "POST", "/v1/evaluations", json=inline)
            assert scored["passed"] is True
        finally:
            await asyncio.to_thread(postgres.start)
        done = await ended(session, made["id"], seconds=50)
        assert done["counts"]["scored"] == 400
