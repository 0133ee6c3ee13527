"""One request, one run: idempotency over real Redis and two processes' worth of API."""

import asyncio
import contextlib

import pytest

from assay.domain.errors import DeadlineExceeded, RequestError, StoreUnavailable
from assay.domain.policy import Deadline
from assay.domain.ports import StoredResponse
from assay.domain.supervision import Supervisor
from assay.http.access import Identity
from assay.redis.client import ClientLimits, connect
from assay.store.idempotency.leases import RedisIdempotency, record_key
from fakes.http_api import ScriptedEvaluator, running_api, unscored
from fakes.recorded_events import RecordedEvents
from fakes.redis_process import RedisProcess

GOOD = {"output": "4", "criteria": "Is it right?"}
ANSWER = StoredResponse(200, (("content-type", "application/json"),), b'{"a":1}')


@pytest.fixture
def server(tmp_path):
    server = RedisProcess(tmp_path)
    yield server
    server.stop()


@contextlib.asynccontextmanager
async def store_on(server, **options):
    """A store with a client of its own, as another pod has."""
    client = connect(server.url, ClientLimits(connect_s=0.5, answer_s=0.5))
    supervisor = Supervisor(RecordedEvents())
    try:
        yield RedisIdempotency(client, supervisor, **options)
    finally:
        await supervisor.stop()
        await client.aclose()


class TenantByKey:
    """Takes the bearer key for the tenant's name."""

    def identify(self, headers):
        return Identity(headers.get("authorization", "Bearer default").split()[1])


@contextlib.asynccontextmanager
async def two_pods(server, **options):
    """Two API instances that share an engine (to count its calls) and one Redis."""
    evaluator = ScriptedEvaluator()
    async with (
        store_on(server, **options) as one,
        store_on(server, **options) as other,
        running_api(evaluator=evaluator, idempotency=one, access=TenantByKey()) as first,
        running_api(evaluator=evaluator, idempotency=other, access=TenantByKey()) as second,
    ):
        yield first, second, evaluator


async def called(evaluator, times=1):
    """Wait until the engine was called so often."""
    while len(evaluator.calls) < times:  # noqa: ASYNC110 # the fake has no event for each call
        await asyncio.sleep(0.005)


async def test_the_same_key_and_body_gets_the_first_answer_on_any_pod(server):
    """The engine runs once; the second answer says that it is a replay."""
    async with two_pods(server) as (first, second, evaluator):
        status, headers, body = await first.post(GOOD, idempotency_key="k")
        again, replayed, same = await second.post(GOOD, idempotency_key="k")
        assert (status, again) == (200, 200)
        assert body == same
        assert "idempotency-replayed" not in headers
        assert replayed["idempotency-replayed"] == "true"
        assert replayed["content-type"] == "application/json"
        assert len(evaluator.calls) == 1


async def test_concurrent_duplicates_run_once(server):
    """Twenty at once over two pods: one runs, the others wait for its answer."""
    async with two_pods(server) as (first, second, evaluator):
        evaluator.hold = asyncio.Event()
        sent = [
            asyncio.create_task((first, second)[index % 2].post(GOOD, idempotency_key="k"))
            for index in range(20)
        ]
        await called(evaluator)
        await asyncio.sleep(0.1)
        evaluator.hold.set()
        answers = await asyncio.gather(*sent)
        assert {status for status, _, _ in answers} == {200}
        assert sum("idempotency-replayed" in headers for _, headers, _ in answers) == 19
        assert len(evaluator.calls) == 1


async def test_another_body_with_the_key_is_refused(server):
    """A key stands for one request, on one route."""
    async with two_pods(server) as (first, second, evaluator):
        await first.post(GOOD, idempotency_key="k")
        status, _, problem = await second.post(GOOD | {"output": "5"}, idempotency_key="k")
        assert (status, problem["code"]) == (422, "idempotency_key_reused")
        status, _, problem = await second.post(GOOD, path="/evaluate", idempotency_key="k")
        assert (status, problem["code"]) == (422, "idempotency_key_reused")
        assert len(evaluator.calls) == 1


async def test_tenants_do_not_share_keys(server):
    """Another tenant's same key is another key."""
    async with two_pods(server) as (first, _, evaluator):
        await first.post(GOOD, idempotency_key="k", authorization="Bearer a")
        other = GOOD | {"output": "5"}
        status, headers, _ = await first.post(other, idempotency_key="k", authorization="Bearer b")
        assert status == 200
        assert "idempotency-replayed" not in headers
        assert len(evaluator.calls) == 2


async def test_an_answer_that_a_retry_could_better_is_not_kept(server):
    """After a 503 the same key runs again, and its answer is kept then."""
    async with two_pods(server) as (first, second, evaluator):
        succeeds, evaluator.answer = evaluator.answer, unscored("providers_unavailable")
        assert (await first.post(GOOD, idempotency_key="k"))[0] == 503
        evaluator.answer = unscored("quota_exhausted")
        assert (await first.post(GOOD, idempotency_key="k"))[0] == 429
        evaluator.answer = succeeds
        status, headers, _ = await second.post(GOOD, idempotency_key="k")
        assert status == 200
        assert "idempotency-replayed" not in headers
        assert len(evaluator.calls) == 3


async def test_a_first_caller_who_leaves_gives_the_key_back(server):
    """A retry after a broken connection runs at once; it does not wait for the lease."""
    async with two_pods(server) as (first, second, evaluator):
        evaluator.hold = asyncio.Event()
        leaving = asyncio.create_task(first.post(GOOD, idempotency_key="k"))
        await called(evaluator)
        leaving.cancel()
        while not evaluator.cancelled:  # noqa: ASYNC110 # the fake has no event for it
            await asyncio.sleep(0.005)
        evaluator.hold = None
        status, _, _ = await asyncio.wait_for(second.post(GOOD, idempotency_key="k"), 5)
        assert status == 200
        assert len(evaluator.calls) == 2


async def test_without_redis_a_keyed_request_is_refused_and_others_go_on(server):
    """It cannot be known whether it ran before: 503. Without the header nothing touches Redis."""
    async with two_pods(server) as (first, _, evaluator):
        server.kill()
        status, headers, problem = await first.post(GOOD, idempotency_key="k")
        assert (status, problem["code"]) == (503, "store_unavailable")
        assert int(headers["retry-after"]) >= 1
        assert not evaluator.calls
        assert (await first.post(GOOD))[0] == 200
        server.start()
        assert (await first.post(GOOD, idempotency_key="k"))[0] == 200


async def test_redis_that_dies_while_the_request_runs_does_not_lose_the_answer(server):
    """The caller gets what was paid for, though it cannot be kept."""
    async with two_pods(server) as (first, _, evaluator):
        evaluator.hold = asyncio.Event()
        sent = asyncio.create_task(first.post(GOOD, idempotency_key="k"))
        await called(evaluator)
        server.kill()
        evaluator.hold.set()
        assert (await sent)[0] == 200


@pytest.mark.parametrize("key", ["", "two words", "x" * 256, "é"])
async def test_a_key_that_is_not_visible_ascii_is_refused(server, key):
    """1 to 255 visible ASCII characters."""
    async with two_pods(server) as (first, _, evaluator):
        status, _, problem = await first.post(GOOD, idempotency_key=key)
        assert (status, problem["code"]) == (422, "invalid_request")
        assert not evaluator.calls


async def test_the_lease_of_a_dead_owner_passes_to_the_waiter(server):
    """A process that died renews no more; a waiter takes over when the lease lapses."""
    async with store_on(server, lease_s=0.3) as one, store_on(server, lease_s=0.3) as other:
        dead = await one.claim("t", "k", "d", Deadline.after(5))
        await dead._renewal.stop()
        lease = await other.claim("t", "k", "d", Deadline.after(5))
        assert not isinstance(lease, StoredResponse)
        await dead.keep(StoredResponse(200, (), b"too late"))
        await lease.keep(ANSWER)
        assert await one.claim("t", "k", "d", Deadline.after(5)) == ANSWER


async def test_the_lease_of_a_living_owner_does_not_lapse(server):
    """A request longer than its lease is renewed; a waiter gives up at its own deadline."""
    async with store_on(server, lease_s=0.3) as one, store_on(server) as other:
        lease = await one.claim("t", "k", "d", Deadline.after(5))
        with pytest.raises(DeadlineExceeded):
            await other.claim("t", "k", "d", Deadline.after(1))
        with pytest.raises(RequestError):
            await other.claim("t", "k", "other", Deadline.after(1))
        await lease.release()


async def test_a_store_that_hangs_is_unavailable_in_time(server):
    """A Redis that takes connections and never answers does not hold the request for ever."""
    async with store_on(server) as store:
        server.pause()
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(store.claim("t", "k", "d", Deadline.after(5)), 5)
        server.resume()


async def test_large_answers_are_kept_small_and_for_a_day(server):
    """A megabyte of prose is compressed, and comes back byte for byte."""
    large = StoredResponse(200, ANSWER.headers, b"prose " * 170_000)
    client = connect(server.url)
    async with store_on(server) as store:
        lease = await store.claim("t", "k", "d", Deadline.after(5))
        await lease.keep(large)
        assert await store.claim("t", "k", "d", Deadline.after(5)) == large
        assert await client.hstrlen(record_key("t", "k"), "answer") < 50_000
        assert 86_000_000 < await client.pttl(record_key("t", "k")) <= 86_400_000
    await client.aclose()


async def test_it_runs_on_a_redis_cluster(tmp_path):
    """Each script touches one slot, so a cluster takes it as it stands."""
    server = RedisProcess(tmp_path, cluster=True)
    try:
        single = connect(server.url)
        await single.execute_command("CLUSTER", "ADDSLOTS", *range(16_384))
        for _ in range(200):
            if b"cluster_state:ok" in await single.execute_command("CLUSTER", "INFO"):
                break
            await asyncio.sleep(0.05)
        await single.aclose()
        client = connect(server.url.replace("redis:", "redis+cluster:"))
        store = RedisIdempotency(client, Supervisor(RecordedEvents()))
        lease = await store.claim("t", "k", "d", Deadline.after(5))
        await lease.keep(ANSWER)
        assert await store.claim("t", "k", "d", Deadline.after(5)) == ANSWER
        await client.aclose()
    finally:
        server.stop()


async def test_a_slow_redis_fails_no_request_of_many(server):
    """240 requests with keys at once, while Redis says nothing for most of a second."""
    client = connect(server.url)
    supervisor = Supervisor(RecordedEvents())
    store = RedisIdempotency(client, supervisor)
    server.command("CLIENT", "PAUSE", "800", "ALL")
    leases = await asyncio.gather(
        *(store.claim("a", f"key-{number}", "digest", Deadline.after(10)) for number in range(240))
    )
    await asyncio.gather(*(lease.keep(ANSWER) for lease in leases))
    assert len(leases) == 240
    await supervisor.stop()
    await client.aclose()
