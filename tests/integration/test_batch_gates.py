"""Batches that may stop early, on a real Redis: random order, and decisions stored once."""

import asyncio
import json
import time

import pytest

from assay.batches.gates import decide, parse_gates
from assay.domain.batches import GateStep, NewBatch, NewRow, RowResult
from assay.domain.errors import RequestError
from assay.redis.client import connect
from assay.store.batches import queue as queue_module
from assay.store.batches.batches import RedisBatches
from assay.store.batches.keys import BatchKeys
from assay.store.batches.queue import UNDECIDED_ROWS_MAX, RedisJobQueue
from assay.store.batches.results import RedisResults
from fakes.redis_process import RedisProcess

NUMBERS = iter(range(1_000_000))
GATES = parse_gates([{"min_pass_rate": 0.5}], ())


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    redis = RedisProcess(tmp_path_factory.mktemp("redis"))
    yield redis
    redis.stop()


@pytest.fixture
async def client(server):
    redis = connect(server.url)
    await redis.flushall()
    yield redis
    await redis.aclose()


async def filled(client, rows, *, seed=1, webhook=b"", names=None):
    """A running batch with gates; `names` are the numbers of its rows in the order of upload."""
    now_ms = time.time_ns() // 1_000_000
    batch_id = f"batch_{next(NUMBERS):032x}"
    store = RedisBatches(client, rows_max=100_000)
    await store.create(
        NewBatch(batch_id, "one", now_ms, now_ms + 60_000, b"{}", webhook, seed=seed)
    )
    await store.add(batch_id, [NewRow(n, f"row-{n}", b"{}") for n in names or range(rows)])
    await store.start(batch_id)
    return store, batch_id


async def settle(queue, claim, score):
    body = b'{"n": 1}'
    result = RowResult(claim.payload.item_id, "scored", body, gate_scores=[score])
    return await queue.settle(claim, result)


async def decided(queue, batch_id):
    """Do what a worker does that is asked to decide; the step, and whether it was stored."""
    rows = await queue.finished_rows(batch_id)
    step = decide(GATES, 0.05, rows)
    return step, await queue.decide(batch_id, rows.first, step)


async def order_of(client, rows, **options):
    """The ids of the rows in the order in which they are handed out."""
    _, batch = await filled(client, rows, **options)
    return [
        claim.payload.item_id for claim in await RedisJobQueue(client, "one").claim(batch, rows)
    ]


async def test_rows_are_handed_out_in_an_order_that_follows_from_the_seed(client):
    """Each once, in the same order for the same seed however they were uploaded."""
    first = await order_of(client, 200)
    assert sorted(first) == sorted(f"row-{n}" for n in range(200))
    assert first == await order_of(client, 200, names=range(199, -1, -1))
    assert first != await order_of(client, 200, seed=2)
    numbers = [int(name.removeprefix("row-")) for name in first]
    assert abs(sum(numbers[:100]) / 100 - 99.5) < 20
    assert await order_of(client, 5, seed=None) == [f"row-{n}" for n in range(5)]


async def test_only_the_finished_prefix_is_decided_on(client):
    """Rows that finish before an earlier one wait, also while the earlier one is tried again."""
    _, batch = await filled(client, 10)
    queue = RedisJobQueue(client, "one")
    claims = await queue.claim(batch, 4)
    await queue.give_back(claims[0], 0.05)
    for claim, score in zip(claims[1:], (0.25, 0.5, 0.75), strict=True):
        assert await settle(queue, claim, score) == "stored"
    assert (await queue.finished_rows(batch)).scores == []
    async with asyncio.timeout(10):
        again = []
        while not again:
            again = await queue.claim(batch, 1)
            again = [claim for claim in again if claim.attempt]
    await settle(queue, again[0], 0.0)
    rows = await queue.finished_rows(batch)
    assert (rows.total, rows.first, rows.state) == (10, 0, b"")
    assert rows.scores == [[0.0], [0.25], [0.5], [0.75]]
    step, stored = await decided(queue, batch)
    assert (stored, step.finished, step.status) == (True, 4, None)
    rows = await queue.finished_rows(batch)
    assert (rows.first, rows.state, rows.scores) == (4, step.state, [])


async def test_one_worker_is_asked_to_decide_and_another_if_it_dies(client, monkeypatch):
    """Meanwhile the others get rows, and a step that was stored before changes nothing."""
    monkeypatch.setattr(queue_module, "DECIDING_S", 0.2)
    store, batch = await filled(client, 10)
    first, second = RedisJobQueue(client, "first"), RedisJobQueue(client, "second")
    claims = await first.claim(batch, 2)
    await settle(first, claims[0], 1.0)
    assert await first.claim(batch, 1) == "due"
    assert len(await second.claim(batch, 1)) == 1
    rows = await first.finished_rows(batch)
    late = decide(GATES, 0.05, rows)
    await asyncio.sleep(0.25)
    assert await second.claim(batch, 1) == "due"
    assert await decided(second, batch) == (late, True)
    assert not await first.decide(batch, rows.first, late)
    await settle(first, claims[1], 1.0)
    assert await second.claim(batch, 1) == "due"
    assert (await decided(second, batch))[0].finished == 2
    assert (await store.find("one", batch)).gates[0]["rows"] == 2


async def test_too_many_rows_do_not_run_ahead_of_a_decision(client):
    """No row is begun while so many finished ones wait for a worker that decides."""
    _, batch = await filled(client, UNDECIDED_ROWS_MAX + 20)
    queue = RedisJobQueue(client, "one")
    for claim in await queue.claim(batch, UNDECIDED_ROWS_MAX):
        await settle(queue, claim, 0.5)
    assert await queue.claim(batch, 5) == "due"
    assert await queue.claim(batch, 5) == []
    await queue.decide(batch, 0, GateStep(UNDECIDED_ROWS_MAX, b"[]", [], None))
    assert len(await queue.claim(batch, 5)) == 5


async def test_a_decided_batch_has_ended(client):
    """What waits is dropped, rows in flight get their result, and it cannot be changed."""
    store, batch = await filled(client, 100, webhook=b"{}")
    queue = RedisJobQueue(client, "one")
    claims = await queue.claim(batch, 40)
    for claim in claims[:30]:
        await settle(queue, claim, 1.0)
    step, stored = await decided(queue, batch)
    assert (step.status, stored) == ("decided", True)
    assert await queue.claim(batch, 5) == "decided"
    assert await settle(queue, claims[30], 0.0) == "stored"
    found = await store.find("one", batch)
    assert (found.status, found.ended, found.settled) == ("decided", True, 31)
    assert found.gates[0]["verdict"] == "passed"
    assert found.gates[0]["rows"] == step.finished < 30
    assert found.webhook_state == "due"
    page = await RedisResults(client).page(found, 0, 100)
    assert (len(page.results), page.has_more) == (31, False)
    assert (await queue.backlog()).rows == 0
    with pytest.raises(RequestError, match="decided"):
        await store.cancel(batch)
    with pytest.raises(RequestError, match="decided"):
        await store.add(batch, [NewRow(0, "late", b"{}")])
    await store.start(batch)
    keys = BatchKeys(batch)
    assert await client.exists(*keys.work) == 0
    left = [key async for key in client.scan_iter(f"*{batch}*")]
    assert all([await client.pttl(key) > 0 for key in left])
    await store.delete(found)
    assert [key async for key in client.scan_iter(f"*{batch}*")] == []


async def test_an_undecided_batch_is_completed_by_the_decision_on_its_last_row(client):
    """Not when the last result is stored: the verdict follows from the order alone."""
    store, batch = await filled(client, 4)
    queue = RedisJobQueue(client, "one")
    for claim in await queue.claim(batch, 4):
        assert await settle(queue, claim, None) == "stored"
    assert (await store.find("one", batch)).status == "running"
    assert await queue.claim(batch, 1) == "due"
    assert (await decided(queue, batch))[0].status == "completed"
    found = await store.find("one", batch)
    assert (found.status, found.gates[0]["verdict"]) == ("completed", "undecided")
    assert not await client.exists(*BatchKeys(batch).work)


async def test_a_cancelled_batch_is_not_decided_any_more(client):
    """A decision that comes after the end changes nothing."""
    store, batch = await filled(client, 40)
    queue = RedisJobQueue(client, "one")
    for claim in await queue.claim(batch, 30):
        await settle(queue, claim, 1.0)
    rows = await queue.finished_rows(batch)
    await store.cancel(batch)
    assert not await queue.decide(batch, rows.first, decide(GATES, 0.05, rows))
    found = await store.find("one", batch)
    assert (found.status, json.loads(json.dumps(found.gates))) == ("cancelled", [])
