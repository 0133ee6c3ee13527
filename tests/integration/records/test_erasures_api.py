"""What must not be kept: erasures, and requests that keep nothing, over HTTP on both databases."""

import json

import pytest
from sqlalchemy import text

from assay.records.database import Database
from fakes.batches import upload
from fakes.records_api import RecordsApi, ndjson, pages

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONTAINS = [{"type": "contains", "value": "x"}]


async def everything(api: RecordsApi) -> str:
    """All that the database holds, as text."""
    database = Database(api.records_url, embedded=False)
    found = []
    async with database.reading() as connection:
        for table in ("evaluator_versions", "dataset_items", "bodies", "labels", "runs", "results"):
            rows = await connection.execute(text(f"SELECT * FROM {table}"))  # noqa: S608
            found += [" ".join(map(str, row)) for row in rows]
    await database.aclose()
    return "\n".join(found)


def about(subject: str, **fields):
    return {**fields, "metadata": {"subject": subject}}


class TestErasures:
    async def test_a_subject(self, api: RecordsApi):
        """Items, labels, examples, rows and results about a subject are gone, and nothing else."""
        name = await api.dataset(
            about("zoe", id="a1", output="of zoe"),
            about("bob", id="b1", output="of bob"),
            {"id": "c1", "output": "of nobody"},
        )
        await api.upload(name, ndjson(about("zoe", id="a2", output="zoe too")), method="POST")
        evaluator = await api.evaluator(
            CONTAINS,
            examples=[
                {"case": about(who, output=f"example of {who}"), "expect": {"contains": {}}}
                for who in ("zoe", "bob")
            ],
        )
        for item, metadata in (("a1", {}), ("b1", {}), ("c1", {"subject": "zoe"})):
            sent = {"item": {"dataset": name, "id": item}, "criterion": "x", "annotator": item}
            await api.ok("POST", "/v1/labels", {**sent, "passed": True, "metadata": metadata})
        rows = [
            about(who, id=f"row {n}", output="x") for n, who in enumerate(("zoe", "bob", "zoe"))
        ]
        batch, _ = await api.batch(criteria=CONTAINS, items=rows)
        of_zoe = {"criteria": CONTAINS, "items": rows[1:2], "metadata": {"subject": "zoe"}}
        mine, _ = await api.batch(**of_zoe)
        named, _ = await api.batch(**of_zoe, name="named")

        erased = await api.ok("POST", "/v1/erasures", {"subject": "zoe"})
        assert erased == {
            "object": "erasure",
            "items": 2,
            "labels": 2,
            "examples": 1,
            "rows": 2,
            "batches": 2,
            "batches_running": [],
        }
        assert [each["id"] for each in await api.items(name)] == ["b1", "c1"]
        versions = (await api.ok("GET", f"/v1/datasets/{name}/versions"))["data"]
        assert [each["items"] for each in versions] == [2, 2, 0]
        labels = await pages(api, f"/v1/labels?dataset={name}")
        assert [each["annotator"] for each in labels] == ["b1"]
        stored = await api.ok("GET", f"/v1/evaluators/{evaluator}")
        assert [each["case"]["metadata"]["subject"] for each in stored["examples"]] == ["bob"]
        results = await pages(api, f"/v1/batches/{batch['id']}/results?")
        assert [each["status"] for each in results] == ["failed", "completed", "failed"]
        assert results[0]["error"]["code"] == "erased"
        for gone in (mine, named):
            assert (await api.call("GET", f"/v1/batches/{gone['id']}"))[0] == 404
        assert "zoe" not in (await everything(api)) + json.dumps(results)
        again = await api.ok("POST", "/v1/erasures", {"subject": "zoe"})
        assert {again[name] for name in ("items", "labels", "examples", "rows", "batches")} == {0}

    async def test_an_item(self, api: RecordsApi):
        """An item of that id goes from all datasets, with its labels and the rows that wait."""
        one = await api.dataset({"id": "x1", "output": "x"}, {"id": "x2", "output": "y"})
        two = await api.dataset({"id": "x1", "output": "z"})
        for name in (one, two):
            sent = {"item": {"dataset": name, "id": "x1"}, "criterion": "x", "annotator": "a"}
            await api.ok("POST", "/v1/labels", {**sent, "score": 1})
        waiting = await api.ok("POST", "/v1/batches", {"criteria": CONTAINS})
        rows = ndjson({"id": "x1", "output": "x"}, {"id": "x2", "output": "x"}, {"id": "x1"})
        await upload(api.sessions["one"], waiting, rows)
        erased = await api.ok("POST", "/v1/erasures", {"item": "x1"})
        assert (erased["items"], erased["labels"], erased["rows"]) == (2, 2, 2)
        assert [each["id"] for each in await api.items(one)] == ["x2"]
        assert await api.items(two) == []
        await api.ok("POST", f"/v1/batches/{waiting['id']}/start")
        results = await api.results(waiting)
        assert results[0]["error"]["code"] == "row_lost"
        assert results[1]["status"] == "completed"
        assert "x1" not in json.dumps(results)

    async def test_other_tenants_keep_theirs(self, api: RecordsApi):
        """An erasure concerns the tenant's own items alone."""
        name = await api.dataset(about("eve", id="e", output="x"))
        erased = await api.ok("POST", "/v1/erasures", {"subject": "eve"}, tenant="two")
        assert erased["items"] == 0
        assert len(await api.items(name)) == 1

    @pytest.mark.parametrize(
        "document", [{}, {"item": "a", "subject": "b"}, {"subject": ""}, {"subject": 5}, {"x": 1}]
    )
    async def test_what_to_erase_must_be_clear(self, api: RecordsApi, document):
        """One of the two has to be named."""
        assert (await api.call("POST", "/v1/erasures", document))[0] == 422


class TestStoreFalse:
    async def test_no_answer_goes_to_the_cache(self, api: RecordsApi):
        """Without `store` an answer is neither kept nor read, whatever the judge allows."""

        async def cached(*, store: bool) -> list[bool]:
            document = {"output": f"x {store}", "criteria": ["polite"], "store": store}
            sent = {**document, "judge": {"cache": True}}
            return [(await judged(api, sent))["cached"] for _ in range(2)]

        assert await cached(store=True) == [False, True]
        assert await cached(store=False) == [False, False]

    @pytest.mark.parametrize(
        ("path", "document"),
        [
            ("/v1/evaluations", {"output": "x", "criteria": CONTAINS}),
            ("/v1/comparisons", {"output_a": "x", "output_b": "y", "criteria": "better"}),
            ("/v1/batches", {"criteria": CONTAINS}),
        ],
    )
    async def test_an_idempotency_key_is_refused(self, api: RecordsApi, path, document):
        """The response to a request with a key is kept, so the two exclude each other."""
        headers = {"Idempotency-Key": api.name()}
        await api.ok("POST", path, {**document, "store": False})
        sent = {**document, "store": False}
        status, problem = await api.call("POST", path, sent, headers=headers)
        assert (status, problem["errors"][0]["pointer"]) == (422, "/store")
        await api.ok("POST", path, document, headers=headers)
        assert (await api.call("POST", path, {**document, "store": 0}))[0] == 422

    async def test_a_batch_keeps_no_answers(self, api: RecordsApi):
        """The rows of such a batch are judged anew, though their judge may use the cache."""
        fields = {"criteria": ["polite"], "judge": {"cache": True}, "store": False}
        for _ in range(2):
            _, (result,) = await api.batch(items=[{"id": "a", "output": "kept?"}], **fields)
            assert not result["results"][0]["cached"]


async def judged(api: RecordsApi, document):
    return (await api.ok("POST", "/v1/evaluations", document))["results"][0]
