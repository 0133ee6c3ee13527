"""A model within its quota: waiting, refusing, settling, in one process and in several."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis

from assay.domain.completion import (
    CallContext,
    Caller,
    Completion,
    Priority,
    Prompt,
    Usage,
)
from assay.domain.errors import QuotaExhausted, RateLimited
from assay.domain.events import QuotaWaited
from assay.domain.hedging import HedgedCall
from assay.domain.models import Model
from assay.domain.policy import UNLIMITED, Quota
from assay.domain.supervision import Supervisor
from assay.resilience.limited import Limited
from assay.resilience.queue.fair_order import QueueLimits
from assay.resilience.queue.fair_queue import FairQueue
from assay.resilience.quota.quotas import Quotas
from assay.resilience.quota.reservations import (
    Deferred,
    ReservationRequest,
    SettledReservation,
)
from assay.resilience.token_estimates import KNOWN_AFTER, TokenEstimates
from fakes.batches import until
from fakes.calls import call
from fakes.models import ask
from fakes.queues import limited_model
from fakes.recorded_events import RecordedEvents
from fakes.redis_process import RedisProcess

BENCH = Path(__file__).resolve().parents[2] / "bench" / "sending_times.py"
MODEL = Model("openai/judge", "openai", "judge")
PER_S_95 = Quota(requests_per_minute=6_000, tokens_per_minute=6_000_000)


class Answering:
    """A model that answers with fixed usage, or fails, and notes when it was asked."""

    def __init__(self, usage: Usage | None = None, failure: Exception | None = None) -> None:
        self.usage = usage or Usage(100, 50)
        self.failure = failure
        self.quota_left = {}
        self.asked: list[str] = []

    async def complete(self, prompt: Prompt, context: CallContext) -> Completion:
        self.asked.append(context.caller.request_id)
        if self.failure is not None:
            raise self.failure
        return Completion("ok", "stop", "openai", "judge", self.usage, quota_left=self.quota_left)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    process = RedisProcess(tmp_path_factory.mktemp("redis"), keep=False)
    yield process
    process.stop()


@pytest.fixture
def events():
    return RecordedEvents()


@pytest.fixture
async def quotas(server, events):
    server.command("FLUSHALL")
    redis = Redis.from_url(server.url, max_connections=64)
    made = Quotas(redis, Supervisor(events), budget_s=1.0)
    yield made
    await made.aclose()
    await redis.aclose()


async def complete(
    limited: Limited, seconds: float, name: str = "", priority: Priority = "interactive"
) -> Completion:
    caller = Caller(request_id=name, priority=priority)
    return await limited.complete(ask("x" * 400), call(seconds, caller))


async def left(quotas: Quotas, quota: Quota = PER_S_95) -> dict[str, float]:
    return dict((await quotas.of(MODEL.id, quota).status()).left)


async def test_a_call_is_charged_by_estimate_and_settled_by_its_usage(quotas, events, elapsed_s):
    """Off the request path: what remains charged is what the provider counted."""
    limited = limited_model(Answering(Usage(2_000, 6_000)), MODEL, PER_S_95, quotas, events)
    await complete(limited, 5)
    await limited.aclose()
    now = await left(quotas)
    assert now["requests"] == pytest.approx(94, abs=1 + 95 * elapsed_s())
    # One second of rate is there at the start: 95,000 tokens, of which 8,000 are gone.
    assert now["tokens"] == pytest.approx(87_000, abs=100 + 95_000 * elapsed_s())
    assert len(events.of(QuotaWaited)) == 1


async def test_a_call_that_cannot_be_sent_in_time_is_refused_at_once(quotas, events):
    """With the time at which it could be, and nothing is sent or charged."""
    limited = limited_model(Answering(), MODEL, PER_S_95, quotas, events)
    granted = await quotas.of(MODEL.id, PER_S_95).reserve(ReservationRequest({"requests": 95}))
    await quotas.of(MODEL.id, PER_S_95).settle([SettledReservation(granted, {"requests": 1_000})])
    with pytest.raises(QuotaExhausted) as refusal:
        await complete(limited, 2)
    assert refusal.value.retry_after_s == pytest.approx(9.5, abs=1)
    await limited.aclose()


async def test_answers_are_learned_from_without_a_quota_too(quotas, events):
    """Forecasts and the cost of a cancelled call are estimated from them."""
    estimates = TokenEstimates()
    queue = FairQueue(MODEL.id, "provider_quota", 1, events, QueueLimits(10, 1_000_000))
    limited = Limited(
        Answering(Usage(100, 50)),
        MODEL,
        UNLIMITED,
        quotas,
        events,
        estimates=estimates,
        queue=queue,
    )
    for _ in range(KNOWN_AFTER):
        await limited.complete(ask(), call(5))
    assert estimates.usual(ask()).output_tokens == 50
    await limited.aclose()


async def test_a_hedge_takes_a_token_like_every_call_and_waits_for_none(quotas, events):
    """It would come too late: it is refused, and nothing is charged for it."""
    answering = Answering()
    quota = Quota(requests_per_minute=600)
    limited = limited_model(answering, MODEL, quota, quotas, events)
    bucket = quotas.of(MODEL.id, quota)

    def hedge():
        first = HedgedCall(lambda: Usage(0, 0))
        return replace(call(30), hedged=HedgedCall(lambda: Usage(0, 0), rival=first))

    await limited.complete(ask(), hedge())
    before = (await bucket.status()).left["requests"]
    assert before < 9.5 - 0.5
    await bucket.reserve(ReservationRequest({"requests": before + 5}))
    with pytest.raises(QuotaExhausted):
        await limited.complete(ask(), hedge())
    assert len(answering.asked) == 1
    await limited.complete(ask(), call(30))
    assert len(answering.asked) == 2
    await limited.aclose()


async def test_the_queues_of_other_processes_are_foreseen_whole(server, quotas, events):
    """A refusal here counts all callers that wait there, not only the first of them."""
    per_minute = Quota(requests_per_minute=120)
    redis = Redis.from_url(server.url, max_connections=64)
    elsewhere = Quotas(redis, Supervisor(events), budget_s=1.0)
    there = limited_model(Answering(), MODEL, per_minute, elsewhere, events)
    here = limited_model(Answering(), MODEL, per_minute, quotas, events)
    waiting = []
    for _ in range(20):
        waiting.append(asyncio.create_task(complete(there, 60)))
        await asyncio.sleep(0.01)
    first = asyncio.create_task(complete(here, 60))
    await asyncio.sleep(0.2)
    with pytest.raises(QuotaExhausted) as refusal:
        await complete(here, 5)
    # Some twenty calls at 1.9 a second; the heads alone would take one second.
    assert refusal.value.retry_after_s == pytest.approx(10.5, abs=2)
    for task in (first, *waiting):
        task.cancel()
    await asyncio.gather(first, *waiting, return_exceptions=True)
    for each in (here, there):
        await each.aclose()
    await elsewhere.aclose()
    await redis.aclose()


async def test_a_queue_that_is_too_long_is_not_joined(quotas, events):
    """A caller behind others learns the whole wait before it begins to wait."""
    answering = Answering()
    limited = limited_model(answering, MODEL, Quota(requests_per_minute=600), quotas, events)
    waiting = [asyncio.create_task(complete(limited, 60)) for _ in range(50)]
    await asyncio.sleep(0.2)
    with pytest.raises(QuotaExhausted) as refusal:
        await complete(limited, 1)
    assert refusal.value.retry_after_s == pytest.approx(4.0, abs=1.2)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await limited.aclose()


async def test_waiting_callers_go_by_priority_then_by_arrival(quotas, events):
    """A later urgent request overtakes the batch rows; equals keep their order."""
    answering = Answering()
    limited = limited_model(answering, MODEL, Quota(requests_per_minute=600), quotas, events)
    drained = await quotas.of(MODEL.id, Quota(requests_per_minute=600)).reserve(
        ReservationRequest({"requests": 12, "tokens": 0}, lookahead_s=2)
    )
    assert drained is not None
    tasks = []
    for name in ("batch-1", "batch-2", "batch-3", "urgent-1", "urgent-2"):
        priority = "batch" if name.startswith("batch") else "interactive"
        tasks.append(asyncio.create_task(complete(limited, 30, name, priority)))
        await asyncio.sleep(0.02)
    await asyncio.gather(*tasks)
    assert answering.asked == ["urgent-1", "urgent-2", "batch-1", "batch-2", "batch-3"]
    await limited.aclose()


async def test_an_urgent_call_overtakes_a_batch_row_whose_time_is_near(quotas, events):
    """A batch row takes nothing ahead of its time, so an urgent call never waits behind it."""
    answering = Answering()
    limited = limited_model(answering, MODEL, Quota(requests_per_minute=600), quotas, events)
    drained = ReservationRequest({"requests": 11, "tokens": 0}, lookahead_s=2)
    await quotas.of(MODEL.id, Quota(requests_per_minute=600)).reserve(drained)
    tasks = []
    for name, priority in (("row", "batch"), ("urgent", "interactive")):
        tasks.append(asyncio.create_task(complete(limited, 30, name, priority)))
        await asyncio.sleep(0.02)
    await asyncio.gather(*tasks)
    assert answering.asked == ["urgent", "row"]
    await limited.aclose()


async def test_two_flooded_processes_serve_their_callers_in_order_of_arrival(
    server, quotas, events
):
    """Each process asks for its own callers only; Redis keeps the order between them."""
    quota = Quota(requests_per_minute=1_200)
    redis = Redis.from_url(server.url, max_connections=64)
    other_quotas = Quotas(redis, Supervisor(events), budget_s=1.0)
    answering = Answering()
    pods = [
        limited_model(answering, MODEL, quota, quotas, events),
        limited_model(answering, MODEL, quota, other_quotas, events),
    ]
    await quotas.of(MODEL.id, quota).reserve(ReservationRequest({"requests": 19}))
    calls, names = [], [f"{number:02}" for number in range(40)]
    for number, name in enumerate(names):
        # The first process gets three callers for each one of the second.
        pod = pods[0 if number % 4 else 1]
        calls.append(asyncio.create_task(complete(pod, 30, name)))
        await asyncio.sleep(0.02)
    await asyncio.gather(*calls)
    displaced = [abs(answering.asked.index(name) - number) for number, name in enumerate(names)]
    assert max(displaced) <= 1
    for pod in pods:
        await pod.aclose()
    await other_quotas.aclose()
    await redis.aclose()


async def test_requests_keep_flowing_without_redis(server, quotas, events):
    """From this process's share, and from the shared quota again once Redis is back."""
    answering = Answering()
    limited = limited_model(answering, MODEL, PER_S_95, quotas, events)
    server.pause()
    calls = [complete(limited, 20) for _ in range(40)]
    pending = asyncio.gather(*calls)
    await asyncio.sleep(1.6)
    assert quotas.degraded
    assert answering.asked
    server.resume()
    await pending
    await until(lambda: not quotas.degraded)
    await limited.aclose()


async def test_a_cancelled_call_gives_back_its_reservation(quotas, events):
    """The caller went away in the wait; what it would have sent is there for others."""
    limited = limited_model(Answering(), MODEL, Quota(requests_per_minute=600), quotas, events)
    bucket = quotas.of(MODEL.id, Quota(requests_per_minute=600))
    await bucket.reserve(ReservationRequest({"requests": 9.4}))
    leaving = asyncio.create_task(complete(limited, 30))
    await asyncio.sleep(0.02)
    before = (await bucket.status()).left["requests"]
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await limited.aclose()
    assert (await bucket.status()).left["requests"] >= before + 0.9


async def test_a_429_blocks_the_model_for_everybody(quotas, events):
    """The provider's Retry-After reaches the bucket, and the caller as the error it was."""
    refusing = Answering(failure=RateLimited("slow down", retry_after_s=20))
    limited = limited_model(refusing, MODEL, PER_S_95, quotas, events)
    with pytest.raises(RateLimited):
        await complete(limited, 5)
    await limited.aclose()
    status = await quotas.of(MODEL.id, PER_S_95).status()
    answer = await quotas.of(MODEL.id, PER_S_95).reserve(ReservationRequest({"requests": 1}))
    assert isinstance(answer, Deferred)
    assert answer.wait_s == pytest.approx(20, abs=1)
    assert status.rate_share == pytest.approx(0.7, abs=0.05)


async def test_what_the_provider_says_is_left_lowers_the_balance(quotas, events, elapsed_s):
    """Someone else may use the same key."""
    answering = Answering()
    answering.quota_left = {"requests": 3}
    limited = limited_model(answering, MODEL, PER_S_95, quotas, events)
    await complete(limited, 5)
    await limited.aclose()
    assert (await left(quotas))["requests"] < 4 + 95 * elapsed_s()


@pytest.mark.slow
def test_eight_processes_share_one_rate(server):
    """They use nearly all of it, and no window of time has more than capacity and refill."""
    server.command("FLUSHALL")
    command = [sys.executable, str(BENCH), "--client", server.url, "--seconds", "4"]
    running = [
        subprocess.Popen([*command, "--tasks", "8"], stdout=subprocess.PIPE) for _ in range(8)
    ]
    promised = sorted(
        at_s for each in running for at_s in json.loads(each.communicate()[0])["promised"]
    )
    rate_per_s, capacity = 95.0, 300.0
    span_s = promised[-1] - promised[0]
    assert len(promised) <= capacity + rate_per_s * span_s
    assert len(promised) >= 0.9 * rate_per_s * span_s
    # Clients note the promise a little after Redis made it: some slack, far below the capacity.
    for first in range(0, len(promised), 10):
        for last in range(first, len(promised), 10):
            window_s = promised[last] - promised[first]
            assert last - first <= capacity + rate_per_s * (window_s + 0.1)


@pytest.mark.slow
def test_the_rate_is_used_on_after_processes_were_killed(server):
    """Two of four are killed while they wait and send; the others take over their part."""
    server.command("FLUSHALL")
    command = [sys.executable, str(BENCH), "--client", server.url, "--seconds", "5"]
    running = [
        subprocess.Popen([*command, "--tasks", "8"], stdout=subprocess.PIPE) for _ in range(4)
    ]
    time.sleep(3)
    for each in running[:2]:
        each.kill()
        each.communicate()
    promised = sorted(
        at_s for each in running[2:] for at_s in json.loads(each.communicate()[0])["promised"]
    )
    late = [at_s for at_s in promised if at_s > promised[-1] - 1.2]
    assert 0.7 * 95 * 1.2 <= len(late) <= 300 + 95 * 1.2
