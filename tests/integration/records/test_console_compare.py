"""The console's page that compares two batches."""

import asyncio
import re

import aiohttp
import pytest
import pytest_asyncio

from fakes.records_api import RecordsApi

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = "<img src=x onerror=alert(1)>"
PARIS = {"type": "contains", "value": "Paris", "name": "paris"}


async def run(api: RecordsApi, *outputs: str, **fields):
    """The id of an ended batch over a dataset with these outputs."""
    rows = [{"id": f"i{n}", "input": "Where?", "output": text} for n, text in enumerate(outputs)]
    dataset = await api.dataset(*rows)
    batch, _ = await api.batch(criteria=[PARIS], dataset=dataset, **fields)
    return batch["id"]


@pytest_asyncio.fixture(loop_scope="module")
async def get(api: RecordsApi):
    """Reads pages of the console as the tenant `one`, and again while a comparison is made."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(api.url, cookie_jar=jar) as session:
        async with session.post("/console/sign-in", data={"key": "key-of-one"}) as answer:
            assert answer.status == 200

        async def read(path: str, status: int = 200, **query: str) -> str:
            while True:
                async with session.get(f"/console/{path}", params=query) as answer:
                    assert answer.status == status
                    text = await answer.text()
                if "Comparing: " not in text:
                    return text
                await asyncio.sleep(0.05)

        yield read


async def test_the_page_says_what_to_do_first(api: RecordsApi, get):
    """A choice of ended batches, and no comparison of what cannot be compared."""
    base = await run(api, "Paris", name=HOSTILE)
    await run(api, "Paris", name="after")
    text = await get("compare")
    assert (HOSTILE in text, "after" in text, "Regressions" in text) == (False, True, False)
    assert "batches/compare" not in text
    assert "must be the id of another batch" in await get("compare", base=base, candidate=base)
    await get("compare", base="x", candidate=f"../batches/{base}")


async def test_what_changed_is_shown_and_opens_side_by_side(api: RecordsApi, get):
    """Warnings first, the difference in words, rows that link to both outputs and verdicts."""
    before = [f"Paris {HOSTILE} is it"] * 12
    base = await run(api, *before, "Rome", name="before")
    candidate = await run(api, *[f"Lyon {HOSTILE} is it"] * 12, "Paris", name="after")
    text = await get("compare", base=base, candidate=candidate)
    assert text.index("The datasets differ") < text.index("significantly worse")
    assert "Chance hardly explains it (adjusted p" in text
    assert re.search(r"Regressions <small>12, of which 10 are shown", text)
    assert re.search(r"Improvements <small>1<", text)
    assert text.count("base_row=") == 2 * (10 + 1)  # each link is there with and without scripts
    query = {"base": base, "candidate": candidate, "criterion": "paris", "kind": "regressions"}
    every = await get("compare/rows", **query)
    assert (every.count("base_row="), "Next page" in every) == (2 * 12, False)
    assert "No row is here." in await get("compare/rows", **{**query, "criterion": HOSTILE})
    query = {"base": base, "candidate": candidate, "base_row": "3", "candidate_row": "3"}
    row = await get("compare/row", **query)
    assert '<del class="removed">Paris</del>' in row
    assert '<ins class="added">Lyon</ins>' in row
    assert "Where?" in row
    assert (HOSTILE in row, "&lt;" in row) == (False, True)
    assert "too long" in await get("compare/row", **await long_pair(api))


async def test_each_criterion_shows_how_its_rows_and_scores_are_spread(api: RecordsApi, get):
    """What became worse and better, and the scores of both where they are more than 0 and 1."""
    near = {"type": "levenshtein", "name": "near", "threshold": 0.5}
    ids = []
    for texts in (["Paris"] * 4, ["Par"] * 4):
        items = [
            {"id": f"i{n}", "output": one, "reference": "Paris"} for n, one in enumerate(texts)
        ]
        batch, _ = await api.batch(criteria=[PARIS, near], items=items)
        ids.append(batch["id"])
    text = await get("compare", base=ids[0], candidate=ids[1])
    assert text.count("Rows by what changed in the") == 2
    assert "Rows by what changed in the score" in text
    assert re.search("Base: rows by score.*Candidate: rows by score", text, re.DOTALL)


async def long_pair(api: RecordsApi) -> dict[str, str]:
    base, candidate = [await run(api, f"{word} " * 15_000) for word in ("a", "b")]
    return {"base": base, "candidate": candidate, "base_row": "0", "candidate_row": "0"}


async def test_rows_without_kept_outputs_still_show_their_verdicts(api: RecordsApi, get):
    """Rows of the request itself are not kept beside the results."""
    ids = []
    for text in ("Paris", "Lyon"):
        batch, _ = await api.batch(criteria=[PARIS], items=[{"id": "i", "output": text}])
        ids.append(batch["id"])
    query = {"base": ids[0], "candidate": ids[1], "base_row": "0", "candidate_row": "0"}
    row = await get("compare/row", **query)
    assert row.count("The output is not kept with these results.") == 2
    assert re.search("pass</span> 1.000.*fail</span> 0.000", row, re.DOTALL)
    missing = await get("compare/row", **{**query, "base_row": "no", "candidate_row": "9"})
    assert "This criterion has no result here." not in missing
