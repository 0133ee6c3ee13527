"""The jobs of one batch, step by step: real Redis, and a server of the providers' batch APIs."""

import asyncio
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis

from assay.batches.collecting import JobCollector, JobPolicy
from assay.domain.batches import NewBatch, NewRow
from assay.domain.events import AttemptFinished, ProviderJobChanged
from assay.domain.models import Model
from assay.domain.provider_jobs import DeferredCall
from assay.domain.supervision import Supervisor
from assay.providers import ProviderClient, ProviderConfig, build_model
from assay.providers.jobs import JOB_APIS
from assay.store.batches.batches import RedisBatches
from assay.store.batches.deferred import RedisDeferredCalls
from assay.store.batches.keys import DEFERRED, BatchKeys
from assay.store.batches.queue import RedisJobQueue
from assay.store.idempotency.leases import RedisIdempotency
from fakes.providers.jobs import Job, JobServer
from fakes.recorded_events import RecordedEvents
from fakes.redis_process import RedisProcess

BATCH = f"batch_{1:032x}"
MODEL = Model("m", "p", "m", input_usd_per_mtok=10.0, output_usd_per_mtok=100.0, discount=0.5)
POLICY = JobPolicy(poll_s=0.01, gather_s=60.0, lost_after_s=0.0, wait_s=3_600.0)
DIALECTS = ("openai", "anthropic", "gemini")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    process = RedisProcess(tmp_path_factory.mktemp("redis"), keep=False)
    yield process
    process.stop()


@pytest.fixture
async def redis(server):
    server.command("FLUSHALL")
    async with Redis.from_url(server.url) as client:
        yield client


@pytest.fixture
async def provider():
    async with JobServer() as running:
        yield running


class Bench:
    """A running batch of `rows` parked rows with one call each, and collectors for its jobs."""

    def __init__(self, redis, provider, dialect, events):
        self.calls = RedisDeferredCalls(redis)
        self.queue = RedisJobQueue(redis, "worker")
        self.events = events
        self.settled = []
        self.client = ProviderClient(
            ProviderConfig("p", provider.base_url(dialect), stream=False, api_key=lambda: "key")
        )
        self.api = JOB_APIS[dialect](build_model(dialect, MODEL, self.client), "m")
        self.leases = RedisIdempotency(redis, Supervisor(events))
        self.now_ms = time.time_ns() // 1_000_000
        self._redis = redis

    async def fill(self, rows):
        store = RedisBatches(self._redis, rows_max=1_000)
        await store.create(NewBatch(BATCH, "one", self.now_ms, self.now_ms + 600_000, b"{}"))
        await store.add(BATCH, [NewRow(n, f"row-{n}", b"{}") for n in range(rows)])
        await store.start(BATCH)
        for claim in await self.queue.claim(BATCH, rows):
            key, body = f"{claim.index:032x}", _body(claim.index)
            call = DeferredCall(key, claim.key, "m", body, "one", ("rubric",), f"r{claim.index}")
            assert await self.calls.put(BATCH, call)
            assert not await self.calls.put(BATCH, call)
            await self.queue.park(claim, {key})
        return store

    def collector(self, policy=POLICY, apis=None):
        apis = {"m": (MODEL, self.api)} if apis is None else apis
        return JobCollector(
            self.calls, apis, self.leases, lambda *one: self.settled.append(one), self.events,
            policy, time_ms=lambda: self.now_ms,
        )  # fmt: skip

    def states(self):
        return [event.state for event in self.events.of(ProviderJobChanged)]

    async def released(self, rows=100):
        return await self.queue.claim(BATCH, rows)


def _body(number):
    return json.dumps({
        "model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": f"q{number}"}],
        "contents": [{"role": "user", "parts": [{"text": f"q{number}"}]}],
    }).encode()  # fmt: skip


@pytest.fixture
async def bench(redis, provider, request):
    made = Bench(redis, provider, getattr(request, "param", "openai"), RecordedEvents())
    yield made
    await made.client.aclose()


@pytest.mark.parametrize("bench", DIALECTS, indirect=True)
async def test_a_job_is_sent_polled_collected_and_forgotten(bench, provider, redis):
    """Its answers are counted and settled once each at the lower price, and its rows go on."""
    store = await bench.fill(3)
    collector = bench.collector()
    await collector.look(BATCH)
    assert len(await bench.calls.jobs(BATCH)) == 1
    assert await bench.released() == []
    await collector.look(BATCH)
    claims = await bench.released()
    assert [claim.resumed for claim in claims] == [True] * 3
    attempts = bench.events.of(AttemptFinished)
    assert [(event.outcome, event.criteria) for event in attempts] == [("ok", ("rubric",))] * 3
    assert {event.cost_usd for event in attempts} == {(120 * 10 + 30 * 100) / 2e6}
    assert sorted(one[1] for one in bench.settled) == ["r0", "r1", "r2"]
    assert bench.states() == ["submitted", "ended"]
    await store.cancel(BATCH)
    await collector.look(BATCH)
    assert await redis.smembers(DEFERRED) == set()
    assert not await redis.exists(BatchKeys(BATCH).calls)


@pytest.mark.parametrize("bench", DIALECTS, indirect=True)
async def test_a_lost_submission_is_found_on_any_page_and_not_repeated(bench, provider):
    """The provider took the job and the answer was lost: it is found behind other jobs."""
    provider.fault, provider.page = "lost_answer", 1
    await bench.fill(2)
    collector = bench.collector(replace(POLICY, lost_after_s=600.0))
    await collector.look(BATCH)
    (job,) = await bench.calls.jobs(BATCH)
    assert job.id == ""
    for number in range(3):
        dialect = next(iter(provider.jobs.values())).dialect
        provider.jobs[f"later-{number}"] = Job(
            f"later-{number}", dialect, "another's", [("x", {})] * 5, dialect
        )
    for _ in range(3):
        await collector.look(BATCH)
    assert len(await bench.released()) == 2
    assert set(provider.paid.values()) == {1}
    assert bench.states() == ["found", "ended"]


@pytest.mark.parametrize("bench", ["anthropic"], indirect=True)
async def test_a_job_of_the_same_size_that_is_another_s_is_let_go(bench, provider):
    """It is followed to its end and not cancelled; its results show that it is not ours."""
    provider.fault = "lost_answer"
    await bench.fill(2)
    collector = bench.collector(replace(POLICY, lost_after_s=600.0))
    await collector.look(BATCH)
    other = Job("other", "anthropic", "", [("their-1", {}), ("their-2", {})], "anthropic")
    provider.jobs["other"] = other
    for _ in range(6):
        await collector.look(BATCH)
    assert len(await bench.released()) == 2
    assert set(provider.paid.values()) == {1}
    assert not other.deleted
    assert not provider.cancelled


async def test_a_job_that_was_never_made_is_sent_again_after_a_while(bench, provider):
    """As long as it may still appear in the provider's list, it is only looked for."""
    provider.fault = "unavailable"
    await bench.fill(2)
    collector = bench.collector(replace(POLICY, lost_after_s=30.0))
    await collector.look(BATCH)
    await collector.look(BATCH)
    assert not provider.jobs
    bench.now_ms += 31_000
    await collector.look(BATCH)
    assert len(provider.jobs) == 1
    await collector.look(BATCH)
    assert len(await bench.released()) == 2


async def test_of_many_workers_one_looks_after_a_batch(bench, provider):
    """Collectors at the same time make one job of the calls, and count each answer once."""
    await bench.fill(4)
    provider.polls = 3
    collectors = [bench.collector() for _ in range(5)]
    for _ in range(8):
        await asyncio.gather(*(collector._look_after(BATCH) for collector in collectors))
    assert len(provider.jobs) == 1
    assert len(bench.events.of(AttemptFinished)) == 4


async def test_a_full_outbox_becomes_several_jobs(bench, provider, monkeypatch):
    """By the number of calls, or by their size: a call that is too large by itself goes alone."""
    monkeypatch.setattr(type(bench.api), "calls_max", 3)
    await bench.fill(5)
    await bench.collector().look(BATCH)
    assert [len(job.calls) for job in provider.jobs.values()] == [3, 2]


async def test_calls_are_gathered_while_rows_may_bring_more(bench, provider, redis):
    """With a row that is not parked, the outbox waits until it is old enough."""
    await bench.fill(3)
    await redis.hincrby(BatchKeys(BATCH).meta, "total", 1)
    await bench.collector().look(BATCH)
    assert not provider.jobs
    await bench.collector(replace(POLICY, gather_s=0.0)).look(BATCH)
    assert len(provider.jobs) == 1


async def test_a_job_that_takes_too_long_is_cancelled_and_asked_directly(bench, provider):
    """After the longest time it is cancelled; what it answered until then is used."""
    provider.polls = 1_000
    await bench.fill(4)
    collector = bench.collector()
    await collector.look(BATCH)
    bench.now_ms += 3_601_000
    await collector.look(BATCH)
    assert len(provider.cancelled) == 1
    found = [await bench.calls.find(BATCH, f"{n:032x}") for n in range(4)]
    assert sorted(one.state for one in found) == ["answered"] * 2 + ["undelivered"] * 2
    assert len(await bench.released()) == 4


async def test_a_model_that_is_gone_from_the_configuration_holds_no_row_back(bench, provider):
    """Its calls are closed, so that the rows go on and say why they have no score."""
    await bench.fill(2)
    await bench.collector().look(BATCH)
    await bench.collector(apis={}).look(BATCH)
    assert len(await bench.released()) == 2
    assert bench.states() == ["submitted", "lost"]


async def test_jobs_from_before_the_submission_are_not_looked_through(bench, provider):
    """The search ends where the list is older than the job: a long history costs nothing."""
    provider.fault, provider.page = "unavailable", 1
    old = datetime.now(UTC) - timedelta(days=1)
    for number in range(200):
        id_ = f"old-{number}"
        provider.jobs[id_] = Job(id_, "openai", "x", [("x", {})], "openai", made=old)
    await bench.fill(1)
    collector = bench.collector(replace(POLICY, lost_after_s=600.0))
    await collector.look(BATCH)
    before = provider.requests
    await collector.look(BATCH)
    assert provider.requests - before == 1


async def test_a_job_over_the_provider_s_limit_is_sent_again_later(bench, provider):
    """It failed as a whole because too many tokens wait there: nothing is asked directly."""
    provider.fault = "full"
    await bench.fill(2)
    collector = bench.collector(replace(POLICY, lost_after_s=30.0))
    await collector.look(BATCH)
    await collector.look(BATCH)
    provider.fault = "none"
    await collector.look(BATCH)
    assert len(provider.jobs) == 1
    bench.now_ms += 31_000
    await collector.look(BATCH)
    await collector.look(BATCH)
    assert len(provider.jobs) == 2
    found = [await bench.calls.find(BATCH, f"{n:032x}") for n in range(2)]
    assert [one.state for one in found] == ["answered"] * 2


async def test_a_provider_that_takes_no_job_does_not_hold_rows_for_ever(bench, provider):
    """After the longest time, calls that no job took are asked directly."""
    await bench.fill(2)
    collector = bench.collector()
    for _ in range(3):
        provider.fault = "unavailable"
        await collector.look(BATCH)
    assert await bench.released() == []
    bench.now_ms += 3_601_000
    await collector.look(BATCH)
    assert len(await bench.released()) == 2
    assert not provider.jobs
