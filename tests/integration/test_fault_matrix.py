"""Every fault of each provider, streamed or not, through the whole nest with a fallback.

The faults are those of a public benchmark of failover, and more: refused, reset, TLS, silence
before the first byte and in the middle, a slow drip, a truncated stream, malformed JSON, every
usual 4xx and 5xx, 429 with and without Retry-After, an answer of 10 MB, the wrong content type, and
a redirect. Cases run side by side, since most of them wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from assay.api.requests import EvaluationRequest
from assay.bootstrap.judging import Judging, open_judging
from assay.domain.completion import Caller
from assay.domain.errors import (
    UNSENT_OUTCOMES,
    AnswerRefused,
    AnswerTruncated,
    ModelError,
    ProviderSilent,
    StreamBroken,
)
from assay.domain.evaluation import CriterionResult, JudgeSpec
from assay.domain.events import AttemptFinished
from assay.domain.policy import Deadline
from assay.domain.supervision import Supervisor
from assay.evaluation.sandbox.pool import SandboxPool
from assay.redis.client import connect
from assay.settings import Settings
from fakes.engine import engine
from fakes.providers.clouds import CLOUD_MODELS, CLOUD_SETTINGS
from fakes.providers.faults import FAULTS
from fakes.providers.server import DECIDING, PATHS, PROTOCOLS, FaultServer
from fakes.recorded_events import RecordedEvents
from fakes.redis_process import RedisProcess

TIMEOUT_S = 30.0
SILENCE_S = 1.0
PATIENT_SILENCE_S = 20.0
"""Where silence is not the fault: longer than a busy machine stands still."""
SIDE_BY_SIDE = 8
ASKED = EvaluationRequest.model_validate(
    {"input": "Which town?", "output": "Paris.", "criteria": ["The answer is correct."]}
)


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    server = RedisProcess(tmp_path_factory.mktemp("redis"), keep=False)
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clouds take a key here; test_cloud_credentials.py has their own ways."""
    monkeypatch.setenv("MATRIX_KEY", "matrix-0123456789-secret")


@dataclass
class JudgedByTwo:
    """A judge of models at two providers, of which the first misbehaves; the last is healthy."""

    judging: Judging
    events: RecordedEvents

    async def judge(self) -> CriterionResult:
        sandbox = SandboxPool(self.events)
        outcome = await engine(self.judging.judges, sandbox, self.events).evaluate(
            ASKED.to_case(),
            ASKED.criteria,
            judge=JudgeSpec(),
            caller=Caller(),
            deadline=Deadline.after(TIMEOUT_S),
            metadata={},
        )
        return outcome.evaluation.results[0]

    def counted(self) -> tuple[int, int, int]:
        """What the first model's breaker has in its window: calls, failed and slow ones."""
        return tuple(self.judging.layers[0].guarded.breaker._window.totals())


@contextlib.asynccontextmanager
async def opened(
    url: str,
    dialect: str,
    stream: bool,
    first: FaultServer,
    second: FaultServer,
    failing: int = 1,
    silence_s: float = PATIENT_SILENCE_S,
) -> AsyncIterator[JudgedByTwo]:
    # Names of their own keep the breakers and buckets of the cases apart in one Redis.
    name = uuid.uuid4().hex
    provider = {"silence_timeout_s": PATIENT_SILENCE_S, "stream": stream}
    model = {"requests_per_minute": 60_000, "name": "judge-1"}
    failing_model = {**model, "name": CLOUD_MODELS.get(dialect, "judge-1")}
    firsts = [f"{name}/first-{number}" for number in range(failing)]
    settings = Settings.model_validate(
        {
            "providers": {
                "first": {
                    **provider,
                    "silence_timeout_s": silence_s,
                    **CLOUD_SETTINGS.get(dialect, {"dialect": dialect}),
                    "base_url": first.base_url(dialect),
                    "api_key_env": "MATRIX_KEY",
                },
                "second": {**provider, "dialect": "openai", "base_url": second.base_url("openai")},
            },
            "models": {
                **{
                    model_id: {**failing_model, "provider": "first", "context_tokens": 8_000}
                    for model_id in firsts
                },
                f"{name}/second": {**model, "provider": "second"},
            },
            "judges": {"default": {"models": [*firsts, f"{name}/second"]}},
        }
    )
    client, events = connect(url), RecordedEvents()
    try:
        async with open_judging(settings, client, events, Supervisor(events)) as judging:
            await judging.shared.fleet.share_now()
            yield JudgedByTwo(judging, events)
    finally:
        await client.aclose()


def silence_s(name: str) -> float:
    """How long the first provider may be silent: short only where the fault is silence."""
    return SILENCE_S if FAULTS[name].raises is ProviderSilent else PATIENT_SILENCE_S


def meaning(name: str, dialect: str, stream: bool) -> type[ModelError] | None:
    """What the fault is to the nest; None where the answer is a verdict all the same."""
    fault = FAULTS[name]
    if dialect in DECIDING:  # answers without words, and never in a stream
        if fault.behaviour == "answer" and fault.ending != "prompt_blocked":
            return None
        return StreamBroken if name == "error_mid" else fault.raises
    if fault.ending in ("refusal", "length"):
        return AnswerRefused if fault.ending == "refusal" else AnswerTruncated
    if PROTOCOLS[dialect].filter_is_refusal and fault.ending in (
        "content_filter",
        "prompt_blocked",
    ):
        return AnswerRefused
    return StreamBroken if name == "error_mid" and not stream else fault.raises


async def side_by_side(case: Callable[[str], Awaitable[None]]) -> None:
    """Run the case for each fault, to its end; a failure names its fault."""
    slots = asyncio.Semaphore(SIDE_BY_SIDE)

    async def run(name: str) -> None:
        async with slots:
            try:
                await case(name)
            except Exception as error:
                error.add_note(f"fault: {name}")
                raise

    ended = await asyncio.gather(*map(run, FAULTS), return_exceptions=True)
    if failures := [error for error in ended if isinstance(error, Exception)]:
        raise ExceptionGroup("some faults end otherwise", failures)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("dialect", [*PATHS, *DECIDING])
async def test_every_fault_ends_as_the_table_says(redis, dialect, stream):
    """Scored before the deadline, or not where no other model could do better; all is on record."""
    await side_by_side(lambda name: ends_as_the_table_says(redis, name, dialect, stream))


async def ends_as_the_table_says(
    redis: RedisProcess, name: str, dialect: str, stream: bool
) -> None:
    error = meaning(name, dialect, stream)
    async with FaultServer() as first, FaultServer() as second:
        first.drip_s = 0.02
        await first.play(name)
        async with opened(
            redis.url, dialect, stream, first, second, silence_s=silence_s(name)
        ) as panel:
            deadline = Deadline.after(TIMEOUT_S)
            score = await panel.judge()
            assert deadline.remaining_s() > 0
            counted = panel.counted()
            noted = [event.outcome for event in panel.events.of(AttemptFinished)]

    outcomes = [attempt.outcome for attempt in score.judge.attempts]
    if error is None:
        assert (score.status, outcomes) == ("scored", ["ok"])
        assert score.judge.provider == "first"
    elif error.next_candidate != "none":
        assert score.status == "scored"
        assert score.judge.provider == "second"
        assert outcomes[-1] == "ok"
        assert set(outcomes[:-1]) == {error.outcome}
    else:
        assert (score.status, score.reason, score.score) == ("unscored", error.reason, None)
        assert outcomes == [error.outcome]
    assert noted == outcomes
    assert len(outcomes) <= 3

    failures = sum(
        error.call_result.failed for outcome in outcomes if error and outcome == error.outcome
    )
    # A cut answer is asked for once more, with twice the output limit.
    answered = 2 if error is AnswerTruncated else error in (None, AnswerRefused)
    assert counted[:2] == (failures + answered, failures)


async def test_five_models_in_any_trouble_leave_the_verdict_to_the_sixth(redis):
    """Each model is asked, none more than twice, and the last one serves within the deadline."""

    async def reaches_the_last(name: str) -> None:
        error = meaning(name, "openai", stream=True)
        if error is None or error.next_candidate == "none":
            return
        async with FaultServer() as first, FaultServer() as second:
            await first.play(name)
            async with opened(
                redis.url, "openai", True, first, second, failing=5, silence_s=silence_s(name)
            ) as panel:
                score = await panel.judge()
        models = [attempt.model for attempt in score.judge.attempts]
        assert (score.status, score.judge.provider) == ("scored", "second")
        assert len(set(models)) == 6
        assert max(map(models.count, models)) <= 2
        assert len(models) <= 8

    await side_by_side(reaches_the_last)


async def test_a_prompt_too_long_for_all_is_said_to_be(redis):
    """No larger window is left: unscored at once, without asking the others in vain."""
    async with FaultServer() as first, FaultServer() as second:
        await first.play("none")
        await second.play("context")
        async with opened(redis.url, "openai", True, first, second) as panel:
            await first.play("context")
            score = await panel.judge()
    assert (score.status, score.reason) == ("unscored", "input_too_long")
    assert [attempt.outcome for attempt in score.judge.attempts] == ["context_exceeded"] * 2


@pytest.mark.parametrize("fault", ["silent", "silent_mid", "429"])
async def test_redis_gone_and_the_first_provider_in_trouble(tmp_path, fault):
    """Two faults at once: the fallback's verdict all the same."""
    server = RedisProcess(tmp_path, keep=False)
    try:
        async with FaultServer() as first, FaultServer() as second:
            await first.play(fault)
            async with opened(
                server.url, "openai", True, first, second, silence_s=silence_s(fault)
            ) as panel:
                server.kill()
                score = await panel.judge()
    finally:
        server.stop()
    assert (score.status, score.judge.provider) == ("scored", "second")
    sent = [e.outcome for e in score.judge.attempts if e.outcome not in UNSENT_OUTCOMES]
    assert len(sent) == 2
