"""/v1/labels: what people say of cases, over HTTP on both databases."""

import asyncio
import io
import json

import pytest

from fakes.batches import upload
from fakes.records_api import RecordsApi, ndjson, pages

pytestmark = pytest.mark.asyncio(loop_scope="module")

CASE = {"input": "why?", "output": "because"}
CONTAINS = [{"type": "contains", "value": "x"}]


def label(item, annotator="ann", **fields):
    given = fields or {"passed": True}
    return {"item": item, "criterion": "polite", "annotator": annotator, **given}


async def standing(api: RecordsApi, **filters):
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    return await pages(api, f"/v1/labels?limit=2&{query}")


async def post_lines(api: RecordsApi, *rows, content: bytes | None = None):
    data = io.BytesIO(ndjson(*rows) if content is None else content)
    headers = {"Content-Type": "application/x-ndjson"}
    return await api.call("POST", "/v1/labels", data=data, headers=headers)


class TestItems:
    async def test_an_item_of_a_dataset(self, api: RecordsApi):
        """The label has the item, the hash of its case, and everything that was sent."""
        name = await api.dataset({"id": "a", **CASE, "split": "test"})
        sent = label({"dataset": name, "id": "a"}, score=0.5, comment="so so", metadata={"n": 1})
        made = await api.ok("POST", "/v1/labels", sent)
        assert made["object"] == "label"
        assert len(made["item"].pop("digest")) == 64
        expected = {**sent, "passed": None, "label": None, "preference": None}
        assert {**made, **expected, "superseded_by": None} == made
        (listed,) = await standing(api, dataset=name)
        assert listed["id"] == made["id"]

    async def test_a_hash_joins_equal_cases_alone(self, api: RecordsApi):
        """The same case has the same hash in a dataset, in another version and sent by itself,
        whatever else an item has; another output has another one."""
        name = await api.dataset({"id": "a", **CASE, "metadata": {"x": 1}, "extra": 5})
        await api.upload(name, ndjson({"id": "b", **CASE}, {"id": "c", **CASE, "output": "no"}))
        items = [
            {"dataset": f"{name}@1", "id": "a"},
            {"dataset": name, "id": "b"},
            {"case": {**CASE, "context": []}},
            {"case": {"user_input": "why?", "response": "because"}},
            {"dataset": name, "id": "c"},
            {"case": {**CASE, "reference": "x"}},
            {"case": {"input": "why?", "output": [{"role": "assistant", "content": "because"}]}},
        ]
        made = [await api.ok("POST", "/v1/labels", label(item)) for item in items]
        digests = [each["item"]["digest"] for each in made]
        assert len(set(digests[:4])) == 1
        assert len(set(digests)) == 4
        assert made[0]["item"]["dataset"] == name

    async def test_an_item_of_a_batch(self, api: RecordsApi):
        """A batch of the tenant can be labelled by its items."""
        batch, _ = await api.batch(criteria=CONTAINS, items=[{"id": "r1", "output": "x"}])
        item = {"batch": batch["id"], "item_id": "r1"}
        made = await api.ok("POST", "/v1/labels", label(item, preference="tie"))
        assert made["item"] == item
        (listed,) = await standing(api, batch=batch["id"], item="r1")
        assert listed["preference"] == "tie"
        others = label({"batch": batch["id"], "item_id": "r2"})
        for sent, tenant in ((label(item), "two"), (others, "one")):
            status, problem = await api.call("POST", "/v1/labels", sent, tenant=tenant)
            assert (status, problem["errors"][0]["pointer"]) == (422, "/item")

    async def test_a_row_of_a_batch_that_waits(self, api: RecordsApi):
        """It can be labelled as well; of many lines, each without a row is named."""
        waiting = await api.ok("POST", "/v1/batches", {"criteria": CONTAINS})
        await upload(api.sessions["one"], waiting, ndjson({"id": "r1", "output": "x"}))
        lines = [label({"batch": waiting["id"], "item_id": f"r{n}"}) for n in (1, 2, 1, 3)]
        status, problem = await post_lines(api, *lines)
        assert (status, len(problem["errors"])) == (422, 2)
        assert "these lines cannot be used: 2, 4" in problem["detail"]
        assert (await post_lines(api, lines[0]))[0] == 201

    @pytest.mark.parametrize(
        ("change", "pointer"),
        [
            ({"item": {}}, "/item"),
            ({"item": {"dataset": "x"}}, "/item"),
            ({"item": {"dataset": "x", "item_id": "a"}}, "/item"),
            ({"item": {"case": CASE, "batch": "x", "item_id": "a"}}, "/item"),
            ({"item": {"dataset": "missing", "id": "a"}}, "/item"),
            ({"item": {"dataset": "x@0", "id": "a"}}, "/item/dataset"),
            ({"item": {"batch": "batch_1", "item_id": "a"}}, "/item"),
            ({"item": {"case": {"output": 5}}}, "/item/case/output"),
            ({"passed": None}, "/passed"),
            ({"score": 1}, "/score"),
            ({"passed": 1}, "/passed"),
            ({"passed": None, "score": "1e999"}, "/score"),
            ({"passed": None, "score": -1e308}, "/score"),
            ({"passed": None, "preference": "c"}, "/preference"),
            ({"criterion": ""}, "/criterion"),
            ({"annotator": None}, "/annotator"),
            ({"comment": "x" * 10_001}, "/comment"),
            ({"color": "red"}, "/color"),
            ({"criterion": "a\0b"}, "/criterion"),
        ],
    )
    async def test_what_is_no_label(self, api: RecordsApi, change, pointer):
        """The fault is named by its place, and nothing is stored."""
        document = {**label({"case": CASE}, annotator="nobody"), **change}
        status, problem = await api.call("POST", "/v1/labels", document)
        assert (status, problem["code"]) == (422, "invalid_request")
        assert problem["errors"][0]["pointer"] == pointer, problem
        assert await standing(api, annotator="nobody") == []


class TestCorrections:
    async def test_a_correction_keeps_the_earlier_label(self, api: RecordsApi):
        """Of one annotator's labels of an item and a criterion, the last one stands; others of the
        item, and other annotators', are left alone."""
        item = {"dataset": await api.dataset({"id": "a", **CASE}), "id": "a"}
        first = await api.ok("POST", "/v1/labels", label(item))
        other = await api.ok("POST", "/v1/labels", label(item, "bob", passed=False))
        criterion = await api.ok("POST", "/v1/labels", {**label(item), "criterion": "short"})
        second = await api.ok("POST", "/v1/labels", label(item, passed=False))
        found = await standing(api, dataset=item["dataset"])
        assert {each["id"] for each in found} == {other["id"], criterion["id"], second["id"]}
        (earlier,) = await standing(api, dataset=item["dataset"], superseded="true")
        assert earlier == {**first, "superseded_by": second["id"]}

    async def test_a_label_of_other_content_is_no_correction(self, api: RecordsApi):
        """When an item got another output, the label of the earlier one stands for that."""
        name = await api.dataset({"id": "a", **CASE})
        item = {"dataset": name, "id": "a"}
        await api.ok("POST", "/v1/labels", label(item))
        await api.upload(name, ndjson({"id": "a", **CASE, "output": "better"}))
        await api.ok("POST", "/v1/labels", label(item))
        found = await standing(api, dataset=name)
        assert len({each["item"]["digest"] for each in found}) == 2

    async def test_corrections_at_once(self, api: RecordsApi):
        """Of ten labels made at the same time, one stands and nine are kept."""
        item = {"dataset": await api.dataset({"id": "a", **CASE}), "id": "a"}
        made = (api.ok("POST", "/v1/labels", label(item, score=n)) for n in range(10))
        await asyncio.gather(*made)
        assert len(await standing(api, dataset=item["dataset"])) == 1
        assert len(await standing(api, dataset=item["dataset"], superseded="true")) == 9


class TestMany:
    async def test_labels_as_json_lines(self, api: RecordsApi):
        """All labels of an upload are added, in its order, and the later one of an item stands."""
        name = await api.dataset(*({"id": str(n), "output": str(n)} for n in range(20)))
        rows = [label({"dataset": name, "id": str(n % 20)}, score=n) for n in range(25)]
        status, made = await post_lines(api, *rows)
        assert (status, len(made["data"])) == (201, 25)
        assert [each["score"] for each in made["data"]] == list(range(25))
        found = await standing(api, dataset=name)
        assert len(found) == 20
        assert sorted(each["score"] for each in found) == list(range(5, 25))

    async def test_one_bad_line_rejects_all(self, api: RecordsApi):
        """Every bad line is named, and none is stored."""
        name = await api.dataset({"id": "a", **CASE})
        good = label({"dataset": name, "id": "a"})
        lines = [
            json.dumps(good).encode(),
            b"{",
            json.dumps({**good, "score": 1}).encode(),
            json.dumps(label({"dataset": name, "id": "b"})).encode(),
        ]
        status, problem = await post_lines(api, content=b"\n".join(lines))
        assert status == 422
        told = [each["message"].partition(":")[0] for each in problem["errors"]]
        assert told == ["line 2", "line 3", "line 4"]
        assert await standing(api, dataset=name) == []
        for content in (b"", json.dumps(good).encode() + b"\n" + b"{}\n" * 1_001):
            status, problem = await post_lines(api, content=content)
            assert status == 422
            assert "from 1 to 1000 labels" in problem["detail"]


class TestLists:
    async def test_filters(self, api: RecordsApi):
        """Each filter chooses, and together they choose what has all of it."""
        name = await api.dataset({"id": "a", **CASE}, {"id": "b", "output": "y"})
        for item in "ab":
            for annotator in ("ann", "bob"):
                sent = label({"dataset": name, "id": item}, annotator)
                await api.ok("POST", "/v1/labels", {**sent, "criterion": f"of {item}"})
        assert len(await standing(api, dataset=name)) == 4
        assert len(await standing(api, dataset=name, item="a")) == 2
        assert len(await standing(api, dataset=name, criterion="of b", annotator="bob")) == 1
        assert await standing(api, dataset="x' OR '1'='1") == []
        for query in ("superseded=x", "limit=0", "cursor=5", "criterion=%00"):
            assert (await api.call("GET", f"/v1/labels?{query}"))[0] == 422

    async def test_other_tenants_see_and_delete_nothing(self, api: RecordsApi):
        """A label belongs to its tenant."""
        made = await api.ok("POST", "/v1/labels", label({"case": CASE}, "someone"))
        path = f"/v1/labels/{made['id']}"
        assert (await api.ok("GET", "/v1/labels", tenant="two"))["data"] == []
        assert (await api.call("DELETE", path, tenant="two"))[0] == 404
        assert (await api.call("DELETE", path))[0] == 204
        assert (await api.call("DELETE", path))[0] == 404
        assert (await api.call("DELETE", "/v1/labels/%00"))[0] == 404
        assert await standing(api, annotator="someone") == []
