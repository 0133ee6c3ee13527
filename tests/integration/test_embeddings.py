"""Embeddings through the whole service: real processes, real Redis, real HTTP."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fakes.providers.dialects import INPUT_TOKENS
from fakes.providers.play import letter_counts
from fakes.providers.server import FaultServer
from fakes.service_process import ServiceProcess, running_service

CONFIG = """
[providers.first]
dialect = "openai"
base_url = "{first}"
[providers.second]
dialect = "gemini"
base_url = "{second}"

[models."first/chat"]
provider = "first"
name = "chat"
input_usd_per_mtok = 0
output_usd_per_mtok = 0
[models."first/embedder"]
provider = "first"
name = "embedder"
kind = "embedding"
input_usd_per_mtok = 1_000
context_tokens = 100
[models."second/embedder"]
provider = "second"
name = "embedder"
kind = "embedding"
input_usd_per_mtok = 2_000
[models."first/unpriced"]
provider = "first"
name = "unpriced"
kind = "embedding"
dimensions = 3
"""
BOTH = """
[embeddings]
models = ["first/embedder", "second/embedder"]
"""
OUTPUT, REFERENCE = "The Loire.", "Loire, the river"
SIMILARITY = {"type": "semantic_similarity"}


def by_hand(one: str, other: str) -> float:
    """The cosine of the letters of two texts, which is how the fake server embeds."""
    a, b = letter_counts([one, other])
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


class Running:
    """The service, and the servers behind its providers."""

    def __init__(self, service: ServiceProcess, first: FaultServer, second: FaultServer) -> None:
        self.service, self.first, self.second = service, first, second

    @property
    def sent(self) -> int:
        return self.first.count + self.second.count

    async def post(self, *criteria: Any, status: int = 200, **fields: Any) -> Any:
        asked = {"output": OUTPUT, "reference": REFERENCE, "criteria": list(criteria), **fields}
        async with (
            aiohttp.ClientSession(self.service.url) as session,
            session.post("/v1/evaluations", json=asked) as answer,
        ):
            body = await answer.json()
            assert answer.status == status, body
            return body

    async def result(self, criterion: Any = SIMILARITY, **fields: Any) -> Any:
        return (await self.post(criterion, **fields))["results"][0]


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with FaultServer() as first, FaultServer() as second:
        config = CONFIG.format(first=first.base_url("openai"), second=second.base_url("gemini"))
        async with running_service(tmp_path, config + BOTH) as service:
            yield Running(service, first, second)


async def test_a_case_is_scored_by_embeddings(running):
    """One call with both texts; score, usage, cost and attempts are those of the model."""
    for criterion in (SIMILARITY, {"type": "text_similarity", "evaluation_metric": "cosine"}):
        result = await running.result(criterion)
        assert result["score"] == pytest.approx(by_hand(OUTPUT, REFERENCE))
        assert result["usage"] == {
            "input_tokens": INPUT_TOKENS,
            "output_tokens": 0,
            "thinking_tokens": 0,
            "cached_tokens": 0,
            "cache_write_tokens": 0,
        }
        assert result["cost_usd"] == pytest.approx(INPUT_TOKENS / 1_000)
        [attempt] = result["judge"]["attempts"]
        assert (attempt["model"], attempt["outcome"]) == ("first/embedder", "ok")
    assert [sent.body["input"] for sent in running.first.requests] == [[OUTPUT, REFERENCE]] * 2


async def test_a_judge_and_an_embedder_work_side_by_side(running):
    """Totals of the response are the sum of both."""
    body = await running.post("It names a river.", SIMILARITY, judge={"models": ["first/chat"]})
    assert [result["status"] for result in body["results"]] == ["scored", "scored"]
    assert body["usage"]["input_tokens"] == 2 * INPUT_TOKENS


async def test_the_next_model_embeds_where_the_first_fails(running):
    """The attempts tell; both texts are embedded by the same model."""
    await running.first.play("500")
    result = await running.result()
    assert result["score"] == pytest.approx(by_hand(OUTPUT, REFERENCE))
    assert result["judge"]["attempts"][-1]["model"] == "second/embedder"
    assert result["cost_usd"] == pytest.approx(2 * INPUT_TOKENS / 1_000)


async def test_vectors_that_cannot_be_used_go_to_the_next_model_once(running):
    """They are paid for, and not asked for again."""
    running.first.vectors = lambda _: [[1.0]]
    result = await running.result()
    assert [attempt["outcome"] for attempt in result["judge"]["attempts"]] == [
        "vectors_unusable",
        "ok",
    ]
    assert result["cost_usd"] == pytest.approx(3 * INPUT_TOKENS / 1_000)
    assert running.sent == 2


async def test_unusable_vectors_everywhere_leave_it_unscored(running):
    """With the reason, at the cost of what was asked."""
    running.first.vectors = running.second.vectors = lambda _: [[0.0], [0.0]]
    result = await running.result()
    assert (result["status"], result["reason"]) == ("unscored", "judge_parse_error")
    assert "zero" in result["explanation"]
    assert result["usage"]["input_tokens"] == 2 * INPUT_TOKENS


async def test_a_stored_embedding_is_used_with_the_cache(running):
    """`cached`, without a call, tokens or cost."""
    first, second = [await running.result(judge={"cache": True}) for _ in range(2)]
    assert (first["cached"], second["cached"], second["cost_usd"]) == (False, True, 0)
    assert first["score"] == second["score"]
    assert running.sent == 1


async def test_a_cost_cap_holds(running):
    """The estimate is a tenth of a cent a token; nothing is sent beyond the cap."""
    result = await running.result(judge={"max_cost_usd": 0.001})
    assert (result["status"], result["reason"]) == ("unscored", "cost_cap_reached")
    assert running.sent == 0


async def test_a_text_beyond_the_window_goes_to_the_larger_model(running):
    """And is unscored where the only model's window is too small."""
    long = "river " * 100
    assert (await running.result(output=long))["status"] == "scored"
    criterion = {**SIMILARITY, "model": "first/embedder"}
    result = await running.result(criterion, output=long)
    assert (result["status"], result["reason"]) == ("unscored", "input_too_long")


@pytest.mark.parametrize(
    ("criterion", "judge", "pointer", "says"),
    [
        ({**SIMILARITY, "model": "first/chat"}, None, "/criteria/0/model", "cannot embed"),
        ({**SIMILARITY, "model": "first/embeder"}, None, "/criteria/0/model", "first/embedder"),
        ("Good?", {"models": ["first/embedder"]}, "/judge", "cannot judge"),
        (
            {"type": "boolean", "question": "?", "judge": "embedders"},
            {"models": ["first/chat"]},
            "/criteria/0/judge",
            "No judge",
        ),
        (
            {**SIMILARITY, "model": "first/unpriced"},
            {"max_cost_usd": 1},
            "/criteria/0/model",
            "no price is known of first/unpriced",
        ),
    ],
)
async def test_a_model_of_the_wrong_kind_is_a_fault_of_its_field(
    running, criterion, judge, pointer, says
):
    """422 before anything is spent."""
    body = await running.post(criterion, judge=judge, status=422)
    [fault] = body["errors"]
    assert fault["pointer"] == pointer
    assert says in fault["message"]
    assert running.sent == 0


async def test_the_models_show_their_kind(running):
    """`GET /v1/models` tells chat models from embedding models, and the metrics name the calls."""
    await running.result()
    async with aiohttp.ClientSession() as session:
        async with session.get(running.service.url + "/v1/models") as answer:
            models = {each["id"]: each for each in (await answer.json())["data"]}
        async with session.get(running.service.metrics_url + "/metrics") as answer:
            metrics = await answer.text()
    assert (models["first/chat"]["kind"], models["first/chat"]["dimensions"]) == ("chat", None)
    unpriced = models["first/unpriced"]
    assert (unpriced["kind"], unpriced["dimensions"]) == ("embedding", 3)
    assert models["first/embedder"]["price_source"] == "configuration"
    assert 'model="first/embedder",outcome="ok"' in metrics


async def test_without_an_embedding_model_the_field_is_at_fault(tmp_path):
    """422 that says what to configure; other criteria of the request cost nothing either."""
    async with FaultServer() as server:
        config = CONFIG.format(first=server.base_url("openai"), second="http://127.0.0.1:9/v1")
        config = config[: config.index('[models."first/embedder"]')]
        async with running_service(tmp_path, config) as service:
            running = Running(service, server, server)
            body = await running.post("Good?", SIMILARITY, status=422)
    [fault] = body["errors"]
    assert fault["pointer"] == "/criteria/1/model"
    assert 'kind = "embedding"' in fault["message"]
    assert server.count == 0


async def test_without_a_configuration_embeddings_are_simulated(tmp_path):
    """Repeatable, and marked as such: the same text is as near as can be."""
    async with running_service(tmp_path) as service:
        running = Running(service, FaultServer(), FaultServer())
        body = await running.post(SIMILARITY, reference=OUTPUT)
        other = [await running.result(SIMILARITY) for _ in range(2)]
    assert (body["simulated"], body["results"][0]["score"]) == (True, pytest.approx(1))
    assert other[0]["value"] == other[1]["value"] != 1


async def test_the_revision_follows_the_dimensions(tmp_path):
    """Other dimensions may give other verdicts, so the evaluator is another one."""
    revisions = []
    async with FaultServer() as server:
        server.vectors = lambda texts: [[1.0] * (2 + len(revisions))] * len(texts)
        config = CONFIG.format(first=server.base_url("openai"), second="http://127.0.0.1:9/v1")
        for dimensions in (2, 3):
            sized = config.replace("dimensions = 3", f"dimensions = {dimensions}")
            async with running_service(tmp_path, sized) as service:
                body = await Running(service, server, server).post(
                    {**SIMILARITY, "model": "first/unpriced"}
                )
            assert body["results"][0]["status"] == "scored"
            revisions.append(body["evaluator"]["revision"])
    assert revisions[0] != revisions[1]
