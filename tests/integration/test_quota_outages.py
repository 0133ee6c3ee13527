"""The quota while Redis is paused, killed, flushed, unreachable, or a cluster."""

from __future__ import annotations

import asyncio
import socket
import time
import uuid

import pytest
from redis.asyncio import Redis, RedisCluster

from assay.domain.policy import Quota
from assay.domain.supervision import Supervisor
from assay.resilience.quota.quotas import ModelQuota, Quotas
from assay.resilience.quota.reservations import ReservationRequest, Reserved, SettledReservation
from fakes.batches import until
from fakes.recorded_events import RecordedEvents
from fakes.redis_process import RedisProcess, servers

QUOTA = Quota(requests_per_minute=6_000, tokens_per_minute=600_000)
ONE = {"requests": 1.0, "tokens": 10.0}


@pytest.fixture
def server(tmp_path):
    process = RedisProcess(tmp_path)
    yield process
    process.stop()


@pytest.fixture
def events():
    return RecordedEvents()


@pytest.fixture
async def quotas(server, events):
    redis = Redis.from_url(server.url, max_connections=64)
    made = Quotas(redis, Supervisor(events), pods_max=2, budget_s=0.2)
    yield made
    await made.aclose()
    await redis.aclose()


async def healed(model: ModelQuota) -> None:
    await until(lambda: model.circuit.closed)


async def test_a_paused_redis_costs_one_budget_and_heals_by_itself(server, quotas, events):
    """Requests go on from the local share at once; with Redis back, so is the shared quota."""
    model = quotas.of("m", QUOTA)
    assert await model.reserve(ReservationRequest(ONE)) is not None
    server.pause()
    started_s = time.monotonic()
    answers = [await model.reserve(ReservationRequest(ONE)) for _ in range(200)]
    # Two hundred time-outs one after the other would take forty seconds.
    assert time.monotonic() - started_s < 5
    assert quotas.degraded
    assert any(isinstance(answer, Reserved) and answer.local is not None for answer in answers)
    await asyncio.sleep(0.5)
    server.resume()
    await healed(model)
    answer = await model.reserve(ReservationRequest(ONE))
    assert isinstance(answer, Reserved)
    assert answer.local is None
    assert not quotas.degraded


async def test_the_local_share_is_a_part_of_the_rate(server, quotas):
    """0.8 × rate ÷ pods: 38 a second of 95 for each of two pods."""
    model = quotas.of("m", QUOTA)
    server.kill()
    await model.reserve(ReservationRequest(ONE))
    loop = asyncio.get_running_loop()
    start_s, taken = loop.time(), 0
    while loop.time() - start_s < 1:
        answer = await model.reserve(ReservationRequest({"requests": 1}, lookahead_s=0))
        if isinstance(answer, Reserved):
            taken += 1
        await asyncio.sleep(0.002)
    assert 20 <= taken <= 40


async def sent_for(model: ModelQuota, seconds: float) -> list[float]:
    """When requests were sent that asked again and again for so long."""
    loop = asyncio.get_running_loop()
    sent: list[float] = []
    until_s = loop.time() + seconds
    while loop.time() < until_s:
        answer = await model.reserve(ReservationRequest({"requests": 1}, lookahead_s=0))
        if isinstance(answer, Reserved):
            sent.append(loop.time())
        else:
            await asyncio.sleep(0.005)
    return sent


async def test_outages_add_nothing_to_the_quota(server, quotas):
    """The bucket has filled meanwhile, but what was sent without it is taken off."""
    quotas.pods_max = 1
    model = quotas.of("m", Quota(requests_per_minute=600))  # a burst of 30, then 9.5 a second
    server.command("FLUSHALL")
    sent = await sent_for(model, 0.5)
    for _ in range(2):
        server.pause()
        sent += await sent_for(model, 3.5)  # long enough for the bucket to fill
        server.resume()
        await healed(model)
        sent += await sent_for(model, 0.5)
    excess = max(
        last - first + 1 - 30 - 9.5 * (sent[last] - sent[first])
        for first in range(len(sent))
        for last in range(first, len(sent))
    )
    assert excess <= 2
    assert len(sent) > 0.7 * 9.5 * (sent[-1] - sent[0])


async def test_a_long_outage_leaves_no_debt(server, quotas, elapsed_s):
    """However much was sent in it: the rate paid for that at the time."""
    model = quotas.of("m", QUOTA)
    server.pause()
    await model.reserve(ReservationRequest(ONE))
    model.local.charge({"requests": 1_000_000})
    server.resume()
    await healed(model)
    assert (await model.status()).left["requests"] == pytest.approx(0, abs=5 + 95 * elapsed_s())
    assert model.local.unreported == {}


async def test_a_restarted_redis_goes_on_where_it_was(server, quotas):
    """With its data, a bucket in debt is still in debt."""
    model = quotas.of("m", QUOTA)
    granted = await model.reserve(ReservationRequest(ONE))
    await model.settle([SettledReservation(granted, {"requests": 2_000})])
    await asyncio.sleep(1.1)
    server.restart()
    await model.reserve(ReservationRequest(ONE))
    await healed(model)
    assert (await model.status()).left["requests"] < -1_000


async def test_a_flushed_redis_starts_with_one_second_of_rate(server, quotas, elapsed_s):
    """Not with a full burst on top of what was just sent, and with scripts learnt anew."""
    model = quotas.of("m", QUOTA)
    await model.reserve(ReservationRequest(ONE))
    server.command("FLUSHALL")
    server.command("SCRIPT", "FLUSH")
    assert isinstance(await model.reserve(ReservationRequest(ONE)), Reserved)
    assert (await model.status()).left["requests"] == pytest.approx(95, abs=2 + 95 * elapsed_s())


@pytest.fixture
def blackhole():
    """A port that takes connections in its backlog and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        yield listener.getsockname()[1]


async def test_a_blackholed_redis_does_not_make_every_request_wait(blackhole, events):
    """The first pays the budget; the others do not even try."""
    redis = Redis(port=blackhole, max_connections=64)
    quotas = Quotas(redis, Supervisor(events), budget_s=0.05)
    model = quotas.of("m", QUOTA)
    await model.reserve(ReservationRequest(ONE))
    started_s = time.monotonic()
    for _ in range(1_000):
        await model.reserve(ReservationRequest(ONE))
    assert time.monotonic() - started_s < 5
    assert quotas.degraded
    await quotas.aclose()
    await redis.aclose()


@pytest.fixture(params=servers().items(), ids=lambda item: item[0])
def cluster(request, tmp_path):
    """Three primaries that share the slots."""
    nodes = []
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        nodes.append(RedisProcess(folder, request.param[1], cluster=True))
    try:
        bounds = [0, 5_461, 10_923, 16_384]
        for node, first, after in zip(nodes, bounds, bounds[1:], strict=False):
            node.command("CLUSTER", "ADDSLOTS", *range(first, after))
            node.command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
        deadline_s = time.monotonic() + 20
        while not all(b"cluster_state:ok" in _info(node) for node in nodes):
            assert time.monotonic() < deadline_s, "the cluster did not form"
            time.sleep(0.05)
        yield nodes
    finally:
        for node in nodes:
            node.stop()


def _info(node: RedisProcess) -> bytes:
    info = node.command("CLUSTER", "INFO")
    return info if isinstance(info, bytes) else str(info).encode()


async def test_every_script_runs_on_a_cluster(cluster, events):
    """All keys of a call lie in one slot, wherever the model's slot may be."""
    redis = RedisCluster(host="127.0.0.1", port=cluster[0].port)
    quotas = Quotas(redis, Supervisor(events), shares={"gold": 0.3}, budget_s=2.0)
    for _ in range(6):
        model = quotas.of(f"openai/{uuid.uuid4().hex}", QUOTA)
        granted = await model.reserve(ReservationRequest(ONE, tenant="gold"))
        assert isinstance(granted, Reserved)
        assert granted.local is None
        await model.left_by_provider(granted, {"tokens": 50.0})
        await model.refused_by_provider(granted, 0.2)
        later = await model.reserve(ReservationRequest(ONE, lookahead_s=0))
        assert not isinstance(later, Reserved)
        await model.leave()
        await model.settle([SettledReservation(granted, {"tokens": 30.0})])
        assert (await model.status()).left["tokens"] < 300_000
    assert not quotas.degraded
    await quotas.aclose()
    await redis.aclose()


async def test_a_process_that_is_killed_leaves_no_one_waiting(server, quotas):
    """Its place in the queue is passed over once it is due."""
    model = quotas.of("m", Quota(requests_per_minute=6_000))
    await model.reserve(ReservationRequest({"requests": 90}))
    events = RecordedEvents()
    dying = Quotas(quotas.redis, Supervisor(events), owner="dying", budget_s=0.2)
    await dying.of("m", Quota(requests_per_minute=6_000)).reserve(
        ReservationRequest({"requests": 60})
    )
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    answer = await model.reserve(ReservationRequest({"requests": 10}))
    while not isinstance(answer, Reserved):
        await asyncio.sleep(answer.retry_in_s)
        answer = await model.reserve(ReservationRequest({"requests": 10}))
    assert loop.time() - start_s < 5
    await dying.aclose()
