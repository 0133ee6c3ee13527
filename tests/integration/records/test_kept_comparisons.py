"""Comparisons are computed once and kept, until something that they show is removed."""

import json
from dataclasses import replace

import pytest
from sqlalchemy import delete, event, insert
from sqlalchemy.engine import Engine

from assay.api.batches.responses import ChangedRowListResponse, ComparisonProgressResponse
from assay.batches import kept_comparisons
from assay.batches.kept_comparisons import ROWS_AT_ONCE
from assay.domain.batches import NewBatch, StoredResult
from assay.domain.ids import new_id
from assay.domain.records import COMPARISON, StoredObject
from assay.records.database import Database
from assay.records.objects import RecordedObjects, forget_comparisons
from assay.records.tables import objects
from fakes import documented
from fakes.records_api import RecordsApi, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PARIS = {"type": "contains", "value": "Paris", "name": "paris"}
ROWS = 450


async def recorded_pair(api: RecordsApi) -> tuple[str, str]:
    """Two batches of many rows, which only the records have; all of the base's rows passed."""
    runs = (await api.service.services.open_stores()).runs
    made, results = await api.batch(
        dataset=await api.dataset({"id": "r", "output": "Paris"}), criteria=[PARIS]
    )

    async def is_recorded() -> bool:
        return await runs.find("one", made["id"]) is not None

    await until(is_recorded)
    known = await runs.find("one", made["id"])
    request, sums = await runs.request(made["id"]), await runs.sums(made["id"])
    assert known is not None
    assert request is not None
    ids = []
    for passed in (1.0, 0.0):
        result = {**results[0], "results": [{**results[0]["results"][0]}]}
        result["results"][0] |= {"score": passed, "passed": passed == 1}
        batch = replace(known, id=new_id("batch"), total=ROWS, settled=ROWS)
        await runs.create(NewBatch(batch.id, "one", 1, 2, b"{}", kept=True))
        body = json.dumps(result).encode()
        found = [StoredResult(number, f"i{number}", body) for number in range(ROWS)]
        await runs.add_results(batch.id, found, ROWS)
        await runs.finish(batch, request, sums)
        ids.append(batch.id)
    return ids[0], ids[1]


class ReadResults:
    """Counts the statements that read results."""

    def __init__(self) -> None:
        self.statements = 0

    def __enter__(self):
        event.listen(Engine, "before_cursor_execute", self._count)
        return self

    def __exit__(self, *_):
        event.remove(Engine, "before_cursor_execute", self._count)

    def _count(self, _connection, _cursor, statement, *_):
        self.statements += "FROM results" in statement


async def test_a_second_view_reads_no_results(api: RecordsApi):
    """The first one reads all of both batches; pages of changed rows need none either."""
    base, candidate = await recorded_pair(api)
    path = f"/v1/batches/{candidate}/compare"
    with ReadResults() as first:
        found = await api.ok("GET", f"{path}?base={base}")
    assert first.statements >= 6
    with ReadResults() as later:
        assert await api.ok("GET", f"{path}?base={base}") == found
        wide = await api.ok("GET", f"{path}?base={base}&limit=250")
        query, rows, cursor = f"base={base}&criterion=paris&kind=regressions&limit=70", [], "0"
        while cursor is not None:
            page = await api.ok("GET", f"{path}/rows?{query}&cursor={cursor}")
            assert documented.faults(ChangedRowListResponse, page) == []
            rows, cursor = rows + page["data"], page["next_cursor"]
    assert later.statements == 0
    assert [row["item_id"] for row in rows] == [f"i{number}" for number in range(ROWS)]
    regressions = wide["criteria"][0]["regressions"]
    assert (regressions["total"], regressions["rows"]) == (ROWS, rows[:250])
    assert ROWS > 2 * ROWS_AT_ONCE


async def test_what_is_computed_says_how_far_it_is(api: RecordsApi):
    """A 202 with `Retry-After`, from which waiting leads to the comparison."""
    base, candidate = await recorded_pair(api)
    path = f"/v1/batches/{candidate}/compare?base={base}"
    async with api.sessions["one"].get(f"{path}&wait_s=0") as answer:
        found = await answer.json()
        assert (answer.status, answer.headers["Retry-After"]) == (202, "1")
    assert documented.faults(ComparisonProgressResponse, found) == []
    assert found["rows"] == 2 * ROWS
    assert (await api.ok("GET", path))["items_common"] == ROWS
    for wrong in ("-1", "31", "x", "1e2", "nan", "", "٣"):
        assert (await api.call("GET", f"{path}&wait_s={wrong}"))[0] == 422
    rows = path.replace("compare?", "compare/rows?")
    for query, status in (
        ("", 422), ("&kind=worse", 422), ("&kind=unscored&criterion=a%00", 422),
        ("&kind=unscored&criterion=other", 200), ("&kind=unscored&cursor=x", 422),
    ):  # fmt: skip
        assert (await api.call("GET", rows + query))[0] == status, query
    assert (await api.call("GET", f"{rows}&kind=unscored", tenant="two"))[0] == 404


async def test_an_erasure_and_a_deletion_void_it(api: RecordsApi):
    """What is erased is in no kept comparison, and what is deleted cannot be compared."""
    base, candidate = await recorded_pair(api)
    path = f"/v1/batches/{candidate}/compare?base={base}"
    assert (await api.ok("GET", path))["items_common"] == ROWS
    await api.ok("POST", "/v1/erasures", {"item": "i7"})
    found = await api.ok("GET", f"{path}&limit=1000")
    assert (found["items_common"], '"i7"' in json.dumps(found)) == (ROWS - 1, False)
    await api.ok("DELETE", f"/v1/batches/{base}")
    assert (await api.call("GET", path))[0] == 404
    database = Database(api.records_url, embedded=False)
    async with database.reading() as connection:
        kept = await connection.scalars(
            objects.select().with_only_columns(objects.c.id).where(objects.c.kind == COMPARISON)
        )
        assert kept.all() == []
    await database.aclose()


async def test_why_two_batches_cannot_be_compared_is_kept_as_well(api: RecordsApi):
    """Who asks again is told the same without a row being read."""
    base, _ = await recorded_pair(api)
    other, _ = await api.batch(criteria=[PARIS], items=[{"id": "x", "output": "Paris"}])
    path = f"/v1/batches/{other['id']}/compare?base={base}"
    status, problem = await api.call("GET", path)
    assert (status, "no item id in common" in str(problem)) == (409, True)
    with ReadResults() as later:
        status, again = await api.call("GET", f"{path}&wait_s=0")
    assert (status, again["detail"]) == (409, problem["detail"])
    assert later.statements == 0


async def test_a_comparison_of_a_dead_process_is_begun_anew(api: RecordsApi):
    """Its note stays as it is; after a minute another process takes over."""
    base, candidate = await recorded_pair(api)
    path = f"/v1/batches/{candidate}/compare?base={base}"
    database = Database(api.records_url, embedded=False)
    async with database.writing() as connection:
        await forget_comparisons(connection)
    await api.ok("GET", path)
    async with database.writing() as connection:
        query = objects.select().where(objects.c.kind == COMPARISON)
        row = (await connection.execute(query)).mappings().one()
        await connection.execute(delete(objects))
        note = {**row, "document": {"token": "dead", "rows_read": 7}}
        await connection.execute(insert(objects), [{**note, "updated_ms": row["updated_ms"]}])
    status, found = await api.call("GET", f"{path}&wait_s=0")
    assert (status, found["rows_read"]) == (202, 7)
    async with database.writing() as connection:
        await connection.execute(objects.update().values(updated_ms=1))
    assert (await api.ok("GET", path))["items_common"] == ROWS
    await database.aclose()


async def test_the_oldest_makes_room(api: RecordsApi, monkeypatch):
    """A tenant keeps so many comparisons, with their rows, and no more."""
    pairs = [await recorded_pair(api) for _ in range(2)]
    database = Database(api.records_url, embedded=False)
    async with database.writing() as connection:
        await forget_comparisons(connection)
    await database.aclose()
    monkeypatch.setattr(kept_comparisons, "KEPT_MAX", 1)
    for base, candidate in pairs:
        path = f"/v1/batches/{candidate}/compare?base={base}"
        assert (await api.ok("GET", path))["items_common"] == ROWS
    store = (await api.service.services.open_stores()).objects
    (kept,) = await store.page("one", COMPARISON, limit=10)
    assert {one.parent for _, one in await store.of_all("comparison_rows", "", 100)} <= {kept.id}
    assert json.loads(kept.document["body"])["candidate"]["id"] == pairs[1][1]


@pytest.mark.asyncio(loop_scope="function")
async def test_nothing_is_kept_of_what_was_forgotten_meanwhile(database: Database):
    """A comparison that was noted before an erasure and is ready after it leaves nothing.

    One that another process has finished meanwhile is kept once.
    """
    store = RecordedObjects(database)
    rows = StoredObject("rows_1", "comparison_rows", {"rows": "[]"}, "comparison_1")
    for erased in (False, False, True):
        await store.add("acme", StoredObject("comparison_1", COMPARISON, {"token": "t"}))
        if erased:
            async with database.writing() as connection:
                await forget_comparisons(connection, objects.c.tenant == "acme")
        change = store.change("acme", "comparison_1", {"body": ""}, token="t", children=[rows])
        assert (await change is None) is erased
        found = await store.find("acme", "comparison_rows", "rows_1", "comparison_1")
        assert (found is None) is erased


async def test_a_fault_in_the_computation_is_an_error_and_no_endless_progress(
    api: RecordsApi, monkeypatch
):
    """Who waits gets a 500; the next view computes it again, and finds it."""
    base, candidate = await recorded_pair(api)
    path = f"/v1/batches/{candidate}/compare?base={base}"
    with monkeypatch.context() as broken:
        broken.setattr(kept_comparisons, "_compare", lambda *_: 1 / 0)
        for _ in range(2):
            assert (await api.call("GET", path))[0] == 500
    assert (await api.ok("GET", path))["items_common"] == ROWS
