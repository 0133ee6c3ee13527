"""RESERVE, COMMIT, CANCEL and feedback on every server at hand, on Redis' own clock."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from redis.asyncio import Redis

from assay.domain.policy import Quota
from assay.domain.supervision import Supervisor
from assay.resilience.quota.quotas import ModelQuota, Quotas
from assay.resilience.quota.reservations import (
    LOOKAHEAD_S,
    Deferred,
    Rejected,
    ReservationRequest,
    Reserved,
    SettledReservation,
)
from fakes.recorded_events import RecordedEvents
from fakes.redis_process import RedisProcess, servers

SIXTY_PER_S = Quota(requests_per_minute=3_800, burst_share=0.05)
"""Capacity 190, rate 60 a second."""
EVENTS = RecordedEvents()


@pytest.fixture(scope="module", params=servers().items(), ids=lambda item: item[0])
def server(request, tmp_path_factory):
    process = RedisProcess(tmp_path_factory.mktemp("redis"), request.param[1])
    yield process
    process.stop()


@pytest.fixture
async def redis(server):
    client = Redis.from_url(server.url, max_connections=64)
    yield client
    await client.aclose()


@pytest.fixture
async def quotas(redis):
    made = Quotas(redis, Supervisor(EVENTS), budget_s=1.0)
    yield made
    await made.aclose()


def fresh(quotas: Quotas, quota: Quota) -> ModelQuota:
    return quotas.of(f"model-{uuid.uuid4().hex}", quota)


def ask(requests: float = 1.0, **others) -> ReservationRequest:
    return ReservationRequest({"requests": requests}, **others)


async def left(model: ModelQuota, bucket: str = "requests") -> float:
    return (await model.status()).left[bucket]


async def test_a_new_bucket_starts_with_one_second_of_rate(quotas, elapsed_s):
    """Not with a full burst: what was sent before Redis lost the bucket counts in the minute."""
    model = fresh(quotas, SIXTY_PER_S)
    first = await model.reserve(ask(60))
    assert isinstance(first, Reserved)
    assert first.wait_s == 0
    second = await model.reserve(ask(6))
    assert isinstance(second, Reserved)
    assert second.wait_s == pytest.approx(0.1, abs=elapsed_s() + 0.01)


async def test_a_wait_beyond_the_longest_of_use_changes_nothing(quotas):
    """The answer names the wait and the bucket that binds, and the balance is as before."""
    model = fresh(quotas, SIXTY_PER_S)
    refused = await model.reserve(ask(120, wait_max_s=0.5))
    assert isinstance(refused, Rejected)
    assert refused.wait_s == pytest.approx(1.0, abs=0.05)
    assert refused.bucket == "requests"
    assert await left(model) >= 59


async def test_a_cost_is_not_taken_far_ahead_of_its_use(quotas):
    """Beyond what may be taken ahead the answer is to come back, and nothing is taken."""
    model = fresh(quotas, SIXTY_PER_S)
    later = await model.reserve(ask(120))
    assert isinstance(later, Deferred)
    assert later.retry_in_s == pytest.approx(later.wait_s - LOOKAHEAD_S)
    assert await left(model) >= 59


async def test_the_same_id_gets_the_first_answer(quotas):
    """A repeated question, after an answer was lost, is not charged again."""
    model = fresh(quotas, SIXTY_PER_S)
    question = ask(50)
    await model.reserve(question)
    balance = await left(model)
    assert isinstance(await model.reserve(question), Reserved)
    assert await left(model) >= balance


async def test_a_request_takes_from_all_buckets_or_from_none(quotas):
    """The bucket that binds decides for all of them."""
    model = fresh(quotas, Quota(requests_per_minute=6_000, tokens_per_minute=6_000))
    answer = await model.reserve(ReservationRequest({"requests": 1, "tokens": 300}, wait_max_s=1.0))
    assert isinstance(answer, Rejected)
    assert answer.bucket == "tokens"
    assert await left(model, "requests") >= 95


async def test_callers_are_served_in_order_of_arrival(quotas, elapsed_s):
    """Sending times are promised in the order of asking, apart by what each of them costs."""
    model = fresh(quotas, SIXTY_PER_S)
    loop = asyncio.get_running_loop()
    promised = []
    for _ in range(8):
        answer = await model.reserve(ask(15, lookahead_s=10))
        assert isinstance(answer, Reserved)
        promised.append(loop.time() + answer.wait_s)
    assert promised == sorted(promised)
    assert promised[-1] - promised[4] == pytest.approx(0.75, abs=elapsed_s() + 0.01)


async def test_nobody_waits_behind_another_where_there_is_enough_for_both(redis):
    """A free bucket is not shared out at the pace at which the first in the queue asks again."""
    name = f"model-{uuid.uuid4().hex}"
    first, second = (
        Quotas(redis, Supervisor(EVENTS), budget_s=1.0).of(name, SIXTY_PER_S) for _ in range(2)
    )
    # Of 60 it has to wait 0.67 s for 100.
    assert isinstance(await first.reserve(ask(100, waited_s=5, lookahead_s=0)), Deferred)
    assert isinstance(await second.reserve(ask(50)), Deferred)
    await asyncio.sleep(0.7)
    assert isinstance(await second.reserve(ask(1)), Reserved)


async def test_a_reservation_is_settled_once_and_whatever_the_balance(quotas, elapsed_s):
    """An underestimate goes into debt; a second settlement does nothing."""
    model = fresh(quotas, SIXTY_PER_S)
    granted = await model.reserve(ask(60))
    for _ in range(2):
        await model.settle([SettledReservation(granted, {"requests": 160})])
        balance = await left(model)
        assert -101 <= balance <= -99 + 60 * elapsed_s()


async def test_cancel_gives_back_what_was_never_sent(quotas, elapsed_s):
    """A cancelled reservation leaves the bucket as if it had not been."""
    model = fresh(quotas, SIXTY_PER_S)
    granted = await model.reserve(ask(60))
    assert await left(model) <= 1 + 60 * elapsed_s()
    await model.settle([model.unsent(granted)])
    assert await left(model) >= 60
    await model.settle([model.unsent(granted)])
    assert await left(model) <= 61 + 60 * elapsed_s()


async def test_a_cost_beyond_the_capacity_waits_for_the_full_bucket(quotas, elapsed_s):
    """It goes into debt, which the next caller waits for."""
    model = fresh(quotas, Quota(requests_per_minute=6_000, burst_share=0.005))
    asked_s, later = elapsed_s(), await model.reserve(ask(40))
    if isinstance(later, Deferred):
        await asyncio.sleep(later.wait_s)
        asked_s, later = elapsed_s(), await model.reserve(ask(40))
    assert isinstance(later, Reserved)
    after = await model.reserve(ask(1, lookahead_s=10))
    assert isinstance(after, Reserved)
    assert after.wait_s == pytest.approx(0.11, abs=elapsed_s() - asked_s + 0.01)


async def test_a_cost_beyond_the_capacity_can_be_refused(redis):
    """By configuration it never fits, and the answer says so at once."""
    quotas = Quotas(redis, Supervisor(EVENTS), oversize="refuse", budget_s=1.0)
    model = fresh(quotas, SIXTY_PER_S)
    refused = await model.reserve(ask(200))
    assert refused == Rejected(None, "requests")
    await quotas.aclose()


async def test_retry_after_blocks_the_whole_fleet(redis, quotas):
    """Another process, with a client of its own, waits for the block as well."""
    name = f"model-{uuid.uuid4().hex}"
    ours = quotas.of(name, SIXTY_PER_S)
    other_quotas = Quotas(redis, Supervisor(EVENTS), budget_s=1.0)
    granted = await ours.reserve(ask())
    await ours.refused_by_provider(granted, 30.0)
    answer = await other_quotas.of(name, SIXTY_PER_S).reserve(ask())
    assert isinstance(answer, Deferred)
    assert answer.bucket == "provider"
    assert answer.wait_s == pytest.approx(30, abs=0.5)
    await other_quotas.aclose()


async def test_a_storm_of_429s_lowers_the_rate_once(quotas):
    """Requests that were sent before the rate was lowered say nothing about the lower rate."""
    model = fresh(quotas, SIXTY_PER_S)
    sent = [await model.reserve(ask()) for _ in range(20)]
    for granted in sent:
        await model.refused_by_provider(granted, None)
    assert (await model.status()).rate_share == pytest.approx(0.7, abs=0.02)
    await asyncio.sleep(0.01)
    await model.refused_by_provider(await model.reserve(ask()), None)
    assert (await model.status()).rate_share == pytest.approx(0.49, abs=0.02)


async def test_the_lowered_rate_recovers_by_two_percent_a_second(quotas, elapsed_s):
    """So that a provider's bad minute does not cost the rest of the day."""
    model = fresh(quotas, SIXTY_PER_S)
    await model.refused_by_provider(await model.reserve(ask()), None)
    before_s, before = elapsed_s(), (await model.status()).rate_share
    await asyncio.sleep(0.5)
    after = (await model.status()).rate_share
    assert before + 0.009 <= after <= before + 0.02 * (elapsed_s() - before_s) + 0.001


async def test_the_provider_s_count_only_lowers_the_balance(quotas, elapsed_s):
    """It has not yet counted what is on its way."""
    model = fresh(quotas, SIXTY_PER_S)
    granted = await model.reserve(ask(10))
    await model.left_by_provider(granted, {"requests": 1_000})
    assert await left(model) == pytest.approx(50, abs=60 * elapsed_s() + 1)
    await model.left_by_provider(granted, {"requests": 5})
    assert await left(model) == pytest.approx(5, abs=60 * elapsed_s() + 1)


async def test_a_tenant_never_waits_for_its_guaranteed_share(redis):
    """Though another floods the model and a line has formed."""
    quotas = Quotas(redis, Supervisor(EVENTS), shares={"gold": 0.5}, budget_s=1.0)
    model = fresh(quotas, SIXTY_PER_S)
    flood = [await model.reserve(ask(15, tenant="other")) for _ in range(8)]
    assert isinstance(flood[-1], Deferred)
    promised = [answer.wait_s for answer in flood if isinstance(answer, Reserved)]
    answer = await model.reserve(ask(15, tenant="gold"))
    assert isinstance(answer, Reserved)
    assert answer.wait_s <= max(promised)
    await quotas.aclose()


async def test_an_idle_share_is_lent(redis):
    """With the guaranteed tenant silent, the other gets the whole rate."""
    quotas = Quotas(redis, Supervisor(EVENTS), shares={"gold": 0.5}, budget_s=1.0)
    model = fresh(quotas, Quota(requests_per_minute=6_000, burst_share=0.01))
    taken = 0
    loop = asyncio.get_running_loop()
    start = loop.time()
    while loop.time() - start < 1.5:
        answer = await model.reserve(ask(5, tenant="other"))
        if isinstance(answer, Reserved):
            taken += 5
        else:
            await asyncio.sleep(answer.retry_in_s)
    assert taken >= 1.2 * 99
    await quotas.aclose()


async def test_keys_expire_but_never_before_a_debt_is_paid(server, quotas):
    """A bucket in deep debt outlives its debt: dropping it would forgive it."""
    model = fresh(quotas, Quota(requests_per_minute=60))
    granted = await model.reserve(ask(1))
    await model.settle([SettledReservation(granted, {"requests": 100_000})])
    tag = f"assay:v1:{{quota:{next(reversed(quotas._models))}}}"
    ttl_s = server.command("PTTL", f"{tag}:state") / 1_000
    assert ttl_s > 100_000 / 0.95
