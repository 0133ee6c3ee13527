"""Panels, shared calls, comparisons and long inputs through the service as a user starts it."""

import json

import aiohttp
import pytest

from fakes.service_process import running_service

CONFIG = """
[providers.simulated]
dialect = "simulated"

[models."one"]
provider = "simulated"
name = "one"
context_tokens = 32_768

[models."two"]
provider = "simulated"
name = "two"
context_tokens = 32_768

[judges.default]
models = ["one", "two"]
"""
LONG = "All is well. " * 78_000
"""About a megabyte."""


@pytest.fixture
async def service(tmp_path):
    async with running_service(tmp_path, CONFIG) as running:
        yield running


async def post(service, path, **fields):
    async with (
        aiohttp.ClientSession(service.url) as session,
        session.post(path, json=fields) as answer,
    ):
        return answer.status, await answer.json()


async def test_judging_more_than_once(service):
    """A panel, a shared call and a comparison end scored, with every call counted once."""
    status, body = await post(
        service,
        "/v1/evaluations",
        output="x",
        criteria=["polite?"],
        judge={"strategy": "panel", "samples": 2},
    )
    [result] = body["results"]
    assert (status, result["judge"]["panel"]) == (200, {"asked": 2, "answered": 2})
    assert [vote["model"] for vote in result["judge"]["votes"]] == ["one", "one", "two", "two"]
    calls = [attempt["usage"]["input_tokens"] for attempt in result["judge"]["attempts"]]
    assert len(calls) == 4
    assert sum(calls) == body["usage"]["input_tokens"]

    status, body = await post(
        service,
        "/v1/evaluations",
        output="x" * 4_000,
        criteria=["polite?", {"type": "checklist", "items": ["short", "right"]}, "kind?"],
        judge={"batch_criteria": True},
    )
    assert [result["status"] for result in body["results"]] == ["scored"] * 3
    shared = body["results"][0]["judge"]["shared_call"]
    assert shared["criteria"] == 3
    assert shared["input_tokens"] == body["usage"]["input_tokens"]
    assert shared["input_tokens_saved"] > shared["input_tokens"] / 2

    status, body = await post(
        service, "/v1/comparisons", output_a="yes", output_b="no", criteria="Which is kinder?"
    )
    assert (status, body["object"], body["simulated"]) == (200, "comparison", True)
    assert body["winner"] in {"a", "b", "tie"}
    assert [order["first"] for order in body["orders"]] == ["a", "b"]
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{service.metrics_url}/metrics") as answer,
    ):
        lines = (await answer.text()).splitlines()
    counted = [line for line in lines if line.startswith("assay_comparisons_total")]
    assert sum(float(line.rpartition(" ")[2]) for line in counted) == 1


async def test_a_megabyte_before_a_small_judge(service):
    """Rejected clearly and for nothing by default; judged in parts where that is asked for."""
    case = {"output": LONG, "criteria": ["calm?"]}
    status, body = await post(service, "/v1/evaluations", **case)
    assert (status, body["results"][0]["reason"]) == (200, "input_too_long")
    assert (body["usage"]["input_tokens"], body["cost_usd"]) == (0, 0)

    status, body = await post(
        service, "/v1/evaluations", **case, judge={"long_input": "map_reduce"}
    )
    [result] = body["results"]
    assert (status, result["status"]) == (200, "scored"), json.dumps(body)[:500]
    assert result["judge"]["long_input"]["chars"] == len(LONG)
    parts = result["judge"]["long_input"]["parts"]
    assert len(result["judge"]["attempts"]) == parts + 1
    assert 8 <= parts <= 16
