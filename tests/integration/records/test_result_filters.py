"""Results of a batch by conditions: over HTTP from Redis, and page by page from the records."""

import json

import pytest

from assay.api.batches.result_filter import SCANNED_ROWS_MAX, ResultFilter, filtered_page
from assay.batches.lasting import LastingBatches
from assay.catalog.stores import Stores
from assay.domain.batches import Batch, NewBatch, StoredResult
from assay.records.database import Database
from assay.records.runs import RecordedRuns
from fakes.records_api import RecordsApi, pages

CRITERIA = [
    {"type": "contains", "name": "paris", "value": "Paris"},
    {"type": "word_count", "name": "short", "max": 2},
    {"type": "json_schema", "name": "json", "schema": {"type": "array"}, "from": "reference"},
]
ROWS = [
    {"id": "both", "output": "In Paris."},
    {"id": "long", "output": "It is in Paris."},
    {"id": "Ünïque", "output": "nowhere"},
]


def result(number: int, *, passed: bool) -> StoredResult:
    criterion = {
        "name": "c", "status": "scored", "passed": passed, "score": float(passed), "reason": None,
        "explanation": "", "label": None,
    }  # fmt: skip
    body = {"status": "completed", "passed": passed, "score": float(passed), "results": [criterion]}
    return StoredResult(number, f"row-{number}", json.dumps(body).encode())


@pytest.mark.asyncio(loop_scope="module")
async def test_conditions_are_about_rows_or_about_one_criterion(api: RecordsApi):
    """Each alone and together, in the list and in the downloads."""
    batch, _ = await api.batch(criteria=CRITERIA[:2], dataset=await api.dataset(*ROWS))
    path = f"/v1/batches/{batch['id']}/results?"

    async def found(query: str) -> list[str]:
        return [one["item_id"] for one in await pages(api, path + query)]

    assert await found("passed=true") == ["both"]
    assert await found("passed=true&criterion=paris") == ["both", "long"]
    assert await found("score_min=0.5&score_max=0.5") == ["long", "Ünïque"]
    assert await found("criterion=short&score_max=0") == ["long"]
    assert await found("status=scored") == ["both", "long", "Ünïque"]
    assert await found("status=partial") == await found("reason=refused") == []
    assert await found("q=ÜNÏQ") == ["Ünïque"]
    assert await found("q=contains 'PARIS'") == ["both", "long"]
    assert await found("q=contains 'paris'&criterion=short") == []
    assert await found("q=.*") == []
    headers = {"Accept": "text/csv"}
    async with api.sessions["one"].get(path + "passed=true", headers=headers) as response:
        assert len((await response.text()).splitlines()) == 2


@pytest.mark.asyncio(loop_scope="module")
async def test_rows_without_a_score_are_found_by_status_and_reason(api: RecordsApi):
    """As the counts of the batch name them, and as the criterion does."""
    judged = {"type": "equals", "name": "same"}
    batch, results = await api.batch(
        criteria=[*CRITERIA[:1], judged], dataset=await api.dataset(*ROWS)
    )
    reason = results[0]["results"][1]["reason"]
    status = results[0]["results"][1]["status"]
    path = f"/v1/batches/{batch['id']}/results?"
    counted = [name for name in ("scored", "partial") if batch["counts"][name] == 3]
    assert len(await pages(api, f"{path}status={counted[0]}")) == 3
    assert len(await pages(api, f"{path}reason={reason}")) == 3
    assert len(await pages(api, f"{path}criterion=same&status={status}&reason={reason}")) == 3
    assert await pages(api, f"{path}criterion=paris&reason={reason}") == []


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("criterion=none", "criterion must be the name of one of the batch's criteria"),
        ("status=good", "status must be 'scored'"),
        ("passed=maybe", "passed must be a valid boolean"),
        ("score_min=nan", "score_min must be a finite number"),
        ("score_max=2", "score_max must be less than or equal to 1"),
        ("q=", "q must have at least 1 character"),
        ("q=" + "x" * 201, "q must have at most 200 characters"),
        ("q=%00", "NUL"),
    ],
)
async def test_a_condition_that_cannot_be_read_is_named(api: RecordsApi, query: str, fault: str):
    """A 422 that says what is wrong."""
    batch = await api.ok("POST", "/v1/batches", {"criteria": CRITERIA[:1]})
    status, problem = await api.call("GET", f"/v1/batches/{batch['id']}/results?{query}")
    assert (status, fault in problem["detail"]) == (422, True), problem


async def test_a_request_looks_through_a_bounded_number_of_rows(database: Database):
    """Its page is then short, and the cursor goes on where it stopped: nothing is left out."""
    store, total, wanted = RecordedRuns(database), SCANNED_ROWS_MAX + 300, (1, SCANNED_ROWS_MAX + 7)
    batch = Batch(
        f"batch_{1:032x}", "acme", "completed", created_ms=1, expires_ms=2, total=total,
        recorded=True,
    )  # fmt: skip
    await store.create(NewBatch(batch.id, "acme", 1, 2, b"{}", kept=True))
    rows = [result(number, passed=number in wanted) for number in range(total)]
    await store.add_results(batch.id, rows, total)

    async def open_stores() -> Stores:
        return Stores(*[None] * 2, store, *[None] * 3)  # type: ignore[arg-type]

    lasting = LastingBatches(None, None, open_stores)  # type: ignore[arg-type]
    passed = ResultFilter(passed=True)
    page = await filtered_page(lasting, batch, passed, 0, 10)
    assert [one.index for one in page.results] == [1]
    assert (page.cursor, page.has_more) == (SCANNED_ROWS_MAX, True)
    rest = await filtered_page(lasting, batch, passed, page.cursor, 10)
    assert ([one.index for one in rest.results], rest.has_more) == ([wanted[1]], False)
    failed = ResultFilter(passed=False)
    first = await filtered_page(lasting, batch, failed, 0, 3)
    assert ([one.index for one in first.results], first.has_more) == ([0, 2, 3], True)
    after = await filtered_page(lasting, batch, failed, first.cursor, 2)
    assert [one.index for one in after.results] == [4, 5]
    assert (await filtered_page(lasting, batch, passed, wanted[1], 1)).has_more is False
