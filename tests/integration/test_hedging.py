"""Hedging over real HTTP: the slow answers of a provider are not waited for, at few calls more."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from assay.api.requests import EvaluationRequest
from assay.bootstrap.judging import Judging, open_judging
from assay.criteria.judge import judge_spec
from assay.domain.completion import Caller
from assay.domain.evaluation import CriterionResult
from assay.domain.events import AttemptFinished, HedgeFinished
from assay.domain.policy import Deadline
from assay.domain.supervision import Supervisor
from assay.evaluation.sandbox.pool import SandboxPool
from assay.redis.client import connect
from assay.routing.hedge_times import ANSWERS_MIN
from assay.settings import Settings
from fakes.engine import engine
from fakes.providers.faults import SLOW
from fakes.providers.server import FaultServer
from fakes.recorded_events import RecordedEvents
from fakes.redis_process import RedisProcess

VERDICTS = 300
SLOW_EVERY = 20
SIDE_BY_SIDE = 4
LATENCY_S = 0.02
MORE_CALLS = 0.06


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    server = RedisProcess(tmp_path_factory.mktemp("redis"), keep=False)
    yield server
    server.stop()


@contextlib.asynccontextmanager
async def judging_by(
    redis: RedisProcess, events: RecordedEvents, **servers: FaultServer
) -> AsyncIterator[Judging]:
    """A judge with a model at each server, in order."""
    model = {"requests_per_minute": 60_000, "name": "judge-1", "slots": 16}
    priced = {**model, "input_usd_per_mtok": 1.0, "output_usd_per_mtok": 1.0, "free": False}
    settings = Settings.model_validate(
        {
            "providers": {
                name: {"dialect": "openai", "base_url": server.base_url("openai")}
                for name, server in servers.items()
            },
            "models": {f"{name}/judge": {**priced, "provider": name} for name in servers},
            "judges": {"default": {"models": [f"{name}/judge" for name in servers], "hedge": True}},
            "retry": {"budget_share": MORE_CALLS, "budget_per_s": 0.0},
        }
    )
    client = connect(redis.url)
    try:
        async with open_judging(settings, client, events, Supervisor(events)) as judging:
            yield judging
    finally:
        await client.aclose()


async def judge_many(
    judging: Judging, events: RecordedEvents, verdicts: int, judge: object = None
) -> list[CriterionResult]:
    """Verdicts on as many different outputs, a few at a time."""
    evaluator = engine(judging.judges, SandboxPool(events), events)
    limit = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(number: int) -> CriterionResult:
        asked = EvaluationRequest.model_validate(
            {"output": f"Paris {number}.", "criteria": ["The answer is correct."]}
        )
        async with limit:
            outcome = await evaluator.evaluate(
                asked.to_case(),
                asked.criteria,
                judge=judge_spec(judge),
                caller=Caller(),
                deadline=Deadline.after(30.0),
                metadata={},
            )
        return outcome.evaluation.results[0]

    return list(await asyncio.gather(*map(one, range(verdicts))))


async def test_slow_answers_are_not_waited_for_at_few_calls_more(redis):
    """One answer in twenty takes ten times as long: most of them lose against a hedge.

    Each call that was sent stands in the attempts of a verdict, and is counted by an event.
    """
    events = RecordedEvents()
    async with (
        FaultServer(requests_kept=VERDICTS) as first,
        FaultServer() as second,
        judging_by(redis, events, first=first, second=second) as judging,
    ):
        first.latency_s = second.latency_s = LATENCY_S
        await first.play(SLOW, every=SLOW_EVERY)
        results = await judge_many(judging, events, VERDICTS)
        slow = list(first.requests)[SLOW_EVERY - 1 :: SLOW_EVERY]
        due = slow[ANSWERS_MIN // SLOW_EVERY + 1 :]
        left = [request for request in due if request.gone.is_set()]
    assert {result.status for result in results} == {"scored"}
    hedges = events.of(HedgeFinished)
    assert first.count == VERDICTS
    assert 0 < second.count <= len(hedges) <= MORE_CALLS * VERDICTS
    # A busy machine makes usual answers late, too, and the budget is spent on them.
    assert len(left) >= len(due) // 3
    attempts = [attempt for result in results for attempt in result.judge.attempts]
    sent = [one for one in events.of(AttemptFinished) if one.outcome in ("ok", "superseded")]
    assert len(attempts) == len(sent) == VERDICTS + len(hedges)
    assert {attempt.outcome for attempt in attempts} == {"ok", "superseded"}
    assert all(attempt.cost_usd > 0 for attempt in attempts)
    breaker = judging.layers[0].guarded.breaker
    assert breaker.state == "closed"
    assert breaker._window.totals()[1:] == (0, 0)


async def test_without_hedging_every_slow_answer_is_waited_for(redis):
    """A request can turn it off, and then no call is sent twice."""
    events = RecordedEvents()
    async with (
        FaultServer() as first,
        FaultServer() as second,
        judging_by(redis, events, first=first, second=second) as judging,
    ):
        await first.play(SLOW, every=SLOW_EVERY)
        await judge_many(judging, events, ANSWERS_MIN + 40, {"hedge": False})
    assert (first.count, second.count) == (ANSWERS_MIN + 40, 0)
    assert not any(request.gone.is_set() for request in first.requests)
    assert events.of(HedgeFinished) == []


async def test_no_hedge_is_sent_that_a_cost_cap_does_not_cover(redis):
    """The late one is waited for and the verdict is given.

    The cap has room for what one call can cost, and not for that beside what a call did cost: a
    late call that answers just as its hedge begins leaves no room for the hedge either.
    """
    events = RecordedEvents()
    async with (
        FaultServer() as first,
        FaultServer() as second,
        judging_by(redis, events, first=first, second=second) as judging,
    ):
        first.latency_s = LATENCY_S
        await first.play(SLOW, every=SLOW_EVERY)
        results = await judge_many(judging, events, ANSWERS_MIN + 40, {"max_cost_usd": 0.00246})
    assert {result.status for result in results} == {"scored"}
    assert (first.count, second.count) == (ANSWERS_MIN + 40, 0)
    refused = [one for one in events.of(AttemptFinished) if one.outcome == "cost_cap_reached"]
    assert refused
    assert {one.model for one in refused} == {"second/judge"}
    assert events.of(HedgeFinished) == []
