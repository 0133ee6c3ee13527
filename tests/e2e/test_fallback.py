"""With two providers and the first in trouble, the second one's verdict comes back in time."""

import json

import aiohttp
import pytest

from fakes.providers.server import FaultServer
from fakes.service_process import running_service

CONFIG = """
[providers.first]
dialect = "{first_dialect}"
base_url = "{first_url}"
api_key_env = "FIRST_KEY"

[providers.second]
dialect = "anthropic"
base_url = "{second_url}"

[models."first/judge"]
provider = "first"
name = "judge-1"

[models."second/judge"]
provider = "second"
name = "judge-2"
"""

CASE = {
    "input": "Which town is the seat of the French government?",
    "output": "Paris.",
    "criteria": ["The answer is correct."],
    "timeout_ms": 12_000,
}

TROUBLES = {
    "refused": "connection_refused",
    "500": "server_error",
    "401": "key_rejected",
    "429": "rate_limited",
    "silent": "provider_silent",
}


@pytest.mark.parametrize("fault", TROUBLES)
async def test_the_second_provider_answers_for_the_first(tmp_path, fault):
    """`attempts` shows both: what the first one did, and that the second one served."""
    async with FaultServer() as first, FaultServer() as second:
        first.silence_s = 20
        config = CONFIG.format(
            first_dialect="openai",
            first_url=first.base_url("openai"),
            second_url=second.base_url("anthropic"),
        )
        await first.play(fault)
        async with (
            running_service(tmp_path, config, {"FIRST_KEY": "sk-secret-of-the-first"}) as service,
            aiohttp.ClientSession(service.url) as session,
            session.post("/v1/evaluations", json=CASE) as answer,
        ):
            body = await answer.json()
        log = service.log.read_text()
    assert answer.status == 200, body
    result = body["results"][0]
    assert result["status"] == "scored"
    assert result["judge"]["provider"] == "second"
    outcomes = [(attempt["model"], attempt["outcome"]) for attempt in result["judge"]["attempts"]]
    assert outcomes[0] == ("first/judge", TROUBLES[fault])
    assert outcomes[-1] == ("second/judge", "ok")
    assert "sk-secret-of-the-first" not in log
    assert CASE["input"] not in log


async def test_with_every_provider_down_the_answer_is_a_problem(tmp_path):
    """Nothing was scored: 503 with Retry-After, which says which model failed and how."""
    async with FaultServer() as first, FaultServer() as second:
        await first.play("tls")
        await second.play("503")
        config = CONFIG.format(
            first_dialect="gemini",
            first_url=first.base_url("gemini"),
            second_url=second.base_url("anthropic"),
        )
        async with (
            running_service(tmp_path, config) as service,
            aiohttp.ClientSession(service.url) as session,
            session.post("/v1/evaluations", json=CASE) as answer,
        ):
            body = await answer.json()
        log = [json.loads(line) for line in service.log.read_text().splitlines() if line[:1] == "{"]
    assert (answer.status, body["code"]) == (503, "providers_unavailable")
    assert answer.content_type == "application/problem+json"
    assert int(answer.headers["Retry-After"]) >= 1
    assert "first/judge: TLS: wrong version number." in body["detail"]
    assert "second/judge: answered 503: refused for 503." in body["detail"]
    attempts = [(attempt["model"], attempt["outcome"]) for attempt in body["attempts"]]
    assert attempts == [("first/judge", "tls_failed")] * 2 + [("second/judge", "server_error")] * 2
    lines = [line for line in log if line["event"] == "attempt"]
    assert [line["error"] for line in lines] == ["TlsFailed"] * 2 + ["ServerError"] * 2
    assert {line["host"] for line in lines} == {"127.0.0.1"}
    assert lines[-1]["message"] == "second answered 503 (api_error, error)"


async def test_an_unknown_model_is_pointed_at_where_it_was_named(tmp_path):
    """A grader's own `model`, a criterion's judge and the request's judge are three places."""
    grader = {
        "type": "score_model",
        "model": "gone",
        "input": [{"role": "user", "content": "{{sample.output_text}}"}],
    }
    own_judge = {"type": "rubric", "rubric": "Is it right?", "judge": "gone"}
    asked = {
        "/criteria/1/model": {"criteria": ["Is it right?", grader]},
        "/criteria/1/judge": {"criteria": ["Is it right?", own_judge]},
        "/judge": {"criteria": "Is it right?", "judge": "gone"},
    }
    pointers = []
    async with (
        running_service(tmp_path) as service,
        aiohttp.ClientSession(service.url) as session,
    ):
        for fields in asked.values():
            async with session.post("/v1/evaluations", json={"output": "4", **fields}) as answer:
                problem = await answer.json()
                assert problem["code"] == "unknown_model"
                pointers += [fault["pointer"] for fault in problem["errors"]]
    assert pointers == list(asked)
