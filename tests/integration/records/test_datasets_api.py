"""/v1/datasets: uploads in all forms, over HTTP on both databases."""

import asyncio
import io
import json
from typing import ClassVar

import pyarrow as pa
import pytest
from pyarrow import parquet
from sqlalchemy import text

from assay.records.database import Database
from fakes.records_api import RecordsApi, ndjson, pages, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CSV, PARQUET = "text/csv", "application/vnd.apache.parquet"
JSON_LINES = "application/x-ndjson"


def parquet_of(*rows: dict) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(list(rows)), file)
    return file.getvalue()


def _two_outputs() -> bytes:
    file = io.BytesIO()
    columns = [pa.array(["x"]), pa.array(["y"])]
    parquet.write_table(pa.Table.from_arrays(columns, names=["output"] * 2), file)
    return file.getvalue()


TWO_OUTPUTS = _two_outputs()


async def rejected(api: RecordsApi, content: bytes, kind: str = JSON_LINES, **fields) -> dict:
    """The problem of an upload into a new dataset, which is then still empty."""
    name = await api.dataset(**fields)
    status, problem = await api.upload(name, content, kind)
    assert (status, problem["code"]) == (422, "invalid_request")
    assert (await api.ok("GET", f"/v1/datasets/{name}"))["version"] == 0
    return problem


def faults(problem: dict) -> list[str]:
    return [each["message"] for each in problem["errors"]]


async def left_over(api: RecordsApi) -> int:
    """Uploads that are neither published nor removed."""
    database = Database(api.records_url, embedded=False)
    async with database.reading() as connection:
        left = await connection.scalar(text("SELECT count(*) FROM uploads WHERE published = 0"))
    await database.aclose()
    return int(left or 0)


class TestForms:
    async def test_json_lines(self, api: RecordsApi):
        """Fields of a case keep their names and aliases, everything else is in `fields`."""
        name = await api.dataset()
        rows = [
            {"id": 7, "question": "why?", "actual_output": "because", "n": 2**70, "null": None},
            {"output": [{"role": "assistant", "content": "hi"}], "context": ["a\u2028b"]},
            {"input": "no output", "group": "g", "split": "test", "metadata": {"a": 1}},
        ]
        content = "\ufeff".encode() + b"\n\n".join(json.dumps(row).encode() for row in rows)
        status, made = await api.upload(name, content)
        assert (status, made["version"], made["items"]) == (200, 1, 3)
        items = await api.items(name)
        assert items[0] == {
            "id": "7",
            "output": "because",
            "fields": {"question": "why?", "n": 2**70, "null": None},
        }
        assert items[1]["context"] == ["a\u2028b"]
        assert len(items[1]["id"]) == 32
        assert {**items[2], **rows[2]} == items[2]

    async def test_csv(self, api: RecordsApi):
        """Quotes, line breaks, a byte order mark, other alphabets and empty cells are read as
        RFC 4180 has them; cells of some columns may hold JSON."""
        name = await api.dataset()
        content = (
            "\ufeffid,output,context,metadata,Größe\r\n"
            'a,"say ""hi"",\r\nplease","[""p"", ""q""]","{""k"": 1}",大\r\n'
            "b,plain,one passage,,\r\n"
            "\r\n"
            "c,short\r\n"
        )
        status, made = await api.upload(name, content.encode(), CSV)
        assert (status, made["items"]) == (200, 3), made
        first, second, third = await api.items(name)
        assert first == {
            "id": "a",
            "output": 'say "hi",\r\nplease',
            "context": ["p", "q"],
            "metadata": {"k": 1},
            "fields": {"Größe": "大"},
        }
        assert second == {"id": "b", "output": "plain", "context": ["one passage"]}
        assert third == {"id": "c", "output": "short"}

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"output\nx\ny,z\n", "line 3: has more cells than the header"),
            (b'output\nx\n"y\n', "line 3: must be CSV: "),
            (b'output\n"x"y\n', "line 2: must be CSV: "),
            (b"output\nx\n\xff\xfe\nz\n", "line 3: "),
            (b",output\n1,x\n", "line 1: every column must have a name of its own"),
            (b"output,output\nx,y\n", "line 1: every column must have a name of its own"),
            (b"output\n" + b"x" * 1_100_000, "line 2: must be CSV: a row has more than "),
            (b'output\n"' + b"x\n" * 600_000 + b'"', "must be CSV: a row has more than "),
        ],
    )
    async def test_csv_that_cannot_be_read(self, api: RecordsApi, content, message):
        """The line is named, nothing is stored, and lost columns are told."""
        problem = await rejected(api, content, CSV)
        assert message in faults(problem)[0]
        assert len(problem["errors"]) == 1

    async def test_parquet(self, api: RecordsApi):
        """Nested values are kept, and null and NaN are missing fields."""
        name = await api.dataset()
        rows = [
            {"id": "a", "output": "x", "context": ["p"], "deep": {"list": [{"n": 1}, None]}},
            {"id": "b", "output": None, "context": None, "deep": None, "n": float("nan")},
        ]
        status, made = await api.upload(name, parquet_of(*rows), PARQUET)
        assert (status, made["items"]) == (200, 2), made
        first, second = await api.items(name)
        assert first == {
            "id": "a",
            "output": "x",
            "context": ["p"],
            "fields": {"deep": {"list": [{"n": 1}, None]}},
        }
        assert second == {"id": "b"}

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "must be Parquet"),
            (b"PAR1" + b"x" * 100 + b"PAR1", "must be Parquet"),
            (parquet_of({"output": "x"})[:-20], "must be Parquet"),
            (parquet_of({"output": b"\xff"}), "line 1: "),
            (parquet_of({"output": "x" * 1_100_000}), "line 1: must have at most "),
            (parquet_of({"output": 5}), "line 1: /output: "),
            (parquet_of({"output": "x", "n": float("inf")}), "line 1: has a number that JSON"),
            (parquet_of({"output": "x", "n": [{"n": float("nan")}]}), "line 1: has a number"),
            (parquet_of({"output": "x", "": "y"}), "every column must have a name of its own"),
            (TWO_OUTPUTS, "every column must have a name of its own"),
        ],
    )
    async def test_parquet_that_cannot_be_read(self, api: RecordsApi, content, message):
        """What is no Parquet, or has values that no item may have, is rejected with the row."""
        assert message in faults(await rejected(api, content, PARQUET))[0]

    async def test_the_wrong_form(self, api: RecordsApi):
        """A media type that is none of the forms, a compressed body and an empty one."""
        name = await api.dataset()
        for headers in (
            {"Content-Type": "application/json"},
            {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"},
        ):
            path = f"/v1/datasets/{name}/items"
            status, problem = await api.call("PUT", path, data=b"{}", headers=headers)
            assert (status, problem["code"]) == (415, "unsupported_media_type")
        forms = ((b"", JSON_LINES), (b"\n\n", JSON_LINES), (b"output\n", CSV), (b"", CSV))
        for content, kind in forms:
            problem = await rejected(api, content, kind)
            assert problem["detail"] == "The upload has no items."


class TestBadRows:
    async def test_all_bad_lines_are_numbered(self, api: RecordsApi):
        """One bad row rejects the upload, and every bad line is named with its fault."""
        lines = [
            b'{"output": "fine"}',
            b"not JSON",
            b"[1]",
            b'{"output": 5}',
            b'{"output": "x", "id": ""}',
            b'{"output": "x", "metadata": [1]}',
            b'{"output": "x", "group": ""}',
            b'{"output": "x", "na\\u0000me": 1}',
            b'{"output": "x", "lone": "\\ud800"}',
            b'{"output": "x", "deep": ' + b"[" * 70 + b"]" * 70 + b"}",
            b'{"output": "x", "many": [' + b"1," * 60_000 + b"1]}",
            b'{"output": "' + b"x" * 1_100_000 + b'"}',
            b'{"output": "fine again"}',
        ]
        problem = await rejected(api, b"\n".join(lines))
        numbers = ", ".join(map(str, range(2, 13)))
        assert f"these lines cannot be used: {numbers}. Line 2: " in problem["detail"]
        told = faults(problem)
        assert [each.partition(":")[0] for each in told] == [f"line {n}" for n in range(2, 13)]
        assert "line 3: must be a JSON object" in told
        assert all("\ud800" not in each for each in told)

    async def test_a_wrong_file_is_not_read_to_its_end(self, api: RecordsApi):
        """After a thousand bad lines the rest is left."""
        problem = await rejected(api, b"nonsense\n" * 5_000)
        assert " and more. Line 1: " in problem["detail"]
        assert len(problem["errors"]) == 20

    async def test_ids_stand_for_one_item(self, api: RecordsApi):
        """An equal row is passed by, another one with its id is told, also in what it is appended
        to."""
        row = {"id": "a", "output": "x"}
        name = await api.dataset(row, row)
        assert len(await api.items(name)) == 1
        problem = await rejected(api, ndjson(row, {"id": "b"}, {"id": "a", "output": "y"}))
        assert faults(problem) == ["line 3: /id: belongs to a different item"]
        status, problem = await api.upload(name, ndjson({"id": "a", "output": "y"}), method="POST")
        assert (status, faults(problem)) == (422, ["line 1: /id: belongs to a different item"])
        status, made = await api.upload(name, ndjson(row, {"id": "c"}), method="POST")
        assert (status, made["version"], made["items"]) == (200, 2, 2)


class TestSchema:
    SCHEMA: ClassVar = {
        "type": "object",
        "required": ["question"],
        "properties": {"question": {"type": "string", "maxLength": 5}},
    }

    async def test_every_row_has_to_conform(self, api: RecordsApi):
        """The rows that do not are named with the reason, whatever characters they have."""
        rows = [
            {"question": "why?", "output": "a\u2028b\x85c"},
            {"output": "x"},
            {"question": "too long", "output": "x"},
        ]
        problem = await rejected(api, ndjson(*rows), schema=self.SCHEMA)
        told = faults(problem)
        assert [each.partition(":")[0] for each in told] == ["line 2", "line 3"]
        assert "question" in told[0]
        name = await api.dataset(rows[0], schema=self.SCHEMA)
        assert (await api.ok("GET", f"/v1/datasets/{name}"))["schema"] == self.SCHEMA
        status, _ = await api.upload(name, b"question,output\nlonger than five,x\n", CSV, "POST")
        assert status == 422

    @pytest.mark.parametrize(
        "schema",
        [
            5,
            {"type": "nonsense"},
            {"properties": []},
            {"$ref": "http://169.254.169.254/latest"},
            {"$ref": "#/nowhere"},
            {"pattern": "("},
            {"properties": {"x": {"pattern": "(a{1,1000}){1,1000}"}}},
            {"description": "x" * 200_000},
            {"allOf": [{"type": "nonsense"}]},
        ],
    )
    async def test_a_schema_that_is_none(self, api: RecordsApi, schema):
        """A faulty schema is named where the dataset is made, and no address is fetched."""
        document = {"name": api.name(), "schema": schema}
        status, problem = await api.call("POST", "/v1/datasets", document)
        assert (status, problem["code"]) == (422, "invalid_request"), problem
        assert problem["errors"][0]["pointer"].startswith("/schema")
        assert (await api.call("GET", f"/v1/datasets/{document['name']}"))[0] == 404

    async def test_a_hostile_schema_stalls_nothing(self, api: RecordsApi):
        """A schema of exponential work is stopped, and the upload is rejected with it."""
        schema = {"$defs": {"d0": {"type": "string"}}, "$ref": "#/$defs/d28"}
        for level in range(1, 29):
            ref = {"$ref": f"#/$defs/d{level - 1}"}
            schema["$defs"][f"d{level}"] = {"anyOf": [ref, {"allOf": [ref, ref]}]}
        status, made = await api.call(
            "POST", "/v1/datasets", {"name": api.name(), "schema": schema}
        )
        if status == 201:
            upload = asyncio.create_task(api.upload(made["name"], ndjson({"output": "x"})))
            beside = await api.ok("POST", "/v1/evaluations", {"output": "x", "criteria": ["y"]})
            assert beside["status"] == "completed"
            status, made = await upload
        assert status == 422, made


class TestVersions:
    async def test_versions_stay_as_they_were(self, api: RecordsApi):
        """A replaced version still has its items, and items are filtered and paged."""
        rows = [
            {"id": str(n), "output": f"x{n}", "split": "test" if n % 2 else "calibration",
             "group": "g" if n < 2 else "h"}
            for n in range(5)
        ]  # fmt: skip
        name = await api.dataset(*rows)
        await api.upload(name, ndjson({"id": "new"}))
        assert [each["id"] for each in await api.items(name)] == ["new"]
        old = await api.items(name, "version=1&limit=2")
        assert [each["id"] for each in old] == ["0", "1", "2", "3", "4"]
        chosen = await api.items(name, "version=1&split=test&group=h&limit=1")
        assert [each["id"] for each in chosen] == ["3"]
        called = await api.items(name, "version=1&id=2")
        assert [each["id"] for each in called] == ["2"]
        versions = await pages(api, f"/v1/datasets/{name}/versions?limit=1")
        assert [(each["version"], each["items"]) for each in versions] == [(2, 1), (1, 5), (0, 0)]
        assert (await api.call("GET", f"/v1/datasets/{name}?version=3"))[0] == 404
        for query in ("version=x", "version=-1", "limit=1001", "cursor=a"):
            assert (await api.call("GET", f"/v1/datasets/{name}/items?{query}"))[0] == 422

    async def test_splits_are_counted_and_items_downloaded(self, api: RecordsApi):
        """Items without a split come last; a download has all items that the query names."""
        rows = [{"id": str(n), **({"split": "ab"[n % 2]} if n < 7 else {})} for n in range(450)]
        name = await api.dataset(*rows)
        splits = (await api.ok("GET", f"/v1/datasets/{name}/splits"))["data"]
        assert [(each["split"], each["items"]) for each in splits] == [
            ("a", 4), ("b", 3), (None, 443),
        ]  # fmt: skip
        assert (await api.ok("GET", f"/v1/datasets/{await api.dataset()}/splits"))["data"] == []
        path, headers = f"/v1/datasets/{name}/items", {"Accept": "application/x-ndjson"}
        async with api.sessions["one"].get(path, headers=headers) as response:
            assert [json.loads(line) for line in (await response.text()).splitlines()] == rows
        async with api.sessions["one"].get(path + "?split=b", headers=headers) as response:
            assert len((await response.text()).splitlines()) == 3

    async def test_other_tenants_find_nothing(self, api: RecordsApi):
        """Another tenant's dataset can neither be read, nor written, nor deleted."""
        name = await api.dataset({"id": "a"})
        path = f"/v1/datasets/{name}"
        for method, rest in (
            *(("GET", rest) for rest in ("", "/items", "/versions", "/splits")),
            *(("DELETE", rest) for rest in ("", "?erase=true")),
        ):
            assert (await api.call(method, path + rest, tenant="two"))[0] == 404
        for method in ("PUT", "POST"):
            assert (await api.upload(name, b"{}", method=method, tenant="two"))[0] == 404
        assert await pages(api, "/v1/datasets?", tenant="two") == []
        assert len(await api.items(name)) == 1

    async def test_two_uploads_at_once(self, api: RecordsApi):
        """Two replacing uploads make two versions that do not mix; of two appending ones, the
        later one is told to append to what the other made."""
        name = await api.dataset({"id": "first"})
        sent = [ndjson(*({"id": f"{side}{n}"} for n in range(500))) for side in "ab"]
        done = await asyncio.gather(*(api.upload(name, content) for content in sent))
        assert [status for status, _ in done] == [200, 200]
        for _, made in done:
            items = await api.items(name, f"version={made['version']}&limit=1000")
            assert len(items) == 500
            assert len({each["id"][0] for each in items}) == 1
        gate = asyncio.Event()

        async def slow():
            yield ndjson({"id": "slow"})
            await gate.wait()

        appending = asyncio.create_task(api.upload(name, slow(), method="POST"))
        await until(lambda: left_over(api))
        await api.upload(name, ndjson({"id": "fast"}), method="POST")
        gate.set()
        status, problem = await appending
        assert (status, problem["code"]) == (409, "conflict")
        assert "append to that one" in problem["detail"]
        assert not await left_over(api)


class TestBrokenUploads:
    async def test_a_caller_who_hangs_up_leaves_nothing(self, api: RecordsApi):
        """What arrived of an upload whose caller has gone is removed."""
        name = await api.dataset({"id": "a"})
        gate = asyncio.Event()

        async def unfinished():
            yield ndjson(*({"id": str(n), "output": "x" * 1_000} for n in range(2_000)))
            await gate.wait()

        upload = asyncio.create_task(api.upload(name, unfinished()))
        await until(lambda: left_over(api))
        upload.cancel()
        await asyncio.gather(upload, return_exceptions=True)

        async def gone() -> bool:
            return not await left_over(api)

        await until(gone)
        assert [each["id"] for each in await api.items(name)] == ["a"]

    async def test_a_dataset_deleted_during_the_upload(self, api: RecordsApi):
        """The upload ends with a conflict, and the dataset stays deleted; so does an erased one,
        of which nothing is left."""
        for query in ("", "?erase=true"):
            name = await api.dataset({"id": "a"})
            gate = asyncio.Event()

            async def slow(gate=gate):
                yield ndjson({"id": "b", "output": "late"})
                await gate.wait()

            upload = asyncio.create_task(api.upload(name, slow()))
            await until(lambda: left_over(api))
            assert (await api.call("DELETE", f"/v1/datasets/{name}{query}"))[0] == 204
            gate.set()
            status, problem = await upload
            assert (status, problem["code"]) == (409, "conflict")
            assert (await api.call("GET", f"/v1/datasets/{name}"))[0] == 404
            assert not await left_over(api)

    async def test_an_upload_that_is_too_large(self, api: RecordsApi):
        """Beyond the limit the upload ends, and nothing of it is kept."""
        name = await api.dataset()
        status, problem = await api.upload(name, b'{"output": "x"}\n' * 300_000)
        assert (status, problem["code"]) == (413, "body_too_large")
        assert not await left_over(api)

    async def test_too_many_uploads_at_once(self, api: RecordsApi):
        """A process holds four uploads; one more is told to come later, and the four go on."""
        gate = asyncio.Event()

        async def slow():
            yield ndjson({"id": "b", "output": "late"})
            await gate.wait()

        names = [await api.dataset() for _ in range(5)]
        held = [asyncio.create_task(api.upload(name, slow())) for name in names[:4]]

        async def all_held() -> bool:
            return await left_over(api) == 4

        await until(all_held)
        status, problem = await api.upload(names[4], ndjson({"id": "a"}))
        assert (status, problem["code"]) == (503, "overloaded")
        gate.set()
        assert [status for status, _ in await asyncio.gather(*held)] == [200] * 4
        assert (await api.upload(names[4], ndjson({"id": "a"})))[0] == 200
