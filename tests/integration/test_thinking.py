"""Models that think, and refusals that are learned, through the whole nest with real Redis."""

from __future__ import annotations

import contextlib
import json
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from assay.api.requests import EvaluationRequest
from assay.bootstrap.judging import Judging, open_judging
from assay.domain.completion import Caller
from assay.domain.evaluation import CriterionResult, JudgeSpec
from assay.domain.events import ParameterRefused
from assay.domain.policy import Deadline
from assay.domain.supervision import Supervisor
from assay.evaluation.sandbox.pool import SandboxPool
from assay.redis.client import connect
from assay.settings import Settings
from fakes.engine import engine
from fakes.providers.dialects import THOUGHT_TOKENS
from fakes.providers.server import FaultServer
from fakes.recorded_events import RecordedEvents
from fakes.redis_process import RedisProcess
from fakes.service_process import running_service

DIALECTS = ["openai", "openai_responses", "anthropic", "gemini"]
SILENCE_S, THINKING_S, TIMEOUT_S = 0.5, 2.0, 20.0
"""The five seconds, the forty and the sixty of production, on a smaller scale."""
ASKED = EvaluationRequest.model_validate(
    {"input": "Which town?", "output": "Paris.", "criteria": ["The answer is correct."]}
)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    server = RedisProcess(tmp_path_factory.mktemp("redis"), keep=False)
    yield server
    server.stop()


@pytest.fixture
async def first() -> AsyncIterator[FaultServer]:
    async with FaultServer() as server:
        yield server


@pytest.fixture
async def second() -> AsyncIterator[FaultServer]:
    async with FaultServer() as server:
        yield server


@contextlib.asynccontextmanager
async def opened(
    redis: RedisProcess,
    events: RecordedEvents,
    servers: tuple[FaultServer, FaultServer],
    dialect: str,
    *,
    name: str = "",
    **model: Any,
) -> AsyncIterator[Judging]:
    """A judge of two models; the first one's dialect and settings are as given."""
    name = name or uuid.uuid4().hex
    first, second = servers
    tried = {"dialect": dialect, "base_url": first.base_url(dialect)}
    settings = Settings.model_validate(
        {
            "providers": {
                f"{name}-1": {**tried, "silence_timeout_s": SILENCE_S},
                f"{name}-2": {"dialect": "openai", "base_url": second.base_url("openai")},
            },
            "models": {
                f"{name}/first": {"provider": f"{name}-1", "name": "judge-1", **model},
                f"{name}/second": {"provider": f"{name}-2", "name": "judge-2"},
            },
            "judges": {"default": {"models": [f"{name}/first", f"{name}/second"]}},
        }
    )
    client = connect(redis.url)
    try:
        async with (
            Supervisor(events) as supervisor,
            open_judging(settings, client, events, supervisor) as judging,
        ):
            yield judging
    finally:
        await client.aclose()


async def judge(judging: Judging, events: RecordedEvents, **spec: Any) -> CriterionResult:
    outcome = await engine(judging.judges, SandboxPool(events), events).evaluate(
        ASKED.to_case(),
        ASKED.criteria,
        judge=JudgeSpec(**spec),
        caller=Caller(),
        deadline=Deadline.after(TIMEOUT_S),
        metadata={},
    )
    return outcome.evaluation.results[0]


def outcomes(result: CriterionResult) -> list[str]:
    assert result.judge is not None
    return [attempt.outcome for attempt in result.judge.attempts]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("thinks", [True, False], ids=["thinks", "does_not"])
async def test_a_long_thought_scores_on_the_first_attempt(
    redis: RedisProcess, first: FaultServer, second: FaultServer, dialect: str, thinks: bool
) -> None:
    """A model that thinks is waited for; one that does not is left at the silence timeout."""
    first.thinking_s = THINKING_S
    events = RecordedEvents()
    async with opened(redis, events, (first, second), dialect, reasoning=thinks) as judging:
        result = await judge(judging, events)
    assert result.status == "scored"
    assert outcomes(result) == (["ok"] if thinks else ["provider_silent", "ok"])
    assert result.usage.thinking_tokens == THOUGHT_TOKENS


async def test_the_request_says_how_much_to_think(
    redis: RedisProcess, first: FaultServer, second: FaultServer
) -> None:
    """`judge.reasoning_effort` replaces what is configured."""
    events, pair = RecordedEvents(), (first, second)
    async with opened(redis, events, pair, "openai", reasoning_effort="low") as judging:
        await judge(judging, events)
        await judge(judging, events, reasoning_effort="high")
    assert [sent.body["reasoning_effort"] for sent in first.requests] == ["low", "high"]


REFUSED = {
    "openai": ("max_tokens", "temperature", "response_format"),
    "openai_responses": ("temperature", "text.format"),
    "anthropic": ("temperature",),
    "gemini": ("generationConfig.temperature", "generationConfig.responseJsonSchema"),
}


def marked_answer(body: dict[str, Any]) -> str:
    """What a model says that is asked for a marked line, or for an object."""
    asked = re.search(r"VERDICT (\w{8})", json.dumps(body))
    plain = f"It is so.\nVERDICT {asked[1] if asked else ''}: pass"
    return plain if asked else '{"reasoning": "It is so.", "verdict": "pass"}'


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_refusal_costs_one_call_in_all_processes(
    redis: RedisProcess, first: FaultServer, second: FaultServer, dialect: str
) -> None:
    """It is no attempt, the call succeeds all the same, and who starts later knows it."""
    first.refuses, name = REFUSED[dialect], uuid.uuid4().hex
    first.answer = marked_answer
    events, later, pair = RecordedEvents(), RecordedEvents(), (first, second)
    async with opened(redis, events, pair, dialect, name=name) as judging:
        result = await judge(judging, events, temperature=0.0)
        assert outcomes(result)[0] == "ok"
    learned = {event.parameter for event in events.of(ParameterRefused)}
    assert len(learned) == len(first.refuses)
    assert first.count == 1 + len(first.refuses)
    async with opened(redis, later, pair, dialect, name=name) as judging:
        assert (await judge(judging, later, temperature=0.0)).status == "scored"
        statuses = await judging.directory.statuses()
    assert first.count == 2 + len(first.refuses)
    assert statuses[0].refused == learned
    assert not later.of(ParameterRefused)
    assert second.count == 0


CONFIG = """
[redis]
url = "{redis}"
[providers.strict]
dialect = "openai"
base_url = "{base_url}"
[models."strict/judge"]
provider = "strict"
name = "{name}"
[judges.default]
models = ["strict/judge"]
"""


async def test_a_service_knows_what_another_has_learned(
    redis: RedisProcess, first: FaultServer, tmp_path: Path
) -> None:
    """Two real processes on one Redis: the second sends no refused parameter, and shows it."""
    first.refuses = ("temperature",)
    base_url = first.base_url("openai")
    config = CONFIG.format(redis=redis.url, base_url=base_url, name=uuid.uuid4().hex)
    judged = {"output": "Paris.", "criteria": ["It is right."], "judge": {"temperature": 0.0}}
    for name, sent in (("one", 2), ("two", 3)):
        (tmp_path / name).mkdir()
        async with (
            running_service(tmp_path / name, config) as service,
            aiohttp.ClientSession(service.url) as session,
        ):
            async with session.post("/v1/evaluations", json=judged) as answer:
                assert (await answer.json())["status"] == "completed"
            async with session.get("/v1/models") as answer:
                model = (await answer.json())["data"][0]
        assert model["refused_parameters"] == ["temperature"]
        assert first.count == sent
        assert ("parameter_refused" in service.log.read_text()) == (name == "one")
