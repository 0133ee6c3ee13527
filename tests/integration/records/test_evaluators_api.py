"""/v1/evaluators, and requests that name an evaluator, over HTTP on both databases."""

import json
from dataclasses import replace

import pytest
from sqlalchemy import delete, insert

from assay.criteria import parse_criteria
from assay.criteria.judge import judge_spec
from assay.domain.ids import new_id
from assay.evaluation import revision as revisions
from assay.evaluation.selection import with_parts
from assay.judging.voting import Panel
from assay.records.database import Database
from assay.records.tables import evaluator_versions, evaluators
from fakes.records_api import RecordsApi, pages

pytestmark = pytest.mark.asyncio(loop_scope="module")

REFUND = {"type": "contains", "value": "refund", "name": "refund"}
SPEC = {"criteria": [REFUND], "judge": None, "examples": [], "metadata": {}}
POLITE = "The answer is polite."


async def evaluated(api: RecordsApi, **fields):
    return await api.ok("POST", "/v1/evaluations", {"output": "You get a refund.", **fields})


class TestVersions:
    async def test_a_version_is_read_as_it_was_saved(self, api: RecordsApi):
        """The newest version is read by name, earlier ones by number; the list names each once."""
        first = {
            "name": api.name(),
            "description": "good answers",
            "criteria": [REFUND, POLITE],
            "judge": "both",
            "metadata": {"team": "support", "n": 2**70, "a": {"zz": 1, "b": 2}},
        }
        made = await api.ok("POST", "/v1/evaluators", first)
        assert json.dumps(made["metadata"]) == json.dumps(first["metadata"])  # and in its order
        assert {**made, **first, "version": 1, "object": "evaluator", "examples": []} == made
        path = f"/v1/evaluators/{first['name']}"
        second = await api.ok("POST", f"{path}/versions", {"criteria": [POLITE]})
        assert (second["version"], second["judge"], second["metadata"]) == (2, None, {})
        assert second["description"] == "good answers"
        assert await api.ok("GET", path) == second
        assert await api.ok("GET", f"{path}/versions/1") == made
        assert (await api.ok("GET", f"{path}/versions"))["data"] == [second, made]
        assert await pages(api, f"{path}/versions?limit=1") == [second, made]
        listed = [each for each in await pages(api, "/v1/evaluators?") if each["id"] == made["id"]]
        assert listed == [second]

    async def test_a_diff_is_a_patch(self, api: RecordsApi):
        """The patch from one version to another names what changed; versions must exist."""
        name = await api.evaluator([REFUND])
        changed = {"criteria": [{**REFUND, "value": "voucher"}], "judge": "both"}
        await api.ok("POST", f"/v1/evaluators/{name}/versions", changed)
        path = f"/v1/evaluators/{name}/diff"
        patch = (await api.ok("GET", f"{path}?from=1&to=2"))["patch"]
        assert {"op": "replace", "path": "/criteria/0/value", "value": "voucher"} in patch
        assert {"op": "replace", "path": "/judge", "value": "both"} in patch
        assert (await api.ok("GET", f"{path}?from=2&to=2"))["patch"] == []
        for query in ("", "?from=1", "?from=1&to=3", "?from=0&to=1", "?from=x&to=1"):
            assert (await api.call("GET", path + query))[0] == 404

    @pytest.mark.parametrize(
        ("fields", "code", "pointer"),
        [
            ({"name": "-x"}, "invalid_request", "/name"),
            ({"name": "a@1"}, "invalid_request", "/name"),
            ({"name": "a/b"}, "invalid_request", "/name"),
            ({"criteria": []}, "invalid_request", "/criteria"),
            ({"criteria": [{"type": "nonsense"}]}, "unknown_criterion", "/criteria/0/type"),
            ({"judge": "nobody"}, "unknown_model", None),
            ({"color": 1}, "invalid_request", "/color"),
            ({"examples": [{"case": {}, "expect": {}}]}, "invalid_request", None),
            (
                {"examples": [{"case": {"output": "x"}, "expect": {"other": {"passed": True}}}]},
                "invalid_request",
                None,
            ),
            (
                {"criteria": [{"type": "regex", "pattern": "("}]},
                "invalid_request",
                "/criteria/0/pattern",
            ),
        ],
    )
    async def test_what_cannot_be_used_is_not_saved(self, api: RecordsApi, fields, code, pointer):
        """A fault of an evaluator is named when it is saved, and nothing is saved."""
        document = {"name": api.name(), "criteria": [REFUND], **fields}
        status, problem = await api.call("POST", "/v1/evaluators", document)
        assert (status, problem["code"]) == (422, code)
        if pointer:
            assert problem["errors"][0]["pointer"] == pointer
        name = document["name"].replace("/", "%2F")
        assert (await api.call("GET", f"/v1/evaluators/{name}"))[0] == 404

    async def test_names_are_taken_until_they_are_erased(self, api: RecordsApi):
        """A taken or deleted name is a conflict; an erased one is free."""
        name = await api.evaluator([REFUND])
        document = {"name": name, "criteria": [POLITE]}
        path = f"/v1/evaluators/{name}"
        assert (await api.call("POST", "/v1/evaluators", document))[1]["code"] == "conflict"
        assert (await api.call("DELETE", path))[0] == 204
        assert (await api.call("DELETE", path))[0] == 404
        assert (await api.call("GET", path))[0] == 404
        added = await api.call("POST", f"{path}/versions", {"criteria": [POLITE]})
        assert added[1]["code"] == "not_found"
        assert (await api.call("POST", "/v1/evaluators", document))[1]["code"] == "conflict"
        assert (await api.call("DELETE", f"{path}?erase=yes"))[0] == 422
        assert (await api.call("DELETE", f"{path}?erase=true"))[0] == 204
        assert (await api.ok("POST", "/v1/evaluators", document))["version"] == 1

    async def test_other_tenants_find_nothing(self, api: RecordsApi):
        """Another tenant's evaluator answers 404 to everything, and is in no list."""
        name = await api.evaluator([REFUND])
        path = f"/v1/evaluators/{name}"
        for method, rest, document in (
            ("GET", "", None),
            ("GET", "/versions", None),
            ("GET", "/versions/1", None),
            ("GET", "/diff?from=1&to=1", None),
            ("POST", "/versions", {"criteria": [REFUND]}),
            ("POST", "/versions/1/test", None),
            ("DELETE", "", None),
            ("DELETE", "?erase=true", None),
        ):
            status, body = await api.call(method, path + rest, document, tenant="two")
            assert (status, body["code"]) == (404, "not_found"), rest
        assert await pages(api, "/v1/evaluators?", tenant="two") == []
        assert (await api.ok("GET", path))["name"] == name

    async def test_ten_thousand_are_listed_by_pages(self, api: RecordsApi):
        """Every evaluator is in the pages once, the newest first."""
        names = [
            {"id": new_id("evaluator"), "tenant": "two", "name": f"e{n}", "description": ""}
            for n in range(10_000)
        ]
        versions = [
            {"evaluator_id": each["id"], "version": 1, "created_ms": 1, "spec": SPEC}
            for each in names
        ]
        database = Database(api.records_url, embedded=False)
        async with database.writing() as connection:
            await connection.execute(insert(evaluators).values(newest=1), names)
            await connection.execute(insert(evaluator_versions), versions)
        listed = await pages(api, "/v1/evaluators?limit=100", tenant="two")
        ids = [each["id"] for each in listed]
        assert ids == sorted((each["id"] for each in names), reverse=True)
        async with database.writing() as connection:
            await connection.execute(delete(evaluators).where(evaluators.c.tenant == "two"))
        await database.aclose()

    async def test_pages_go_on_where_they_stopped(self, api: RecordsApi):
        """What is deleted between two pages shifts nothing, and a cursor of another form is
        refused."""
        names = [await api.evaluator([REFUND]) for _ in range(4)]
        page = await api.ok("GET", "/v1/evaluators?limit=2")
        assert [each["name"] for each in page["data"]] == names[:1:-1]
        await api.call("DELETE", f"/v1/evaluators/{names[2]}")
        rest = await api.ok("GET", f"/v1/evaluators?limit=2&cursor={page['next_cursor']}")
        assert [each["name"] for each in rest["data"]] == names[1::-1]
        for query in ("cursor=1", "limit=0", "limit=101", "limit=x"):
            assert (await api.call("GET", f"/v1/evaluators?{query}"))[0] == 422


class TestExamples:
    async def test_examples_are_compared_with_what_is_expected(self, api: RecordsApi):
        """Each example tells what differs; all have to be met."""
        unscored = {"type": "token_f1", "name": "same"}
        examples = [
            {"case": {"output": "a refund"}, "expect": {"refund": {"passed": True}}},
            {"case": {"output": "none"}, "expect": {"refund": {"passed": True, "score_min": 0.5}}},
            {"case": {"output": "none"}, "expect": {"refund": {"score_max": 0.1}}},
            {"case": {"output": "x"}, "expect": {"same": {"score_min": 0}}},
        ]
        name = await api.evaluator([REFUND, unscored], examples=examples)
        tested = await api.ok("POST", f"/v1/evaluators/{name}/versions/1/test")
        assert not tested["passed"]
        results = tested["results"]
        assert [each["passed"] for each in results] == [True, False, True, False]
        assert results[1]["faults"] == ["refund: did not pass"]
        assert results[3]["faults"][0].startswith("same: unscored, ")
        assert results[0]["evaluation"]["evaluator"]["version"] == 1
        await api.ok(
            "POST",
            f"/v1/evaluators/{name}/versions",
            {"criteria": [REFUND], "examples": examples[:1]},
        )
        assert (await api.ok("POST", f"/v1/evaluators/{name}/versions/2/test"))["passed"]
        assert (await api.call("POST", f"/v1/evaluators/{name}/versions/3/test"))[0] == 404

    async def test_a_judge_tries_the_examples(self, api: RecordsApi):
        """Judged examples have verdicts, and a version without examples passes."""
        example = {"case": {"output": "x"}, "expect": {"rubric": {"score_min": 0}}}
        name = await api.evaluator([POLITE], examples=[example])
        tested = await api.ok("POST", f"/v1/evaluators/{name}/versions/1/test")
        assert tested["passed"], tested
        await api.ok("POST", f"/v1/evaluators/{name}/versions", {"criteria": [POLITE]})
        tested = await api.ok("POST", f"/v1/evaluators/{name}/versions/2/test")
        assert (tested["passed"], tested["results"]) == (True, [])


class TestReferences:
    async def test_an_evaluation_by_name(self, api: RecordsApi):
        """A name is the newest version and `name@n` that one; the result says which it was."""
        name = await api.evaluator([REFUND])
        await api.ok("POST", f"/v1/evaluators/{name}/versions", {"criteria": [POLITE, REFUND]})
        newest = await evaluated(api, evaluator=name)
        first = await evaluated(api, evaluator=f"{name}@1")
        inline = await evaluated(api, criteria=[REFUND])
        assert [each["name"] for each in newest["results"]] == ["rubric", "refund"]
        assert (newest["evaluator"]["name"], newest["evaluator"]["version"]) == (name, 2)
        assert first["evaluator"] == {**inline["evaluator"], "name": name, "version": 1}
        assert inline["evaluator"]["name"] is inline["evaluator"]["version"] is None
        assert newest["evaluator"]["revision"] != first["evaluator"]["revision"]

    async def test_a_batch_by_name(self, api: RecordsApi):
        """Each result of a batch names the version that the name meant when it was made."""
        name = await api.evaluator([REFUND])
        items = [{"id": str(number), "output": "a refund"} for number in range(3)]
        batch, results = await api.batch(evaluator=name, items=items)
        inline, others = await api.batch(criteria=[REFUND], items=items)
        assert batch["evaluator"] == f"{name}@1"
        assert inline["evaluator"] is None
        shown = {tuple(sorted(each["evaluator"].items())) for each in results}
        revision = others[0]["evaluator"]["revision"]
        assert shown == {(("name", name), ("revision", revision), ("version", 1))}

    async def test_the_requests_judge_goes_before_the_evaluators(self, api: RecordsApi):
        """A judge in the request replaces that of the evaluator."""
        name = await api.evaluator([POLITE], judge={"models": ["simulated/other"]})
        stored = await evaluated(api, evaluator=name)
        sent = await evaluated(api, evaluator=name, judge={"models": ["simulated/judge"]})
        assert stored["results"][0]["judge"]["model"] == "other"
        assert sent["results"][0]["judge"]["model"] == "judge"
        assert stored["evaluator"]["revision"] != sent["evaluator"]["revision"]

    @pytest.mark.parametrize(
        ("fields", "pointer"),
        [
            ({"evaluator": "missing"}, "/evaluator"),
            ({"evaluator": "known@2"}, "/evaluator"),
            ({"evaluator": "known@0"}, "/evaluator"),
            ({"evaluator": "known@latest"}, "/evaluator"),
            ({"evaluator": "known@99999999999999999999"}, "/evaluator"),
            ({"evaluator": ""}, "/evaluator"),
            ({"evaluator": 7}, "/evaluator"),
            ({"evaluator": {"name": "known"}}, "/evaluator"),
            ({"evaluator": "known' OR '1'='1"}, "/evaluator"),
            ({"evaluator": "known", "criteria": [REFUND]}, "/criteria"),
            ({}, "/criteria"),
        ],
    )
    @pytest.mark.parametrize("path", ["/v1/evaluations", "/v1/batches"])
    async def test_a_reference_that_names_nothing(self, api: RecordsApi, path, fields, pointer):
        """Both requests name the field, and a batch is not made."""
        await api.call("POST", "/v1/evaluators", {"name": "known", "criteria": [REFUND]})
        content = {"output": "x"} if path == "/v1/evaluations" else {}
        status, problem = await api.call("POST", path, {**content, **fields})
        assert (status, problem["code"]) == (422, "invalid_request")
        assert problem["errors"][0]["pointer"] == pointer
        assert "OR '1'" not in problem["detail"]

    async def test_deleted_and_foreign_names_are_not_there(self, api: RecordsApi):
        """Neither a deleted evaluator nor that of another tenant can be used."""
        name = await api.evaluator([REFUND])
        for path in ("/v1/evaluations", "/v1/batches"):
            document = {"evaluator": name, "output": "x"}
            status, problem = await api.call("POST", path, document, tenant="two")
            assert (status, problem["errors"][0]["pointer"]) == (422, "/evaluator")
        await api.call("DELETE", f"/v1/evaluators/{name}")
        document = {"evaluator": f"{name}@1", "output": "x"}
        assert (await api.call("POST", "/v1/evaluations", document))[0] == 422

    async def test_an_idempotency_key_covers_the_name(self, api: RecordsApi):
        """A repeated request gets the first response, though the name means a newer version."""
        name = await api.evaluator([REFUND])
        headers = {"Idempotency-Key": name}
        document = {"evaluator": name, "output": "x"}
        first = await api.ok("POST", "/v1/evaluations", document, headers=headers)
        await api.ok("POST", f"/v1/evaluators/{name}/versions", {"criteria": [POLITE]})
        assert await api.ok("POST", "/v1/evaluations", document, headers=headers) == first


class TestRevision:
    async def test_it_is_that_of_what_is_judged_and_how(self, api: RecordsApi):
        """Equal criteria have one revision, whatever is judged and however they are written; any
        option of the criteria or the judge changes it."""
        base = await self._revision(api, criteria=[POLITE])
        same = [
            await self._revision(api, criteria=[{"type": "rubric", "rubric": POLITE}]),
            await self._revision(api, criteria=[POLITE], output="another"),
            await self._revision(api, criteria=[POLITE], judge="default"),
            await self._revision(api, criteria=[POLITE], metadata={"a": 1}, timeout_ms=5_000),
            await self._revision(api, criteria=[POLITE], judge={"cache": True}),
        ]
        assert set(same) == {base}
        different = [
            await self._revision(api, criteria=[POLITE + " "]),
            await self._revision(api, criteria=[POLITE], judge="both"),
            await self._revision(api, criteria=[POLITE], judge={"models": ["simulated/other"]}),
            await self._revision(api, criteria=[POLITE], judge={"samples": 3}),
            await self._revision(api, criteria=[POLITE], judge={"temperature": 1}),
            await self._revision(api, criteria=[{"type": "rubric", "rubric": POLITE, "weight": 2}]),
            await self._revision(api, criteria=[POLITE, REFUND]),
        ]
        assert len({base, *different}) == 1 + len(different)

    async def _revision(self, api: RecordsApi, **fields) -> str:
        return (await evaluated(api, **fields))["evaluator"]["revision"]

    async def test_templates_and_readers_are_in_it(self, api: RecordsApi, monkeypatch):
        """Another prompt template or version of the reader makes another revision of what is
        judged, and leaves that of checks alone."""

        async def both() -> tuple[str, str]:
            revisions._programs.cache_clear()
            judged = await self._revision(api, criteria=[POLITE])
            return judged, await self._revision(api, criteria=[REFUND])

        before = await both()
        with monkeypatch.context() as patch:
            patch.setattr(revisions, "templates", lambda: "another template")
            templated = await both()
        with monkeypatch.context() as patch:
            patch.setattr(revisions, "READER_VERSION", 0)
            read = await both()
        revisions._programs.cache_clear()
        assert len({before[0], templated[0], read[0]}) == 3
        assert {templated[1], read[1]} == {before[1]}

    async def test_the_models_behind_a_judge_are_in_it(self, api: RecordsApi):
        """A judge that gets another list of models, or a setting of one, has another revision."""
        evaluator = api.service.services.evaluator
        criteria = parse_criteria([POLITE])

        def revision(**changes) -> str:
            panel = list(evaluator._judges.panel(judge_spec(None)))
            members = [replace(member, **changes) for member in panel]
            criterion = criteria[0]
            chosen = replace(judge_spec(None))
            panel_of = Panel(chosen, tuple(members))
            assignment = type("Assignment", (), {"criterion": criterion, "panel": panel_of})
            return revisions.revision(with_parts(criteria), {0: assignment})

        assert revision() == revision()
        assert revision() != revision(fingerprint="another list of models")
