"""Limits of tenants, over all processes on a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from assay.domain.batches import NewBatch
from assay.domain.ids import now_ms
from assay.domain.supervision import Supervisor
from assay.domain.tenants import TenantLimited, TenantLimits
from assay.redis.client import BUDGETED, connect
from assay.store.batches.batches import RedisBatches
from assay.store.idempotency.leases import RedisIdempotency
from assay.store.tenants.gate import RedisTenantGate
from assay.store.tenants.storage import RedisTenantStorage
from fakes.http_api import ScriptedEvaluator, running_api
from fakes.recorded_events import RecordedEvents
from fakes.redis_process import RedisProcess

GOOD = {"input": "2+2?", "output": "4", "criteria": "Is it right?"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    process = RedisProcess(tmp_path_factory.mktemp("redis"), keep=False)
    yield process
    process.stop()


@pytest.fixture
async def redis(server: RedisProcess) -> AsyncIterator[Redis]:
    async with Redis.from_url(server.url) as client:
        await client.flushall()
        yield client


@asynccontextmanager
async def gate_on(
    url: str, tenant: str = "default", **limits: Any
) -> AsyncIterator[RedisTenantGate]:
    """A process's gate, where one tenant has limits."""
    client, supervisor = connect(url, BUDGETED), Supervisor(RecordedEvents())
    limited = {tenant: TenantLimits(**limits)}
    gate = RedisTenantGate(client, limited, supervisor, judge_calls_max=256, inflight_s=60)
    try:
        yield gate
    finally:
        await supervisor.stop()
        await client.aclose()


async def commands(redis: Redis) -> int:
    return int((await redis.info("stats"))["total_commands_processed"])


async def taken(count: int, take: Any) -> int:
    """How often something may be taken at once."""
    done = 0
    for _ in range(count):
        try:
            await take()
        except TenantLimited:
            break
        done += 1
    return done


async def test_two_processes_share_a_rate(server: RedisProcess, redis: Redis) -> None:
    """A tenth of a minute may come at once, whichever process it comes to; the wait is told."""
    async with (
        gate_on(server.url, requests_per_minute=100) as one,
        gate_on(server.url, requests_per_minute=100) as other,
    ):
        gates = [one, other] * 10
        assert await taken(20, lambda: gates.pop().count_request("default")) in (10, 11)
        with pytest.raises(TenantLimited) as refused:
            await one.count_request("default")
        assert 0 < refused.value.retry_after_s <= 60 / 90
        await other.count_request("someone else")


async def test_a_refusal_takes_nothing_and_the_rate_comes_back(
    server: RedisProcess, redis: Redis
) -> None:
    """A caller who keeps asking is served as soon as one who waits."""
    async with gate_on(server.url, requests_per_minute=600) as gate:
        assert await taken(2_000, lambda: gate.count_request("default")) < 2_000
        assert await taken(100, lambda: gate.count_request("default")) < 100
        await asyncio.sleep(0.2)  # ten a second come back, less the reserve
        await gate.count_request("default")


async def test_judge_calls_beyond_a_bucket_are_a_debt(server: RedisProcess, redis: Redis) -> None:
    """They fit once the bucket is full, and are paid off before the next ones."""
    async with gate_on(server.url, judge_calls_per_minute=60) as gate:
        await gate.count_judge_calls("default", 60)
        with pytest.raises(TenantLimited) as refused:
            await gate.count_judge_calls("default", 1)
        assert refused.value.limit == "judge-calls"
        assert 50 < refused.value.retry_after_s < 65


async def test_places_are_counted_over_processes_and_given_back(
    server: RedisProcess, redis: Redis
) -> None:
    """Also by a request that fails; one that was refused takes none."""
    async with (
        gate_on(server.url, inflight_max=2) as one,
        gate_on(server.url, inflight_max=2) as other,
        AsyncExitStack() as held,
    ):
        await held.enter_async_context(one.in_flight("default"))
        with pytest.raises(ZeroDivisionError):
            async with other.in_flight("default"):
                raise ZeroDivisionError
        async with other.in_flight("default"):
            with pytest.raises(TenantLimited) as refused:
                async with one.in_flight("default"):
                    pytest.fail("there was no place")
        assert (refused.value.limit, refused.value.quota) == ("in-flight", 2)
        async with other.in_flight("default"):
            pass


async def test_a_tenant_without_limits_costs_no_call(server: RedisProcess, redis: Redis) -> None:
    """Not one command reaches Redis."""
    async with gate_on(server.url, "acme", requests_per_minute=1, inflight_max=1) as gate:
        before = await commands(redis)
        async with gate.in_flight("default"):
            await gate.count_request("default")
            await gate.count_judge_calls("default", 5)
        assert await commands(redis) == before + 1  # the INFO before


async def test_while_redis_is_gone_nobody_is_limited(tmp_path: Any) -> None:
    """Rates of tenants are fairness: requests keep flowing."""
    async with gate_on(f"unix://{tmp_path}/none", requests_per_minute=1, inflight_max=1) as gate:
        for _ in range(3):
            async with gate.in_flight("default"):
                await gate.count_request("default")


async def test_the_refusal_of_a_request_is_documented(server: RedisProcess, redis: Redis) -> None:
    """429 `tenant_rate_limited`, with the wait and the RateLimit fields, and no judge is asked."""
    evaluator = ScriptedEvaluator()
    async with (
        gate_on(server.url, requests_per_minute=10) as gate,
        running_api(evaluator=evaluator, gate=gate) as api,
    ):
        assert (await api.post(GOOD))[0] == 200
        status, headers, problem = await api.post(GOOD)
        assert (status, problem["code"]) == (429, "tenant_rate_limited")
        assert problem["detail"] == "Your tenant's limit is reached: 10 requests a minute."
        assert headers["ratelimit-policy"] == '"requests";q=10;w=60'
        assert headers["ratelimit"] == f'"requests";r=0;t={headers["retry-after"]}'
        async with api.http.get(api.url + "/v1/criteria") as answer:
            assert answer.status == 429
    assert len(evaluator.calls) == 1


async def test_a_place_is_held_until_the_response(server: RedisProcess, redis: Redis) -> None:
    """A second request of the tenant is refused meanwhile, and served afterwards."""
    evaluator = ScriptedEvaluator()
    evaluator.hold = asyncio.Event()
    async with (
        gate_on(server.url, inflight_max=1) as gate,
        running_api(evaluator=evaluator, gate=gate) as api,
    ):
        first = asyncio.create_task(api.post(GOOD))
        while not evaluator.calls:  # noqa: ASYNC110 # the other side is a server under test
            await asyncio.sleep(0.005)
        status, headers, problem = await api.post(GOOD)
        assert (status, problem["code"]) == (429, "tenant_rate_limited")
        assert headers["ratelimit-policy"] == '"in-flight";q=1'
        evaluator.hold.set()
        assert (await first)[0] == 200
        assert (await api.post(GOOD))[0] == 200


async def test_idempotency_keys_of_a_tenant_are_bounded(server: RedisProcess, redis: Redis) -> None:
    """A known key is answered still, and a key whose request failed is free again."""
    limits = {"default": TenantLimits(idempotency_keys_max=2)}
    client, supervisor = connect(server.url), Supervisor(RecordedEvents())
    store = RedisIdempotency(client, supervisor, limits=limits)
    evaluator = ScriptedEvaluator()
    try:
        async with running_api(evaluator=evaluator, idempotency=store) as api:
            evaluator.error = RuntimeError("a fault")
            assert (await api.post(GOOD, idempotency_key="failed"))[0] == 500
            evaluator.error = None
            for key in ("one", "two", "one"):
                assert (await api.post(GOOD, idempotency_key=key))[0] == 200
            status, headers, problem = await api.post(GOOD, idempotency_key="three")
            assert (status, problem["code"]) == (429, "tenant_rate_limited")
            assert headers["ratelimit-policy"] == '"idempotency-keys";q=2'
            assert (await api.post(GOOD))[0] == 200
    finally:
        await supervisor.stop()
        await client.aclose()


@asynccontextmanager
async def storage_on(url: str, **limits: Any) -> AsyncIterator[tuple[Any, RedisBatches]]:
    client = connect(url)
    storage = RedisTenantStorage(client, {"default": TenantLimits(**limits)}, 60.0)
    try:
        yield storage, RedisBatches(client, rows_max=10)
    finally:
        await client.aclose()


def new_batch(number: int) -> NewBatch:
    return NewBatch(f"batch_{number}", "default", now_ms(), now_ms() + 60_000, b"{}")


async def test_a_batch_that_ended_makes_room_for_another(
    server: RedisProcess, redis: Redis
) -> None:
    """Cancelled and deleted ones do not count."""
    async with storage_on(server.url, batches_open_max=2) as (storage, store):
        for number in range(2):
            await store.create(new_batch(number))
            await storage.open_batch("default", f"batch_{number}")
        with pytest.raises(TenantLimited) as refused:
            await storage.open_batch("default", "batch_2")
        assert refused.value.limit == "open-batches"
        await store.cancel("batch_0")
        await store.create(new_batch(2))
        await storage.open_batch("default", "batch_2")
        found = await store.find("default", "batch_1")
        assert found is not None
        await store.delete(found)
        await storage.open_batch("default", "batch_3")
        await storage.open_batch("someone else", "batch_4")


async def test_bytes_of_a_deleted_batch_are_free_again(server: RedisProcess, redis: Redis) -> None:
    """What is taken off, because it was known, is free as well."""
    async with storage_on(server.url, stored_bytes_max=100) as (storage, store):
        await store.create(new_batch(1))
        await storage.add_bytes("default", "batch_1", 80)
        with pytest.raises(TenantLimited):
            await storage.add_bytes("default", "batch_1", 30)
        await storage.add_bytes("default", "batch_1", -10)
        await storage.add_bytes("default", "batch_1", 30)
        found = await store.find("default", "batch_1")
        assert found is not None
        await store.delete(found)
        await store.create(new_batch(2))
        await storage.add_bytes("default", "batch_2", 100)
