"""Batches on a real Redis: one result for each row, whichever worker dies, and when."""

import asyncio
import json
import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.domain.batches import BadRow, Claim, NewBatch, NewRow, RowResult
from assay.domain.errors import RequestError, StoreUnavailable
from assay.redis.client import ClientLimits, connect
from assay.store.batches.batches import RedisBatches
from assay.store.batches.keys import ACTIVE, tenant_index
from assay.store.batches.queue import ACTIVE_MAX, RedisJobQueue
from assay.store.batches.results import RedisResults
from fakes.batches import until
from fakes.redis_process import RedisProcess

LEASE_S = 0.2
NUMBERS = iter(range(1_000_000))


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


def worker(client, name):
    return RedisJobQueue(client, name, lease_s=LEASE_S)


def result(claim, status="scored", **more):
    return RowResult(claim.payload.item_id, status, b'{"n": 1}', **more)


async def filled(client, rows, *, start=True, webhook=b"", rows_max=1_000, kept=False):
    """A batch with rows, running."""
    now_ms = time.time_ns() // 1_000_000
    batch_id = f"batch_{next(NUMBERS):032x}"
    store = RedisBatches(client, rows_max=rows_max)
    request = json.dumps({"tenant": "one", "criteria": ["polite"]}).encode()
    new = NewBatch(batch_id, "one", now_ms, now_ms + 60_000, request, webhook, kept=kept)
    await store.create(new)
    added = await store.add(batch_id, [NewRow(n, f"row-{n}", b"{}") for n in range(rows)])
    if start:
        await store.start(batch_id)
    return store, batch_id, added


async def times_left(client, batch):
    """How long each key of the batch still lives."""
    keys = [key async for key in client.scan_iter(f"*{{{batch}}}*")]
    return {key: await client.pttl(key) for key in keys}


async def test_what_is_to_be_copied_is_kept_from_its_start_until_then(client):
    """Before its start a kept batch expires as any other; then no part of it does, until it is
    copied: not even the rows that it was cancelled with."""
    store, batch, _ = await filled(client, 2_500, start=False, rows_max=3_000, kept=True)
    assert max((await times_left(client, batch)).values()) <= 60_000
    for _ in range(2):  # a start that is repeated goes on with one that was cut short
        await store.start(batch)
        assert min((await times_left(client, batch)).values()) > 300 * 86_400_000
    queue = worker(client, "one")
    [row] = await queue.claim(batch, 1)
    await queue.settle(row, result(row))
    await store.cancel(batch)
    found = await store.find("one", batch)
    assert min((await times_left(client, batch)).values()) > 300 * 86_400_000
    await queue.release(found, found.created_ms + 60_000)
    assert max((await times_left(client, batch)).values()) <= 60_000


async def test_a_batch_that_was_deleted_is_not_released(client):
    """A copy that ends after its batch was deleted brings nothing of it back."""
    store, batch, _ = await filled(client, 2, kept=True)
    await store.cancel(batch)
    found = await store.find("one", batch)
    await store.delete(found)
    await worker(client, "one").release(found, found.created_ms + 60_000)
    assert await times_left(client, batch) == {}


async def test_expired_batches_leave_the_list_of_their_tenant(client):
    """The next batch removes the names of those that are gone, and of no batch that is there."""
    store, kept, _ = await filled(client, 1, kept=True)
    old_ms = time.time_ns() // 1_000_000 - 90_000
    await client.zadd(tenant_index("one"), {kept: old_ms, f"batch_{'f' * 32}": old_ms})
    _, batch, _ = await filled(client, 1)
    assert {found.id for found in await store.page("one", "", 9)} == {kept, batch}
    assert await client.zcard(tenant_index("one")) == 2


async def test_a_row_is_one_workers_until_its_lease_lapses(client):
    """A worker that renews keeps its row; one that died loses it, and it is marked as delivered."""
    _, batch, _ = await filled(client, 2)
    alive, dead, other = worker(client, "alive"), worker(client, "dead"), worker(client, "other")
    [kept] = await alive.claim(batch, 1)
    [lost] = await dead.claim(batch, 1)
    assert await other.claim(batch, 5) == []
    for _ in range(3):
        await asyncio.sleep(LEASE_S / 2)
        await alive.renew([kept])
    [taken] = await other.claim(batch, 5)
    assert (taken.index, taken.deliveries) == (lost.index, 1)
    await dead.renew([lost])
    await asyncio.sleep(LEASE_S * 1.2)
    assert [row.index for row in await dead.claim(batch, 5)] != []


async def test_ends_of_processes_that_stood_still_are_counted_for_the_row(client):
    """The count comes with the next claim; that of a batch that is gone leaves nothing behind."""
    store, batch, _ = await filled(client, 2)
    first, other, later = worker(client, "first"), worker(client, "other"), worker(client, "later")
    [held] = await first.claim(batch, 1)
    await first.count_stall(batch, held.key)
    await first.count_stall(batch, held.key)
    await asyncio.sleep(LEASE_S * 1.2)
    assert {row.index: row.stalls for row in await other.claim(batch, 2)} == {0: 2, 1: 0}
    found = await store.find("one", batch)
    await store.delete(found)
    await later.count_stall(batch, held.key)
    assert not await client.keys(f"assay:v1:batch:{{{batch}}}:*")


async def test_a_second_result_changes_nothing(client):
    """A row that two workers did counts once, with the first one's result."""
    store, batch, _ = await filled(client, 2)
    first, second = worker(client, "first"), worker(client, "second")
    [claim] = await first.claim(batch, 1)
    await asyncio.sleep(LEASE_S * 1.2)
    again = next(each for each in await second.claim(batch, 5) if each.index == claim.index)
    assert await second.settle(again, result(again, sums={"input_tokens": 5})) == "stored"
    assert await first.settle(claim, result(claim, "failed", sums={"input_tokens": 7})) == "known"
    found = await store.find("one", batch)
    assert (found.settled, found.by_status["scored"], found.by_status["failed"]) == (1, 1, 0)
    assert found.sums["input_tokens"] == 5


async def test_the_last_row_completes_the_batch_and_leaves_only_results(client):
    """Contents and queue are gone; results and ids stay, in order; every key expires."""
    store, batch, _ = await filled(client, 3)
    queue = worker(client, "one")
    answers = [await queue.settle(row, result(row)) for row in await queue.claim(batch, 9)]
    assert answers == ["stored", "stored", "completed"]
    found = await store.find("one", batch)
    assert found.status == "completed"
    page = await RedisResults(client).page(found, 0, 10)
    assert [stored.item_id for stored in page.results] == ["row-0", "row-1", "row-2"]
    keys = [key async for key in client.scan_iter(f"*{batch}*")]
    assert not [key for key in keys if b":row:" in key or b":queue" in key]
    assert await store.known_ids(batch, ["row-2", "row-3", "_"]) == {"row-2"}
    assert all([await client.pttl(key) > 0 for key in keys])
    await store.delete(found)
    assert [key async for key in client.scan_iter(f"*{batch}*")] == []


async def test_a_row_for_later_waits_and_counts_its_attempts(client):
    """It is not handed out before it is due, and then as its next attempt."""
    _, batch, _ = await filled(client, 1)
    queue = worker(client, "one")
    [claim] = await queue.claim(batch, 1)
    await queue.give_back(claim, 0.3)
    assert await queue.claim(batch, 1) == []
    await asyncio.sleep(0.35)
    [again] = await queue.claim(batch, 1)
    assert (again.index, again.attempt, again.deliveries) == (claim.index, 1, 0)
    await queue.give_back(again)
    [handed_back] = await queue.claim(batch, 1)
    assert handed_back.attempt == 1


async def test_a_cancelled_batch_hands_out_nothing_and_takes_what_is_in_flight(client):
    """The result of a row in flight is stored; one given back is not handed out again."""
    store, batch, _ = await filled(client, 3)
    queue = worker(client, "one")
    first, second = await queue.claim(batch, 2)
    await store.cancel(batch)
    await store.cancel(batch)
    assert await queue.claim(batch, 3) == "cancelled"
    assert await queue.settle(first, result(first)) == "stored"
    await queue.give_back(second, 0.01)
    found = await store.find("one", batch)
    assert (found.status, found.settled, found.total) == ("cancelled", 1, 3)


async def test_rows_are_known_by_their_id(client):
    """The same again is known, another content is refused, and a full batch takes no more."""
    store, batch, added = await filled(client, 3, start=False, rows_max=4)
    assert added.accepted == 3
    rows = [NewRow(1, "row-0", b"{}"), NewRow(2, "row-1", b'{"x": 1}'), NewRow(3, "new", b"{}")]
    added = await store.add(batch, [*rows, NewRow(4, "newer", b"{}")])
    assert (added.accepted, added.known) == (1, 1)
    assert [row.line for row in added.refused] == [2, 4]
    await store.start(batch)
    with pytest.raises(RequestError, match="running"):
        await store.add(batch, rows)


async def test_a_webhook_is_due_once_the_batch_ends_and_until_it_is_told(client):
    """One worker has the turn; a failure makes it due again; success ends it."""
    _, batch, _ = await filled(client, 1, webhook=b"{}")
    queue, other = worker(client, "one"), worker(client, "two")
    assert await queue.claim_webhook(batch) is None
    [claim] = await queue.claim(batch, 1)
    await queue.settle(claim, result(claim))
    assert (await queue.claim_webhook(batch)).tries == 1
    assert await other.claim_webhook(batch) is None
    await queue.record_webhook(batch, "given_up", 0.05)
    await queue.forget(batch)
    assert batch in await queue.active()
    await asyncio.sleep(0.1)
    assert (await other.claim_webhook(batch)).tries == 2
    await other.record_webhook(batch, "delivered")
    assert await other.claim_webhook(batch) is None
    await queue.forget(batch)
    assert batch not in await queue.active()


async def test_results_stop_at_the_first_gap_until_the_batch_has_ended(client):
    """A cursor never passes a row that may still get its result; after a cancel it does."""
    store, batch, _ = await filled(client, 4)
    queue = worker(client, "one")
    claims = await queue.claim(batch, 4)
    for claim in claims:
        if claim.index != 1:
            await queue.settle(claim, result(claim))
    results = RedisResults(client)
    page = await results.page(await store.find("one", batch), 0, 10)
    assert ([stored.index for stored in page.results], page.cursor, page.has_more) == ([0], 1, True)
    await store.cancel(batch)
    page = await results.page(await store.find("one", batch), page.cursor, 10)
    assert ([stored.index for stored in page.results], page.has_more) == ([2, 3], False)


async def test_a_store_that_is_away_is_one_kind_of_error(tmp_path):
    """Workers and resources need to know no more."""
    gone = connect(f"unix://{tmp_path}/none", ClientLimits(connect_s=0.1))
    with pytest.raises(StoreUnavailable):
        await worker(gone, "one").active()
    with pytest.raises(StoreUnavailable):
        await RedisBatches(gone, rows_max=1).find("one", "batch_1")
    await gone.aclose()


STEPS = st.lists(
    st.tuples(st.sampled_from(["claim", "settle", "die", "later", "back"]), st.integers(0, 2)),
    max_size=60,
)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS, rows=st.integers(1, 12))
async def test_whatever_workers_do_each_row_has_one_result(server, steps, rows):
    """Any order of taking, settling, dying, giving back and doing twice; then one good worker."""
    client = connect(server.url)
    try:
        store, batch, _ = await filled(client, rows)
        queues = [RedisJobQueue(client, f"w{n}", lease_s=0.002) for n in range(3)]
        hands: list[list[Claim]] = [[], [], []]
        dead: list[Claim] = []
        for step, who in steps:
            if step == "claim":
                claims = await queues[who].claim(batch, 2)
                hands[who] += claims if isinstance(claims, list) else []
            elif hands[who]:
                claim = hands[who].pop()
                if step == "settle":
                    await queues[who].settle(claim, result(claim, tally={"rows:n": 1}))
                elif step == "die":
                    dead.append(claim)
                else:
                    await queues[who].give_back(claim, 0.001 if step == "later" else 0.0)
        async with asyncio.timeout(10):
            while (await store.find("one", batch)).status == "running":
                claims = await queues[0].claim(batch, 5)
                for claim in claims if isinstance(claims, list) else []:
                    await queues[0].settle(claim, result(claim, tally={"rows:n": 1}))
                await asyncio.sleep(0.003)
        for claim in [*dead, *hands[0], *hands[1], *hands[2]]:
            assert await queues[1].settle(claim, result(claim, tally={"rows:n": 1})) == "known"
        found = await store.find("one", batch)
        page = await RedisResults(client).page(found, 0, 100)
        assert Counter(stored.index for stored in page.results) == dict.fromkeys(range(rows), 1)
        assert found.by_status["scored"] == found.settled == rows
        assert (await RedisResults(client).sums(batch, by_group=True)).tally["rows:n"] == rows
    finally:
        await client.aclose()


async def test_it_runs_on_a_redis_cluster(tmp_path):
    """Each script touches one slot: a batch goes its whole way on a cluster as it stands."""
    server = RedisProcess(tmp_path, cluster=True)
    try:
        server.command("CLUSTER", "ADDSLOTS", *range(16_384))
        await until(lambda: "cluster_state:ok" in str(server.command("CLUSTER", "INFO")))
        client = connect(server.url.replace("redis:", "redis+cluster:"))
        store, batch, _ = await filled(client, 3, webhook=b"{}")
        queue = worker(client, "one")
        assert list(await queue.active()) == [batch]
        assert (await queue.backlog()).rows == 3
        first, second, third = await queue.claim(batch, 3)
        await queue.renew([first, second, third])
        await queue.give_back(third)
        for each in (first, second, *await queue.claim(batch, 3)):
            await queue.settle(each, result(each, tally={"rows:n": 1}, groups={"rows:n:g": 1}))
        await store.durable(batch)
        [found] = await store.page("one", "", 10)
        assert json.loads(await store.request(batch))["criteria"] == ["polite"]
        assert found.status == "completed"
        assert len((await RedisResults(client).page(found, 0, 9)).results) == 3
        assert (await queue.claim_webhook(batch)).tries == 1
        await store.delete(found)
        assert await store.find("one", batch) is None
        await client.aclose()
    finally:
        server.stop()


async def test_bad_rows_of_a_batch_that_is_gone_leave_nothing(client):
    """It may be removed while it is filled: a count on its own would have no end of its life."""
    store, batch_id, _ = await filled(client, 1)
    await store.delete(await store.find("one", batch_id))
    await store.report(batch_id, [BadRow(1, "not valid JSON")])
    assert await client.keys() == []


async def test_a_list_is_paged_where_batches_were_made_at_once(client):
    """A page may end between two batches of the same millisecond, and at one that is gone."""
    store = RedisBatches(client, rows_max=1)
    now_ms = time.time_ns() // 1_000_000
    names = [f"batch_{now_ms:012x}{n:020x}" for n in range(7)]
    for name in names:
        await store.create(NewBatch(name, "one", now_ms, now_ms + 60_000, b"{}", b""))
    await client.unlink(f"assay:v1:batch:{{{names[3]}}}:meta")
    seen = []
    while page := await store.page("one", seen[-1] if seen else "", 2):
        seen += [batch.id for batch in page]
    assert seen == [name for name in reversed(names) if name != names[3]]


async def test_no_batch_is_hidden_behind_a_thousand_others(client):
    """Those that wait for their webhook for hours must not keep workers from what came later."""
    await client.zadd(ACTIVE, {f"old-{n}": n for n in range(ACTIVE_MAX)})
    await client.zadd(ACTIVE, {"new": ACTIVE_MAX})
    queue = worker(client, "w")
    rounds = [await queue.active() for _ in range(3)]
    assert [("new" in names, len(names)) for names in rounds] == [
        (False, ACTIVE_MAX),
        (True, 1),
        (False, ACTIVE_MAX),
    ]
