"""Judges with a profile through the whole service: real processes, Redis and HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fakes.providers.server import FaultServer
from fakes.service_process import ServiceProcess, running_service

CONFIG = """
[providers.local]
dialect = "openai"
base_url = "{url}"

[models.prometheus]
provider = "local"
name = "prometheus-7b-v2.0"
profile = "prometheus-2"
free = true
[models.guard]
provider = "local"
name = "llama-guard3:8b"
profile = "llama-guard"
free = true
[models.general]
provider = "local"
name = "general"
free = true

[judges.default]
models = ["prometheus"]
"""
RATED = {"type": "score", "rubric": "Is it right?", "min": 1, "max": 5}
YES_NO = {"type": "boolean", "question": "Is it right?"}
HARM = {"type": "harmful_content"}


def answers(body: dict[str, Any]) -> str:
    """What each of the models says."""
    if body["model"].startswith("llama-guard"):
        return "unsafe\nS2"
    if body["model"].startswith("prometheus"):
        return "Feedback: It names the wrong town. [RESULT] 2"
    return '{"reasoning": "so", "manipulation": "none", "verdict": "no"}'


class Running:
    """The service, and the server of its models."""

    def __init__(self, service: ServiceProcess, server: FaultServer) -> None:
        self.service, self.server = service, server

    async def post(self, *criteria: Any, status: int = 200, **fields: Any) -> Any:
        asked = {"input": "Capital?", "output": "Lyon", "criteria": list(criteria), **fields}
        async with (
            aiohttp.ClientSession(self.service.url) as session,
            session.post("/v1/evaluations", json=asked) as answer,
        ):
            body = await answer.json()
            assert answer.status == status, body
            return body


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with FaultServer() as server:
        server.answer = answers
        async with running_service(tmp_path, CONFIG.format(url=server.base_url("openai"))) as one:
            yield Running(one, server)


async def test_a_trained_judge_is_asked_in_its_frame(running):
    """No schema is sent, the answer is read by its form, and its feedback is the explanation."""
    [found] = (await running.post(RATED))["results"]
    assert (found["status"], found["value"], found["score"]) == ("scored", 2, 0.25)
    assert found["judge"]["read_from"]["method"] == "form:result"
    assert "wrong town" in found["explanation"]
    [sent] = running.server.requests
    assert "response_format" not in sent.body
    assert [message["role"] for message in sent.body["messages"]] == ["system", "user"]
    assert "###Score Rubrics:" in sent.body["messages"][1]["content"]


async def test_a_guard_is_sent_the_conversation_alone(running):
    """Its own template asks; the categories are in the explanation."""
    [found] = (await running.post(HARM, judge={"models": ["guard"]}))["results"]
    assert (found["label"], found["score"], found["passed"]) == ("harmful", 0, False)
    assert found["explanation"] == "unsafe\nS2"
    [sent] = running.server.requests
    assert [message["role"] for message in sent.body["messages"]] == ["user", "assistant"]


async def test_what_a_profile_does_not_serve_is_unscored_or_goes_on(running):
    """Nothing is sent to it; another model of the judge may answer."""
    results = (await running.post(RATED, YES_NO))["results"]
    assert [found["status"] for found in results] == ["scored", "unscored"]
    assert results[1]["reason"] == "input_unsupported"
    assert "prometheus cannot be asked this boolean" in results[1]["explanation"]
    [attempt] = results[1]["judge"]["attempts"]
    assert (attempt["model"], attempt["outcome"]) == ("prometheus", "question_unsupported")
    assert running.server.count == 1
    [found] = (await running.post(YES_NO, judge={"models": ["prometheus", "general"]}))["results"]
    assert (found["status"], found["judge"]["model"]) == ("scored", "served-1")
    outcomes = [one["outcome"] for one in found["judge"]["attempts"]]
    assert outcomes == ["question_unsupported", "ok"]


async def test_criteria_of_a_shared_call_are_asked_apart(running):
    """A frame holds one question: each criterion that is served gets a call of its own."""
    judge = {"models": ["prometheus"], "batch_criteria": True}
    clear = {**RATED, "name": "clear", "rubric": "Is it clear?"}
    results = (await running.post(RATED, clear, YES_NO, judge=judge))["results"]
    assert [found["status"] for found in results] == ["scored", "scored", "unscored"]
    assert running.server.count == 2


async def test_an_unclear_answer_is_asked_for_once_more(running):
    """Then it is unscored, with the reason."""
    running.server.answer = "Feedback: fine. [RESULT] 9"
    [found] = (await running.post(RATED))["results"]
    assert (found["status"], found["reason"]) == ("unscored", "judge_parse_error")
    assert running.server.count == 2
