"""Reservations made or settled in one call are as they would be one by one, on a real Redis."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from dataclasses import dataclass, field

import pytest
from redis.asyncio import Redis

from assay.domain.policy import Quota
from assay.domain.supervision import Supervisor
from assay.resilience.quota.quotas import ModelQuota, Quotas
from assay.resilience.quota.reservations import ReservationRequest, Reserved, SettledReservation
from fakes.recorded_events import RecordedEvents
from fakes.redis_process import RedisProcess, servers

SLOW = Quota(requests_per_minute=60, tokens_per_minute=60, burst_share=1.0)
"""One of each a second: what time brings back is little beside the costs."""
TENANT = "acme"
EVENTS = RecordedEvents()


@pytest.fixture(scope="module", params=servers().items(), ids=lambda item: item[0])
def server(request, tmp_path_factory):
    process = RedisProcess(tmp_path_factory.mktemp("redis"), request.param[1])
    yield process
    process.stop()


@pytest.fixture
async def quotas(server):
    redis = Redis.from_url(server.url)
    made = Quotas(redis, Supervisor(EVENTS), budget_s=5.0, shares={TENANT: 0.5})
    yield made
    await made.aclose()
    await redis.aclose()


@dataclass
class Story:
    """What is reserved and how it ends, to be replayed on several models."""

    seed: int
    model: ModelQuota
    ended: list[SettledReservation] = field(default_factory=list)

    async def reserve(self) -> None:
        """Reservations of all kinds, in the order in which they are to be settled."""
        rng = random.Random(self.seed)
        for _ in range(40):
            granted = await self._granted(rng)
            ended = SettledReservation(granted, self._actual(rng))
            if rng.random() < 0.2:
                await self.model.settle([ended])
            self.ended.append(ended)
            if rng.random() < 0.1:
                self.ended.append(ended)

    async def _granted(self, rng: random.Random) -> Reserved:
        costs = {"requests": float(rng.randint(1, 9)), "tokens": float(rng.randint(5, 99))}
        kind = rng.random()
        if kind < 0.15:
            return Reserved(uuid.uuid4().hex, 0.0, "")
        if kind < 0.3:
            return Reserved(uuid.uuid4().hex, 0.0, "", local=costs)
        tenant = rng.choice([TENANT, ""])
        ask = ReservationRequest(
            costs, wait_max_s=1e6, lookahead_s=1e6, tenant=tenant, joins_queue=False
        )
        granted = await self.model.reserve(ask)
        assert isinstance(granted, Reserved)
        return granted

    def _actual(self, rng: random.Random) -> dict[str, float]:
        actual = {"requests": float(rng.randint(0, 9)), "tokens": float(rng.randint(0, 199))}
        return {name: cost for name, cost in actual.items() if rng.random() < 0.8}


@pytest.mark.parametrize("seed", range(6))
async def test_settled_together_is_settled_one_by_one(quotas, seed):
    """Those that are settled already, unknown, kept locally or given twice change nothing more."""
    started_s = time.monotonic()
    together, apart = (Story(seed, quotas.of(f"model-{uuid.uuid4().hex}", SLOW)) for _ in range(2))
    for story in (together, apart):
        await story.reserve()
    await together.model.settle(together.ended)
    for each in apart.ended:
        await apart.model.settle([each])
    one, other = await together.model.status(), await apart.model.status()
    assert one.left == pytest.approx(other.left, abs=time.monotonic() - started_s + 0.01)
    assert other.left["tokens"] < -500
    assert together.model.local._balances == apart.model.local._balances


async def test_what_was_settled_together_is_settled(quotas):
    """A second settlement of the same reservations finds none of them."""
    started_s = time.monotonic()
    story = Story(99, quotas.of(f"model-{uuid.uuid4().hex}", SLOW))
    await story.reserve()
    await story.model.settle(story.ended)
    before = (await story.model.status()).left
    more = [
        SettledReservation(settled.reservation, {"tokens": 1e6})
        for settled in story.ended
        if not settled.reservation.local
    ]
    await story.model.settle(more)
    after = (await story.model.status()).left
    assert after == pytest.approx(before, abs=time.monotonic() - started_s + 0.01)


async def test_nothing_to_settle_makes_no_call(quotas):
    """No call is made for nothing, nor for what only this process knows of."""
    model = quotas.of(f"model-{uuid.uuid4().hex}", SLOW)
    await model.settle([])
    await model.settle(
        [SettledReservation(Reserved("a", 0.0, "", local={"tokens": 1.0}), {"tokens": 3.0})]
    )
    assert not [key async for key in quotas.redis.scan_iter(f"{model._prefix}*")]
    assert model.local._balances == [0.0, -2.0]


@pytest.mark.parametrize("seed", range(6))
async def test_reserved_together_is_reserved_one_by_one(quotas, seed):
    """Promised, too long, never and deferred: in order, each with the wait that it has alone."""
    started_s = time.monotonic()
    slower = Quota(requests_per_minute=1, tokens_per_minute=1, burst_share=1.0)
    together, apart = (quotas.of(f"model-{uuid.uuid4().hex}", slower) for _ in range(2))
    rng = random.Random(seed)
    asked = [
        ReservationRequest(
            {"requests": float(rng.randint(1, 3)), "tokens": float(rng.randint(1, 60))},
            tenant=rng.choice([TENANT, ""]),
            wait_max_s=rng.choice([30.0, 9_000.0, 1e6]),
            lookahead_s=rng.choice([6.0, 1e6, 1e6]),
            waited_s=rng.uniform(0, 3),
            joins_queue=rng.random() < 0.3,
        )
        for _ in range(60)
    ]
    calls = await _script_calls(quotas.redis)
    at_once = await asyncio.gather(*(together.reserve(one) for one in asked))
    assert await _script_calls(quotas.redis) - calls <= 6
    one_by_one = [await apart.reserve(one) for one in asked]
    took_s = time.monotonic() - started_s + 0.01
    assert [type(one) for one in at_once] == [type(one) for one in one_by_one]
    assert len({type(one) for one in at_once}) == 3
    for one, other in zip(at_once, one_by_one, strict=True):
        assert one.bucket == other.bucket
        assert one.wait_s == pytest.approx(other.wait_s, abs=took_s)
    left, other_left = (await together.status()).left, (await apart.status()).left
    assert left == pytest.approx(other_left, abs=took_s)


async def _script_calls(redis: Redis) -> int:
    stats = await redis.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "eval"))


async def test_a_burst_asks_for_one_quota_only(quotas):
    """However many ask at once: none gets a share of the process on top of what Redis grants."""
    model = quotas.of(f"model-{uuid.uuid4().hex}", Quota(requests_per_minute=60, burst_share=1.0))
    started_s, lookahead_s = time.monotonic(), 30.0
    results = await asyncio.gather(
        *(
            model.reserve(
                ReservationRequest({"requests": 1.0}, lookahead_s=lookahead_s, joins_queue=False)
            )
            for _ in range(600)
        )
    )
    granted = [one for one in results if isinstance(one, Reserved)]
    (bucket,) = model.buckets
    most = bucket.capacity + bucket.rate_per_s * (lookahead_s + time.monotonic() - started_s)
    assert 5 <= len(granted) <= most
    assert not any(one.local for one in granted)
