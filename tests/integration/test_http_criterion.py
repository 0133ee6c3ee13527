"""The criterion `http` through a real service: a case is posted to a grader of the operator's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from assay.domain.trace_context import JUDGE_MEMBER
from fakes.batches import create, ended, results, until, upload
from fakes.graders import SECRET, Grader, running_grader
from fakes.service_process import ServiceProcess, running_service
from fakes.spans import chat, export, span

CONFIG = """
[http_criteria]
hosts = ["http://127.0.0.1:{port}", "http://127.0.0.1:9"]
secret_env = "GRADER_SECRET"
timeout_s = {timeout_s}
[breaker]
calls_min = {calls_min}
open_s = 60
"""


class Running:
    """The service and its grader."""

    def __init__(self, service: ServiceProcess, grader: Grader) -> None:
        self.service, self.grader = service, grader

    async def post(self, *criteria: Any, status: int = 200, **fields: Any) -> Any:
        asked = {"output": "It rains.", "criteria": list(criteria), **fields}
        async with (
            aiohttp.ClientSession(self.service.url) as session,
            session.post("/v1/evaluations", json=asked) as answer,
        ):
            body = await answer.json()
            assert answer.status == status, body
            return body

    async def graded(self, path: str, **fields: Any) -> Any:
        """The result of a case beside a check that is scored, so that the status is 200."""
        http = {"type": "http", "url": self.grader.url(path)}
        body = await self.post(http, {"type": "word_count", "max": 9}, **fields)
        return body["results"][0]


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_grader() as grader:
        config = CONFIG.format(port=grader.port, timeout_s=2, calls_min=30)
        async with running_service(tmp_path, config, {"GRADER_SECRET": SECRET}) as service:
            yield Running(service, grader)


async def test_the_case_is_posted_signed_and_the_verdict_is_the_graders(running: Running) -> None:
    """All of the case and the parameters are sent, and nothing else: no key, no header of ours."""
    image = {"type": "image_url", "image_url": {"url": PIXEL}}
    body = await running.post(
        {
            "type": "http",
            "url": running.grader.url("good?team=a&b="),
            "parameters": {"strict": True},
        },
        input=[{"role": "user", "content": [{"type": "text", "text": "Wie ist es? 天気"}, image]}],
        context=["a", "b"],
        reference="It pours.",
        fields={"id": 7},
    )
    [result] = body["results"]
    assert (result["score"], result["passed"], result["label"]) == (0.75, True, "fine")
    assert (result["explanation"], result["cost_usd"]) == ("It is said.", 0)
    [attempt] = result["judge"]["attempts"]
    assert attempt["outcome"] == "ok"
    assert (attempt["provider"], result["judge"]["provider"]) == ("http", "http")
    document = running.grader.verified()
    assert document["output"] == "It rains."
    assert document["input"][0]["content"][0]["text"] == "Wie ist es? 天気"
    assert document["input"][0]["content"][1] == image
    assert document["context"] == ["a", "b"]
    assert document["reference"] == ["It pours."]
    assert (document["fields"], document["parameters"]) == ({"id": 7}, {"strict": True})
    path, headers, _ = running.grader.sent[-1]
    assert path == "/good?team=a&b="
    assert set(headers) == {
        *("host", "accept", "accept-encoding", "user-agent", "content-length", "content-type"),
        *("webhook-id", "webhook-timestamp", "webhook-signature"),
    }
    result = await running.graded("only-score")
    assert (result["score"], result["passed"], result["label"]) == (0.25, False, None)


UNUSABLE = [
    ("redirect", "providers_unavailable", "answered 302"),
    ("500", "providers_unavailable", "answered 500: I am unwell"),
    ("400", "providers_unavailable", "answered 400"),
    ("404", "providers_unavailable", "answered 404"),
    ("cut", "providers_unavailable", "broke off its answer"),
    ("html", "judge_parse_error", "unexpected content type"),
    ("events", "judge_parse_error", "unexpected content type"),
    ("huge", "judge_parse_error", "beyond the size limit"),
    ("nan", "judge_parse_error", "malformed JSON"),
    ("infinite", "judge_parse_error", "malformed JSON"),
    ("broken", "judge_parse_error", "malformed JSON"),
    ("empty", "judge_parse_error", "malformed JSON"),
    ("bytes", "judge_parse_error", "malformed JSON"),
    ("list", "judge_parse_error", "not an object"),
    ("above", "judge_parse_error", "score: Input should be less than or equal to 1"),
    ("text", "judge_parse_error", "score: Input should be a valid number"),
    ("truth", "judge_parse_error", "score: Input should be a valid number"),
    ("none", "judge_parse_error", "score: Field required"),
    ("label", "judge_parse_error", "label: Input should be a valid string"),
]


async def test_any_other_answer_is_unscored_with_the_reason(running: Running) -> None:
    """Never a 0, never a pass; what follows a redirect is not asked."""
    for path, reason, words in UNUSABLE:
        result = await running.graded(path)
        assert (result["status"], result["reason"]) == ("unscored", reason), path
        assert result["score"] is None
        assert words in result["explanation"], path
    assert not running.grader.asked["good"]


async def test_a_grader_that_asks_to_wait_is_asked_again_with_the_same_id(
    running: Running,
) -> None:
    """429 and 503 with Retry-After are honoured within the deadline, by one retry."""
    for path in ("once-429", "once-503"):
        result = await running.graded(path)
        assert (result["status"], len(result["judge"]["attempts"])) == ("scored", 2)
        ids = {headers["webhook-id"] for _, headers, _ in running.grader.sent[-2:]}
        assert len(ids) == 1
    result = await running.graded("429", timeout_ms=500)
    assert (result["reason"], running.grader.asked["429"]) == ("quota_exhausted", 1)


async def test_a_grader_that_never_answers_is_left_at_the_timeout_or_the_deadline(
    running: Running,
) -> None:
    """Its connection is closed, also where the caller goes away."""
    result = await running.graded("never", timeout_ms=700)
    assert result["reason"] == "deadline_exceeded"
    result = await running.graded("never")
    assert result["reason"] == "providers_unavailable"
    assert "silent for 2 s" in result["explanation"]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(running.graded("never"), 0.5)
    await until(lambda: running.grader.closed_early == 3)


async def test_a_dead_host_is_held_back_by_its_breaker_and_others_are_not(
    running: Running,
) -> None:
    """After a few refused connections nothing waits for it any more."""
    dead = {"type": "http", "url": "http://127.0.0.1:9/x"}
    check = {"type": "word_count", "max": 9}
    for number in range(40):
        body = await running.post({**dead, "parameters": {"number": number}}, check)
        assert body["results"][0]["reason"] == "providers_unavailable"
    body = await running.post(dead, check)
    [attempt] = body["results"][0]["judge"]["attempts"]
    assert attempt["outcome"] == "breaker_open"
    assert (await running.graded("good"))["status"] == "scored"


NOT_LISTED = [
    ("https://elsewhere.example/x", "http_criteria.hosts does not allow"),
    ("http://127.0.0.1/x", "http_criteria.hosts does not allow"),
    ("http://localhost:{port}/x", "http_criteria.hosts does not allow"),
    ("https://127.0.0.1:{port}/x", "http_criteria.hosts does not allow"),
    ("http://127.0.0.1:{port}@evil.example/x", "without spaces, user or password"),
    ("http://127.0.0.1:{port}/a#b", "fragment"),
    ("ftp://127.0.0.1:{port}/a", "absolute http or https URL"),
    ("/x", "absolute http or https URL"),
]


async def test_a_host_that_is_not_listed_is_refused_at_the_field(running: Running) -> None:
    """By an evaluation and by an evaluator alike, and nothing is sent."""
    for url, words in NOT_LISTED:
        criterion = {"type": "http", "url": url.format(port=running.grader.port)}
        nested = {"type": "composite", "criteria": {"a": criterion}, "formula": "a"}
        places = ((criterion, "/criteria/0/url"), (nested, "/criteria/0/criteria/a/url"))
        for sent, place in places:
            problem = await running.post(sent, status=422)
            [error] = problem["errors"]
            assert error["pointer"] == place
            assert words in error["message"]
        async with (
            aiohttp.ClientSession(running.service.url) as session,
            session.post("/v1/evaluators", json={"name": "e", "criteria": [criterion]}) as answer,
        ):
            assert answer.status == 422
    assert not running.grader.sent


async def test_rows_of_a_batch_are_posted_by_the_worker(running: Running) -> None:
    """Each once; a composite asks the grader only where its condition holds."""
    criterion = {
        "type": "composite",
        "criteria": {
            "short": {"type": "word_count", "max": 2},
            "graded": {"type": "http", "url": running.grader.url("good"), "when": "short.passed"},
        },
        "formula": "graded if short.passed else 0",
    }
    outputs = ["It rains.", "It rains a lot.", "It pours."]
    rows = [{"id": str(number), "output": output} for number, output in enumerate(outputs)]
    async with aiohttp.ClientSession(running.service.url) as session:
        batch = await create(session, criteria=[criterion])
        await upload(session, batch, "".join(json.dumps(row) + "\n" for row in rows).encode())
        async with session.post(f"/v1/batches/{batch['id']}/start") as answer:
            assert answer.status == 200
        await ended(session, batch)
        found = await results(session, batch, 10)
    scores = [row["results"][0]["score"] for row in found]
    assert scores == [0.75, 0.0, 0.75]
    assert running.grader.asked["good"] == 2


async def test_a_case_of_live_traffic_carries_the_marks_of_a_judges_call(running: Running) -> None:
    """A grader may be an instrumented application: what it does is known when it comes back."""
    criteria = [{"type": "http", "url": running.grader.url("good")}]
    kind = {"Content-Type": "application/x-protobuf"}
    async with aiohttp.ClientSession(running.service.url) as session:
        for path, document in (
            ("/v1/evaluators", {"name": "graded", "criteria": criteria}),
            ("/v1/rules", {"name": "live", "evaluator": "graded"}),
        ):
            async with session.post(path, json=document) as answer:
                assert answer.status == 201, await answer.text()
        body = export(span(1, attributes=chat("Hi", "It rains.")))
        async with session.post("/v1/traces", data=body, headers=kind) as answer:
            assert answer.status == 200
        await until(lambda: running.grader.sent)
    _, headers, _ = running.grader.sent[-1]
    assert headers["tracestate"] == JUDGE_MEMBER
    assert headers["traceparent"].endswith("-00")


async def test_a_forecast_counts_every_call_that_may_be_made(running: Running) -> None:
    """Those that write checklists, those to graders, and those whose conditions may hold."""
    criteria = [
        {"type": "http", "url": running.grader.url("good")},
        {"type": "rubric", "rubric": "r", "when": "http.passed"},
    ]
    rows = [{"id": str(number), "input": "Why?", "output": "So."} for number in range(3)]
    adaptive = {"type": "checklist", "adaptive": True}
    found = {}
    async with aiohttp.ClientSession(running.service.url) as session:
        for name, asked in (("conditional", criteria), ("adaptive", [adaptive])):
            document = {"criteria": asked, "items": rows}
            async with session.post("/v1/batches?dry_run=true", json=document) as answer:
                assert answer.status == 200
                found[name] = await answer.json()
    assert {model["model"]: model["calls"] for model in found["conditional"]["models"]} == {
        f"http://127.0.0.1:{running.grader.port}": 3,
        "simulated/judge": 3,
    }
    assert found["conditional"]["is_upper_bound"]
    assert found["adaptive"]["calls"] == 6
    assert not found["adaptive"]["is_upper_bound"]
    assert not running.grader.sent


async def test_hosts_need_a_secret_of_the_form_of_webhooks(tmp_path: Path) -> None:
    """The service does not start without one, and says which setting is at fault."""
    config = CONFIG.format(port=1, timeout_s=1, calls_min=9)
    for environ in ({}, {"GRADER_SECRET": "whsec_short"}):
        with pytest.raises(Exception, match=r"http_criteria\.secret_env"):
            async with running_service(tmp_path, config, environ):
                pass


PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGA"
    "WjR9awAAAABJRU5ErkJggg=="
)
