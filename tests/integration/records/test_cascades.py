"""Cascades of two providers over real HTTP: live, certified, and in batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from assay.catalog.certificates import StoredCertificate, newest_certificate, save_certificate
from assay.records.migrate import migrate
from fakes.judges import FAIL, PASS
from fakes.providers.server import FaultServer
from fakes.records_api import RecordsApi, ndjson, running_records_api

CONFIG = """
[providers.{name}]
dialect = "openai_chat"
base_url = "{url}"
[models."{name}/judge"]
provider = "{name}"
name = "judge"
input_usd_per_mtok = {price}
output_usd_per_mtok = {price}
"""
CHEAP, DEAR = {"models": ["cheap/judge"], "samples": 4}, {"models": ["dear/judge"]}
CASE = {"output": "Paris.", "input": "Capital of France?"}


class Providers:
    """The service before two providers, the second a hundred times dearer."""

    def __init__(self, api: RecordsApi, cheap: FaultServer, dear: FaultServer) -> None:
        self.api, self.cheap, self.dear = api, cheap, dear

    def say(self, cheap: tuple[str, ...], dear: str = FAIL) -> None:
        """Let the cheap judge answer with these in turn, and the dear one with this."""
        answers = cycle(cheap)
        self.cheap.answer = lambda _: next(answers)
        self.dear.answer = dear
        self.cheap.count = self.dear.count = 0

    async def judge(self, **fields: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The only result of an evaluation, and the evaluation."""
        body = await self.api.ok("POST", "/v1/evaluations", {**CASE, **fields})
        [result] = body["results"]
        return result, body

    async def certify(self, name: str, revision: str, thresholds: list[float | None]) -> None:
        """Keep a certificate of the evaluator's first version."""
        stores = await self.api.service.services.open_stores()
        found = await stores.evaluators.find("one", name)
        assert found is not None
        shown = {"thresholds": thresholds, "alpha": 0.1, "delta": 0.1, "coverage": 0.9}
        certificate = StoredCertificate(found.version, revision, {"rubric": shown}, {"n": 200})
        await save_certificate(stores, "one", found.id, certificate)
        assert await newest_certificate(stores, "one", found) == certificate
        assert await newest_certificate(stores, "two", found) is None


@pytest_asyncio.fixture
async def providers(tmp_path: Path) -> AsyncIterator[Providers]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'records.db'}"
    await asyncio.to_thread(migrate, url)
    async with FaultServer() as cheap, FaultServer() as dear:
        config = "".join(
            CONFIG.format(name=name, url=server.base_url("openai"), price=price)
            for name, server, price in (("cheap", cheap, 1), ("dear", dear, 100))
        )
        async with running_records_api(tmp_path, url, config) as api:
            yield Providers(api, cheap, dear)


def judged_by(thresholds: list[float] | None = None, **fields: Any) -> dict[str, Any]:
    return {"cascade": {"tiers": [CHEAP, DEAR], "thresholds": thresholds}, **fields}


async def test_the_second_provider_is_asked_where_the_first_is_unsure(providers: Providers) -> None:
    """Never before; the result has the calls, tokens and cost of both."""
    wanted = {"criteria": ["It is right."], "judge": judged_by([0.9, 0.0])}
    providers.say((PASS,))
    sure, _ = await providers.judge(**wanted)
    assert (sure["passed"], providers.cheap.count, providers.dear.count) == (True, 4, 0)
    providers.say((PASS, FAIL))
    unsure, body = await providers.judge(**wanted)
    assert (unsure["passed"], providers.cheap.count, providers.dear.count) == (False, 4, 1)
    record = unsure["judge"]["cascade"]
    assert (record["tier"], record["certified"]) == (1, False)
    assert [tier["confidence"] for tier in record["tiers"]] == [0.5, None]
    assert [tier["model"] for tier in record["tiers"]] == ["served-1", "served-1"]
    attempts = unsure["judge"]["attempts"]
    assert [attempt["provider"] for attempt in attempts] == ["cheap"] * 4 + ["dear"]
    costs = [tier["cost_usd"] for tier in record["tiers"]]
    assert 0 < costs[0] < costs[1]
    assert sum(costs) == pytest.approx(unsure["cost_usd"]) == pytest.approx(body["cost_usd"])
    assert sum(one["usage"]["input_tokens"] for one in attempts) == body["usage"]["input_tokens"]


async def test_without_the_first_provider_the_second_decides(providers: Providers) -> None:
    """The failure of the first is shown in its tier; without both, it is a problem."""
    providers.say((PASS,), dear=PASS)
    await providers.cheap.play("refused")
    wanted = {"criteria": ["It is right."], "judge": judged_by([0.9, 0.0])}
    result, _ = await providers.judge(**wanted)
    first, second = result["judge"]["cascade"]["tiers"]
    assert (first["model"], first["reason"]) == ("cheap/judge", "providers_unavailable")
    assert (second["passed"], result["passed"]) == (True, True)
    assert "connection_refused" in {one["outcome"] for one in result["judge"]["attempts"]}
    await providers.dear.play("refused")
    status, problem = await providers.api.call("POST", "/v1/evaluations", {**CASE, **wanted})
    assert (status, problem["code"]) == (503, "providers_unavailable")


async def test_an_evaluators_certificate_gives_thresholds(providers: Providers) -> None:
    """Certified for its own revision only; a newer certificate goes first, and no certificate
    applies to an evaluator without a cascade."""
    api = providers.api
    providers.say((PASS, PASS, PASS, FAIL))
    name = await api.evaluator(["It is right."], judge=judged_by())
    before, body = await providers.judge(evaluator=name)
    assert (before["judge"]["cascade"]["tier"], providers.dear.count) == (None, 1)
    revision = body["evaluator"]["revision"]
    for named, thresholds, tier, certified in (
        ("an older revision", [0.7, 0.0], 0, False),
        (revision, [0.7, 0.0], 0, True),
        (revision, [0.8, 0.0], 1, True),
        (revision, [None, 0.0], 1, True),
    ):
        await providers.certify(name, named, thresholds)
        result, body = await providers.judge(evaluator=name)
        record = result["judge"]["cascade"]
        assert (record["tier"], record["certified"]) == (tier, certified)
        assert body["evaluator"] == {"revision": revision, "name": name, "version": 1}
    sent, _ = await providers.judge(evaluator=name, judge=judged_by([0.0, 0.0]))
    assert sent["judge"]["cascade"]["certified"] is False
    plain, _ = await providers.judge(evaluator=name, judge=CHEAP)
    assert plain["judge"]["cascade"] is None
    version = {"criteria": ["It is right."], "judge": judged_by()}
    await api.ok("POST", f"/v1/evaluators/{name}/versions", version)
    newer, _ = await providers.judge(evaluator=name)
    assert newer["judge"]["cascade"]["tier"] is None
    example = {"case": CASE, "expect": {"rubric": {"passed": True}}}
    version["examples"] = [example]
    await api.ok("POST", f"/v1/evaluators/{name}/versions", version)
    await providers.certify(name, revision, [0.7, 0.0])
    tested = await api.ok("POST", f"/v1/evaluators/{name}/versions/3/test")
    [tried] = tested["results"]
    assert tried["evaluation"]["results"][0]["judge"]["cascade"]["certified"] is True


async def test_a_batch_keeps_the_certificate_of_its_creation(providers: Providers) -> None:
    """Its rows are judged by the thresholds of its creation; its forecast is an upper bound."""
    api = providers.api
    providers.say((PASS, PASS, PASS, FAIL))
    name = await api.evaluator(["It is right."], judge=judged_by())
    _, body = await providers.judge(evaluator=name)
    await providers.certify(name, body["evaluator"]["revision"], [0.7, 0.0])
    wanted = {"evaluator": name, "items": [{"id": id_, **CASE} for id_ in "ab"], "start": False}
    forecast = await api.ok("POST", "/v1/batches?dry_run=true", wanted)
    assert (forecast["is_upper_bound"], forecast["calls"]) == (True, 2 * (4 + 1))
    plain = await api.ok("POST", "/v1/batches?dry_run=true", {**wanted, "judge": CHEAP})
    assert (plain["is_upper_bound"], plain["calls"]) == (False, 2 * 4)
    made = await api.ok("POST", "/v1/batches", wanted)
    await providers.certify(name, "another", [1.0, 1.0])
    await api.ok("POST", f"/v1/batches/{made['id']}/start")
    for row in await api.results(made):
        [result] = row["results"]
        record = result["judge"]["cascade"]
        assert (record["tier"], record["certified"], result["passed"]) == (0, True, True)


async def test_a_bad_cascade_costs_nothing(providers: Providers) -> None:
    """Each fault is named by its pointer, and nobody is asked."""
    providers.say((PASS,))
    for judge, pointer in (
        (judged_by([0.9]), "/judge/cascade"),
        ({"cascade": {"tiers": [CHEAP]}}, "/judge/cascade/tiers"),
        ({"cascade": {"tiers": [CHEAP, {"models": ["x"]}]}}, "/judge/cascade/tiers/1"),
        ({"cascade": {"tiers": [CHEAP, DEAR | {"cache": True}]}}, "/judge/cascade/tiers/1/cache"),
        (judged_by(models=["cheap/judge"]), "/judge"),
    ):
        body = {**CASE, "criteria": ["right"], "judge": judge}
        status, problem = await providers.api.call("POST", "/v1/evaluations", body)
        assert status == 422, problem
        assert problem["errors"][0]["pointer"].startswith(pointer), problem
    pair = {"output_a": "a", "output_b": "b", "criteria": "better", "judge": judged_by()}
    status, problem = await providers.api.call("POST", "/v1/comparisons", pair)
    assert (status, problem["errors"][0]["pointer"]) == (422, "/judge/cascade")
    assert providers.cheap.count == providers.dear.count == 0


async def test_a_calibration_certifies_a_cascade(providers: Providers) -> None:
    """Labels of a batch that asked every tier certify thresholds, which then apply; a batch that
    stopped at the first tier certifies nothing, and an attempt after a failure is told."""
    api, rows = providers.api, 120
    judge = {"cascade": {"tiers": [CHEAP, DEAR]}}
    evaluator = await api.evaluator([{"type": "rubric", "name": "right", "rubric": "It is right."}],
                                    judge=judge)  # fmt: skip
    dataset = await api.dataset(*({"id": str(n), **CASE, "input": str(n)} for n in range(rows)))
    providers.say((PASS,), dear=PASS)
    batch, _ = await api.batch(evaluator=evaluator, dataset=dataset)
    labels = [
        {"item": {"dataset": dataset, "id": str(n)}, "criterion": "right", "annotator": "a",
         "passed": True} for n in range(rows)
    ]  # fmt: skip
    headers = {"Content-Type": "application/x-ndjson"}
    await api.ok("POST", "/v1/labels", data=ndjson(*labels), headers=headers)
    wanted = {"batch": batch["id"], "cascade": {"alpha": 0.01, "delta": 0.1}}
    refused = await api.ok("POST", "/v1/calibrations", wanted)
    assert refused["certificate"] is None
    (report,) = refused["criteria"][0]["reports"]
    assert "too few" in report["certificate"]["statement"]
    await api.ok("DELETE", f"/v1/calibrations/{refused['id']}")
    wanted["cascade"]["alpha"] = 0.2
    issued = await api.ok("POST", "/v1/calibrations", wanted)
    (report,) = issued["criteria"][0]["reports"]
    certificate = report["certificate"]
    assert issued["certificate"].startswith("certificate_")
    assert certificate["disagreements"] == 0
    assert (certificate["attempts"], certificate["coverage"]) == (2, 1.0)
    providers.say((PASS,))
    result, _ = await providers.judge(evaluator=evaluator)
    assert result["judge"]["cascade"]["certified"]
    assert providers.dear.count == 0
    later, _ = await api.batch(evaluator=evaluator, dataset=dataset)
    refused = await api.ok("POST", "/v1/calibrations", {**wanted, "batch": later["id"]})
    assert refused["certificate"] is None
    assert "did not come to every tier" in refused["criteria"][0]["statements"][0]


async def test_an_attempt_counts_in_all_versions_of_a_dataset(providers: Providers) -> None:
    """Its versions share items and labels: one more item makes no labels that were never tried."""
    api, plain = providers.api, [{"type": "rubric", "name": "right", "rubric": "It is right."}]
    evaluator = await api.evaluator(plain, judge={"cascade": {"tiers": [CHEAP, DEAR]}})
    providers.say((PASS,), dear=PASS)
    dataset = await api.dataset({"id": "1", **CASE, "input": api.name()})
    item = {"dataset": dataset, "id": "1"}
    label = {"item": item, "criterion": "right", "annotator": "a", "passed": True}
    await api.ok("POST", "/v1/labels", label)
    attempts = []
    for number in range(2):
        batch, _ = await api.batch(evaluator=evaluator, dataset=dataset)
        wanted = {"batch": batch["id"], "cascade": {"alpha": 0.1, "delta": 0.1}}
        found = await api.ok("POST", "/v1/calibrations", wanted)
        (report,) = found["criteria"][0]["reports"]
        attempts.append(report["certificate"]["attempts"])
        more = ndjson({"id": f"more {number}", **CASE, "input": api.name()})
        headers = {"Content-Type": "application/x-ndjson"}
        await api.ok("POST", f"/v1/datasets/{dataset}/items", data=more, headers=headers)
    assert attempts == [1, 2]
