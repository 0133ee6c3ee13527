"""Two batches compared over HTTP: the documented report, and what is refused."""

import pytest

from assay.api.batches.responses import BatchComparisonResponse
from fakes import documented
from fakes.records_api import RecordsApi

pytestmark = pytest.mark.asyncio(loop_scope="module")

PARIS = {"type": "contains", "value": "Paris", "name": "paris"}


async def run(api: RecordsApi, *outputs: str, criteria=PARIS, **fields):
    """A batch that has ended, over one row for each output."""
    items = [{"id": f"i{n}", "output": text, "group": f"g{n}"} for n, text in enumerate(outputs)]
    batch, _ = await api.batch(criteria=[criteria], items=items, **fields)
    return batch["id"]


async def test_a_regression_is_found_and_shown_row_by_row(api: RecordsApi):
    """Eight of forty rows lost their pass; the report has the documented shape."""
    base = await run(api, *["Paris"] * 40, name="before")
    candidate = await run(api, *["Lyon"] * 8, *["Paris"] * 32)
    found = await api.ok("GET", f"/v1/batches/{candidate}/compare?base={base}&limit=3")
    assert documented.faults(BatchComparisonResponse, found) == []
    assert (found["regression"], found["comparable"], found["warnings"]) == (True, True, [])
    assert (found["base"]["name"], found["items_common"]) == ("before", 40)
    (criterion,) = found["criteria"]
    assert [one["difference"] for one in criterion["differences"]] == [-0.2]
    assert criterion["differences"][0]["p_value"] == pytest.approx(2 / 2**8)
    assert criterion["regressions"]["total"] == 8
    assert [row["item_id"] for row in criterion["regressions"]["rows"]] == ["i0", "i1", "i2"]
    back = await api.ok("GET", f"/v1/batches/{base}/compare?base={candidate}")
    assert (back["regression"], back["criteria"][0]["improvements"]["total"]) == (False, 8)


async def test_groups_of_rows_reach_the_comparison(api: RecordsApi):
    """Those of inline rows, and those of a dataset's items."""
    rows = [{"id": f"i{n}", "output": "Paris", "group": f"g{n // 4}"} for n in range(8)]
    name = await api.dataset(*rows)
    over, results = await api.batch(criteria=[PARIS], dataset=name)
    assert [result["group"] for result in results] == [row["group"] for row in rows]
    inline, _ = await api.batch(criteria=[PARIS], items=rows)
    found = await api.ok("GET", f"/v1/batches/{inline['id']}/compare?base={over['id']}")
    assert found["criteria"][0]["differences"][0]["groups"] == 2


async def test_a_changed_criterion_is_a_warning(api: RecordsApi):
    """The revision differs, and the criterion that is the cause is named."""
    base = await run(api, "Paris")
    candidate = await run(api, "Paris", criteria={**PARIS, "value": "Par"})
    found = await api.ok("GET", f"/v1/batches/{candidate}/compare?base={base}")
    assert found["comparable"] is False
    assert "The revisions differ" in found["warnings"][0]
    assert found["warnings"][1] == "paris: the definition of the criterion differs."


async def test_simulated_judges_are_told(api: RecordsApi):
    """A comparison of simulated verdicts means nothing, and says so."""
    base, candidate = [await run(api, "Paris", "Lyon", criteria="polite?") for _ in range(2)]
    found = await api.ok("GET", f"/v1/batches/{candidate}/compare?base={base}")
    assert found["base"]["simulated"] is True
    assert any("SIMULATED" in text for text in found["statements"])
    assert found["criteria"][0]["base_judges"] == {"simulated/judge": 2}


async def test_what_cannot_be_compared_is_a_clear_error(api: RecordsApi):
    """The same batch, another tenant's, one that is open, and nothing in common."""
    base = await run(api, "Paris")
    opened = await api.ok("POST", "/v1/batches", {"criteria": [PARIS]})
    other, _ = await api.batch(criteria=[PARIS], items=[{"id": "x", "output": "Paris"}])
    named = await run(api, "Paris", criteria={**PARIS, "name": "city"})
    path = f"/v1/batches/{base}/compare"
    for query, status, words in (
        ("", 422, "base must be the id of another batch"),
        (f"?base={base}", 422, "base must be the id of another batch"),
        (f"?base={other['id']}&limit=0", 422, "limit must be from 1 to 1000"),
        ("?base=nonsense", 404, "No batch has this id."),
        (f"?base={opened['id']}", 409, "has not ended: it is open"),
        (f"?base={other['id']}", 409, "no item id in common"),
        (f"?base={named}", 409, "city in the base, paris in the candidate"),
    ):
        found, problem = await api.call("GET", path + query)
        assert (found, words in str(problem)) == (status, True), problem
    status, _ = await api.call("GET", f"{path}?base={named}", tenant="two")
    assert status == 404
    theirs = await api.ok("POST", "/v1/batches", {"criteria": [PARIS]}, tenant="two")
    assert (await api.call("GET", f"{path}?base={theirs['id']}"))[0] == 404
