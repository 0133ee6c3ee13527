"""The console's pages of datasets."""

import json

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = "<img src=x onerror=alert(1)>"


def rows(count):
    return [
        {"id": f"r/{n}", "input": HOSTILE, "output": f"answer {n}", "split": "ab"[n % 2]}
        for n in range(count)
    ]


async def test_a_dataset_is_made_and_filled(console):
    """An upload goes to the API as the one who is signed in; bad lines are numbered."""
    assert "No dataset yet" in (await console.get("datasets")).words
    made = await console.press("datasets", name="made", description=HOSTILE)
    assert made.headers["hx-redirect"].endswith("/console/datasets/made")
    empty = await console.get("datasets/made")
    assert (empty.status, HOSTILE in empty.text, "Empty" in empty.words) == (200, False, True)
    headers = {"Content-Type": "application/x-ndjson", "X-CSRF-Token": console.token}
    path = "/console/api/v1/datasets/made/items"
    async with console.session.put(path, data=b'{"output": 1}', headers=headers) as response:
        problem = await response.json()
    assert problem["errors"][0]["message"].startswith("line 1: /output")
    lines = "\n".join(map(json.dumps, rows(3)))
    async with console.session.put(path, data=lines, headers=headers) as response:
        assert response.status == 200
    assert "3 items" in (await console.get("datasets/made")).words
    refused = await console.press("datasets", name="made", schema="{")
    assert (refused.status, "Schema must be JSON" in refused.words) == (422, True)


async def test_items_are_shown_in_pages_and_by_split(console):
    """A page leads on with its filters, and every text of an item is escaped."""
    name = await console.api.dataset(*rows(120))
    page = await console.get(f"datasets/{name}", split="a")
    assert HOSTILE not in page.text
    assert ("answer 0" in page.words, "answer 1 " in page.words) == (True, False)
    assert "answer 98" in page.words
    assert "answer 100" not in page.words
    cursor = page.text.partition("cursor=")[2].partition('"')[0]
    rest = await console.get(f"datasets/{name}", split="a", cursor=cursor)
    assert ("answer 100" in rest.words, "answer 98" in rest.words) == (True, False)
    assert "No item has" in (await console.get(f"datasets/{name}", group="none")).words
    splits = await console.part(f"datasets/{name}/splits", version="1")
    assert splits.words == "Split Items a 60 b 60"


async def test_one_item_is_shown_in_whole(console):
    """Its id may be any text; a script gets the item alone, a link a whole page."""
    name = await console.api.dataset({"id": "a/b?<i>", "output": "x" * 60_000, "context": ["c"]})
    part = await console.part(f"datasets/{name}/item", id="a/b?<i>", version="1")
    assert part.words.startswith("a/b?<i> Close Output xxx")
    assert "and 10 000 more characters" in part.words
    whole = await console.get(f"datasets/{name}/item", id="a/b?<i>", version="1")
    assert "<!doctype html>" in whole.text
    assert "No item has this id" in (await console.part(f"datasets/{name}/item", id="b")).words


async def test_items_are_downloaded(console):
    """As a file that is called like the dataset, with the filters of the page."""
    name = await console.api.dataset(*rows(450))
    file = await console.get(f"datasets/{name}/items.jsonl", split="b")
    assert file.headers["content-disposition"] == f'attachment; filename="{name}.jsonl"'
    assert [json.loads(line)["id"] for line in file.text.splitlines()] == [
        f"r/{n}" for n in range(1, 450, 2)
    ]


async def test_a_case_of_the_playground_is_added(console):
    """It is the next version of the dataset, with the case as one more item."""
    name = await console.api.dataset(*rows(2))
    assert f"<option>{name}</option>" in (await console.get("playground")).text
    added = await console.press(
        "playground", action="add", dataset=name, input=HOSTILE, output="Paris", context="c"
    )
    assert f"Added to {name} , whose version 2 has 3 items." in added.words
    item = (await console.api.items(name))[-1]
    assert (item["input"], item["context"]) == (HOSTILE, ["c"])
    missing = await console.press("playground", action="add", dataset="none", output="x")
    assert missing.status == 404


async def test_a_criterion_that_was_not_asked_is_skipped_and_not_unscored(console):
    """In the playground, where nothing else says whether a judge failed."""
    criterion = {"c0.type": "contains", "c0.value": "Rome"}
    waits = {"c1.type": "boolean", "c1.question": "Short?", "c1.when": "contains.passed"}
    shown = await console.press("playground", output="Paris", **criterion, **waits)
    assert "boolean skipped condition not met" in shown.words
    assert "unscored" not in shown.words


async def test_a_dataset_is_deleted(console):
    """It leads back to the list."""
    name = await console.api.dataset(*rows(1))
    gone = await console.press(f"datasets/{name}/delete")
    assert gone.headers["hx-redirect"] == "/console/datasets"
    assert (await console.get(f"datasets/{name}")).status == 404
