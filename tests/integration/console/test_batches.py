"""The console's pages of batches."""

import html
import re

import pytest

from fakes.batches import ended

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = "<svg onload=alert(1)>"
CRITERIA = [
    {"type": "contains", "name": "good", "value": "good"},
    {"type": "word_count", "name": "short", "max": 3},
]


async def dataset(console, count=6):
    rows = [
        {"id": f"row-{n}", "input": HOSTILE, "output": "good one" if n % 3 else f"bad {HOSTILE}"}
        for n in range(count)
    ]
    return await console.api.dataset(*rows)


async def ended_batch(console, count=6, **fields):
    """The id of a batch over a dataset."""
    evaluator = await console.api.evaluator(CRITERIA)
    made, _ = await console.api.batch(
        evaluator=evaluator, dataset=await dataset(console, count), name=HOSTILE, **fields
    )
    return made["id"]


async def test_a_batch_is_forecast_and_then_started(console):
    """The forecast costs nothing; what starts is exactly what was forecast."""
    assert "No batch yet" in (await console.get("batches")).words
    evaluator, name = await console.api.evaluator(CRITERIA), await dataset(console)
    form = await console.get("batches/new", dataset=name)
    assert f'value="{name}"' in form.text
    fields = {"evaluator": evaluator, "dataset": name, "gate0_bound": "0.9", "name": HOSTILE}
    shown = await console.press("batches/forecast", **fields, gate0_kind="min_score", stop="on")
    assert "Rows 6" in shown.words
    assert "No criterion asks a model." in shown.words
    assert "No batch yet" in (await console.get("batches")).words
    document = html.unescape(re.findall('name="document" value="([^"]*)"', shown.text)[0])
    started = await console.press("batches", document=document)
    path = started.headers["hx-redirect"].removeprefix("/console/")
    await ended(console.api.sessions["one"], {"id": path.partition("/")[2]})
    page = await console.get(path)
    assert "evaluation: mean score at least 0.90 failed" in page.words
    assert HOSTILE not in page.text
    listed = await console.get("batches")
    assert (HOSTILE in listed.text, HOSTILE in listed.words) == (False, True)


async def test_what_cannot_be_forecast_says_why(console):
    """A missing or unknown dataset, and a field that cannot be read."""
    evaluator = await console.api.evaluator(CRITERIA)
    missing = await console.press("batches/forecast", evaluator=evaluator)
    assert (missing.status, "Choose an evaluator" in missing.words) == (422, True)
    unknown = await console.press("batches/forecast", evaluator=evaluator, dataset="none")
    assert (unknown.status, "/dataset" in unknown.words) == (422, True)
    name = await dataset(console)
    for field, fault in (("item_metadata", "must be JSON"), ("gate0_bound", "must be a number")):
        fields = {"evaluator": evaluator, "dataset": name, field: "{x"}
        refused = await console.press("batches/forecast", **fields)
        assert (refused.status, fault in refused.words) == (422, True)


async def test_progress_is_asked_for_until_the_end(console):
    """A running batch asks again; one that has ended is loaded as a whole."""
    batch = await console.api.ok("POST", "/v1/batches", {"criteria": CRITERIA})
    page = await console.get(f"batches/{batch['id']}")
    assert "waits for its rows" in page.words
    assert "hx-refresh" not in (await console.part(f"batches/{batch['id']}/progress")).headers
    cancelled = await console.press(f"batches/{batch['id']}/cancel")
    assert cancelled.headers["hx-redirect"] == f"/console/batches/{batch['id']}"
    done = await console.part(f"batches/{batch['id']}/progress")
    assert (done.headers["hx-refresh"], "hx-get" in done.text) == ("true", False)
    assert (await console.press(f"batches/{batch['id']}/explode")).status == 404


async def test_results_are_filtered_and_paged(console):
    """By the conditions of the query, which every link of the page keeps."""
    id_ = await ended_batch(console, 90)
    page = await console.get(f"batches/{id_}")
    assert "good contains 90 66.7 %" in page.words
    assert ("row-49" in page.words, "row-50" in page.words) == (True, False)
    failing = await console.get(f"batches/{id_}", criterion="good", passed="false")
    assert ("row-87" in failing.words, "row-1 " in failing.words) == (True, False)
    assert "results.csv?criterion=good&amp;passed=false" in failing.text
    found = await console.get(f"batches/{id_}", q="NOT CONTAIN", score_min="0.4")
    assert "does <mark>not contain</mark> " in found.text
    assert "row-1 " not in found.words
    none = await console.get(f"batches/{id_}", status="failed")
    assert "No row meets these conditions" in none.words
    fault = await console.get(f"batches/{id_}", score_min="7")
    assert (fault.status, "score_min must be less than" in fault.words) == (200, True)
    assert HOSTILE not in page.text + failing.text + found.text
    cursor = page.text.partition("cursor=")[2].partition('"')[0]
    rest = await console.get(f"batches/{id_}", cursor=cursor)
    assert ("row-50" in rest.words, "row-49" in rest.words) == (True, False)


async def test_a_row_opens_with_its_case(console):
    """The case is the dataset's item; the searched words are marked in it."""
    id_ = await ended_batch(console)
    part = await console.part(f"batches/{id_}/rows/1", q="ONE")
    assert "good <mark>one</mark>" in part.text
    assert part.words.startswith("row-1 pass 1.000 Close Input")
    whole = await console.get(f"batches/{id_}/rows/0")
    assert (whole.status, HOSTILE in whole.text, f"bad {HOSTILE}" in whole.words) == (
        200, False, True,
    )  # fmt: skip
    assert (await console.get(f"batches/{id_}/rows/6")).status == 404
    dataset = (await console.api.ok("GET", f"/v1/batches/{id_}"))["dataset"].partition("@")[0]
    await console.api.ok("DELETE", f"/v1/datasets/{dataset}")
    assert "not there any more" in (await console.part(f"batches/{id_}/rows/0")).words


async def test_results_are_downloaded_as_files(console):
    """In three forms, with the filters of the page."""
    id_ = await ended_batch(console)
    table = await console.get(f"batches/{id_}/results.csv", passed="false")
    assert table.headers["content-disposition"] == f'attachment; filename="{id_}.csv"'
    assert len(table.text.splitlines()) == 3
    lines = await console.get(f"batches/{id_}/results.jsonl")
    assert len(lines.text.splitlines()) == 6
    async with console.session.get(f"/console/batches/{id_}/results.parquet") as response:
        assert (await response.read())[:4] == b"PAR1"
    assert (await console.get(f"batches/{id_}/results.xml")).status == 404


async def test_incomplete_rows_are_retried_and_a_batch_is_deleted(console):
    """A retry is a batch of its own; a complete batch has nothing to retry and says so."""
    rows = [{"id": "a", "output": "[]"}, {"id": "b", "output": "x"}]
    made, _ = await console.api.batch(
        criteria=[{"type": "json_schema", "schema": {"type": "array"}}, {"type": "equals"}],
        dataset=await console.api.dataset(*rows),
    )
    page = await console.get(f"batches/{made['id']}")
    assert "Retry 2 rows without a full score" in page.words
    again = await console.press(f"batches/{made['id']}/retry")
    path = again.headers["hx-redirect"].removeprefix("/console/")
    assert f"retry of {made['id'][-8:]}" in (await console.get(path)).words
    complete = await console.press(f"batches/{await ended_batch(console)}/retry")
    assert (complete.status, "Every row of the batch is scored" in complete.words) == (409, True)
    gone = await console.press(f"batches/{made['id']}/delete")
    assert gone.headers["hx-redirect"] == "/console/batches"
    assert (await console.get(f"batches/{made['id']}")).status == 404
