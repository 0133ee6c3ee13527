"""Breakers of several pods on a real Redis."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis, RedisCluster

from assay.domain.call_results import FAILURE
from assay.domain.errors import BreakerOpen, ModelError, ProviderDown, RateLimited, StoreUnavailable
from assay.domain.policy import BreakerPolicy
from assay.domain.supervision import Supervisor
from assay.resilience.breaker.breaker import Breaker, ProbeLease
from assay.resilience.breaker.fleet import BreakerFleet
from assay.resilience.guarded import ASK_AGAIN_S, Guarded
from fakes.calls import call
from fakes.models import MODEL, GatedModel, ScriptedModel, answer, ask
from fakes.policies import breaker_policy
from fakes.recorded_events import RecordedEvents
from fakes.redis_process import RedisProcess

ROOT = Path(__file__).parents[2]

POLICY = breaker_policy(calls_min=20, open_s=0.05, open_max_s=0.2)
SLOW_TO_DUE = replace(POLICY, open_s=30.0, open_max_s=30.0)

BUDGET_S = 5.0
"""Generous, so that a busy test machine is not taken for a Redis that is gone."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    process = RedisProcess(tmp_path_factory.mktemp("redis"), keep=False)
    yield process
    process.stop()


@pytest.fixture
def redis_server(server: RedisProcess) -> RedisProcess:
    server.command("FLUSHALL")
    return server


class Pod:
    """One process of the service as far as a breaker is concerned."""

    def __init__(
        self,
        redis: Redis | RedisCluster,
        policy: BreakerPolicy = POLICY,
        budget_s: float = BUDGET_S,
    ) -> None:
        self.redis = redis
        self.sink = RecordedEvents()
        self._guarded: dict[ScriptedModel | GatedModel, Guarded] = {}
        self.breaker = Breaker(MODEL.id, policy, self.sink)
        # Tests share by hand, so that what happens between two shares is theirs to say.
        self.fleet = BreakerFleet(
            redis, Supervisor(self.sink), share_every_s=3_600.0, budget_s=budget_s
        )
        self.fleet.add(self.breaker)

    @property
    def state(self) -> str:
        return self.breaker.state

    def guarding(self, model: ScriptedModel | GatedModel) -> Guarded:
        if model not in self._guarded:
            self._guarded[model] = Guarded(model, MODEL, self.breaker, self.sink, self.fleet)
        return self._guarded[model]

    async def call(self, model: ScriptedModel | GatedModel) -> str:
        try:
            await self.guarding(model).complete(ask(), call(20.0))
        except ModelError as error:
            return error.outcome
        return "ok"

    async def trip(self) -> None:
        for _ in range(self.breaker.policy.calls_min):
            await self.call(ScriptedModel(ProviderDown("503")))
        assert self.state == "open"
        await self.fleet.share_now()


@pytest.fixture
async def pods(redis_server: RedisProcess) -> AsyncIterator[list[Pod]]:
    clients = [Redis.from_url(redis_server.url) for _ in range(3)]
    yield [Pod(client) for client in clients]
    for client in clients:
        await client.aclose()


async def until(condition: Callable[[], bool]) -> None:
    """Let the others work until `condition` holds."""
    async with asyncio.timeout(30.0):
        while not condition():  # noqa: ASYNC110 -- what is awaited has no event to wait for
            await asyncio.sleep(0.005)


async def due(pod: Pod) -> None:
    await until(lambda: pod.breaker.due_in_s <= 0)


async def share(pods: list[Pod]) -> None:
    for pod in pods:
        await pod.fleet.share_now()


async def test_trip_of_one_pod_reaches_the_others(pods: list[Pod]) -> None:
    """A pod that found a provider down spares the others finding out."""
    await pods[0].trip()
    await share(pods)
    assert [pod.state in {"open", "half_open"} for pod in pods] == [True] * 3


async def test_fleet_trips_on_counts_that_alarm_no_pod(pods: list[Pod]) -> None:
    """Seven failures in each of three pods are twenty-one in the fleet."""
    for pod in pods:
        for _ in range(7):
            await pod.call(ScriptedModel(ProviderDown("503")))
        assert pod.state == "closed"
    await share(pods)
    assert pods[-1].state != "closed"


async def test_background_task_shares_a_trip_at_once(redis_server: RedisProcess) -> None:
    """A trip is reported at once, not with the next second's counts."""
    async with Redis.from_url(redis_server.url) as client:
        pod = Pod(client, SLOW_TO_DUE)
        pod.fleet.start()
        for _ in range(POLICY.calls_min):
            await pod.call(ScriptedModel(ProviderDown("503")))
        await until(lambda: not pod.breaker.trip_unshared)
        other = Pod(client, SLOW_TO_DUE)
        await other.fleet.share_now()
        assert other.state == "open"
        await pod.fleet.aclose()


async def test_exactly_three_probes_in_the_fleet_and_then_closed(pods: list[Pod]) -> None:
    """Of sixty callers in three pods, three probe; when they succeed, all pods close."""
    await pods[0].trip()
    await share(pods)
    await due(pods[0])
    model = GatedModel()
    calls = [asyncio.create_task(pod.call(model)) for pod in pods for _ in range(20)]
    await until(lambda: model.in_flight == 3 and sum(task.done() for task in calls) == 57)
    model.gate.set()
    outcomes = await asyncio.gather(*calls)
    assert sorted(outcomes) == ["breaker_open"] * 57 + ["ok"] * 3
    await share(pods)
    await share(pods)
    assert [pod.state for pod in pods] == ["closed"] * 3


async def test_failed_probe_opens_every_pod_for_longer(pods: list[Pod]) -> None:
    """One failed probe is enough, and the next try is twice as far away."""
    policy = replace(POLICY, open_s=0.3, open_max_s=60.0)
    first, second = Pod(pods[0].redis, policy), Pod(pods[1].redis, policy)
    await first.trip()
    await share([second])
    await due(first)
    assert await first.call(ScriptedModel(ProviderDown("503"))) == "provider_down"
    await share([first, second])
    assert second.state == "open"
    assert second.breaker._openings == 2


async def test_rate_limited_probe_shows_that_the_provider_answers(pods: list[Pod]) -> None:
    """A 429 is no reason to keep the breaker open."""
    await pods[0].trip()
    await due(pods[0])
    for _ in range(POLICY.probes):
        await pods[0].call(ScriptedModel(RateLimited("429")))
        await pods[0].fleet.share_now()
    assert pods[0].state == "closed"


async def test_cancelled_probe_frees_its_lease(pods: list[Pod]) -> None:
    """The place of a caller that went away is taken by the next, in any pod."""
    await pods[0].trip()
    await share(pods)
    await due(pods[0])
    model = GatedModel()
    probes = [asyncio.create_task(pods[0].call(model)) for _ in range(3)]
    await until(lambda: model.in_flight == 3)
    assert await pods[1].call(model) == "breaker_open"
    probes[0].cancel()
    with suppress(asyncio.CancelledError):
        await probes[0]
    await pods[0].fleet.share_now()
    late = asyncio.create_task(pods[2].call(model))
    await until(lambda: model.in_flight == 3)
    model.gate.set()
    assert await asyncio.gather(late, *probes[1:]) == ["ok"] * 3


async def test_lease_of_a_dead_owner_expires(pods: list[Pod]) -> None:
    """Three pods that died in their probes do not keep a provider out for ever."""
    await pods[0].trip()
    await due(pods[0])
    for _ in range(3):
        assert await pods[0].fleet.lease_probe(pods[0].breaker, 0.2)
    assert await pods[1].fleet.lease_probe(pods[1].breaker, 0.2) is None
    await asyncio.sleep(0.25)
    assert await pods[1].fleet.lease_probe(pods[1].breaker, 0.2)


async def test_won_probes_are_not_sent_again(pods: list[Pod]) -> None:
    """One won and two under way are three: a fourth is not let through."""
    await pods[0].trip()
    await due(pods[0])
    leases = [await pods[0].fleet.lease_probe(pods[0].breaker, 20.0) for _ in range(3)]
    assert leases[0]
    pods[0].fleet.settle_probe(pods[0].breaker, leases[0], "success", 20.0)
    await pods[0].fleet.share_now()
    assert await pods[1].fleet.lease_probe(pods[1].breaker, 20.0) is None


async def test_result_that_comes_after_its_lease_counts_for_nothing(pods: list[Pod]) -> None:
    """A probe that took longer than anyone would wait for it proves no recovery."""
    await pods[0].trip()
    await due(pods[0])
    leases = [await pods[0].fleet.lease_probe(pods[0].breaker, 0.05) for _ in range(3)]
    await asyncio.sleep(0.1)
    for lease in leases:
        assert lease
        pods[0].fleet.settle_probe(pods[0].breaker, lease, "success", 20.0)
    await pods[0].fleet.share_now()
    assert pods[0].state == "half_open"


async def test_fleet_forgets_what_left_the_window(pods: list[Pod]) -> None:
    """Twenty-one failures spread over more than a window do not trip."""
    patient = [Pod(pod.redis, replace(POLICY, window_s=0.5)) for pod in pods]
    for pod in patient:
        for _ in range(7):
            await pod.call(ScriptedModel(ProviderDown("503")))
        await pod.fleet.share_now()
        await asyncio.sleep(0.3)
    await share(patient)
    assert {pod.state for pod in patient} == {"closed"}


async def test_crowd_at_a_due_breaker_does_not_run_to_redis(
    redis_server: RedisProcess, pods: list[Pod]
) -> None:
    """Of two hundred callers in a pod only as many ask the fleet as there are probes."""
    await pods[0].trip()
    await due(pods[0])
    redis_server.command("CONFIG", "RESETSTAT")
    model = GatedModel()
    calls = [asyncio.create_task(pods[0].call(model)) for _ in range(200)]
    await until(lambda: model.in_flight == 3 and sum(task.done() for task in calls) == 197)
    # Each script begins with one HMGET.
    stats = redis_server.command("INFO", "commandstats")
    assert isinstance(stats, dict)
    assert stats["cmdstat_hmget"]["calls"] == 3
    model.gate.set()
    await asyncio.gather(*calls)


async def test_pod_alone_in_its_trip_probes_by_itself(pods: list[Pod]) -> None:
    """Where the fleet has not heard of the trip and takes the model for healthy, the pod that
    knows better sends its own three probes."""
    for _ in range(POLICY.calls_min):
        await pods[0].call(ScriptedModel(ProviderDown("503")))
    await due(pods[0])
    for _ in range(POLICY.probes):
        assert await pods[0].call(ScriptedModel()) == "ok"
    assert pods[0].state == "closed"


async def test_result_counts_only_in_the_generation_that_sent_it(pods: list[Pod]) -> None:
    """Successes of an earlier half-open do not close a breaker that has failed since."""
    pod = pods[0]
    await pod.trip()
    await due(pod)
    early = [await pod.fleet.lease_probe(pod.breaker, 20.0) for _ in range(3)]
    assert all(early)
    assert isinstance(early[0], ProbeLease)
    pod.fleet.settle_probe(pod.breaker, early[0], "failure", 20.0)
    await pod.fleet.share_now()
    await due(pod)
    assert await pod.fleet.lease_probe(pod.breaker, 20.0)
    for lease in early:
        assert lease
        pod.fleet.settle_probe(pod.breaker, lease, "success", 20.0)
    await pod.fleet.share_now()
    assert pod.state == "half_open"


async def test_operators_orders_reach_every_pod(pods: list[Pod]) -> None:
    """Forced open, disabled and reset hold in the fleet, and for models without a breaker fail."""
    for order, state in (("forced_open", "forced_open"), ("disabled", "disabled")):
        await pods[0].fleet.set_breaker(MODEL.id, order)  # type: ignore[arg-type]
        await share(pods)
        assert [pod.state for pod in pods] == [state] * 3
    await pods[1].fleet.set_breaker(MODEL.id, "reset")
    await share(pods)
    assert [pod.state for pod in pods] == ["closed"] * 3
    with pytest.raises(KeyError):
        await pods[0].fleet.set_breaker("no/such-model", "reset")


async def test_paused_redis_leaves_each_pod_to_itself(redis_server: RedisProcess) -> None:
    """With Redis silent for a while a pod probes three times on its own, and later the fleet heals.

    A single late answer is no reason: then each pod would send the probes of the whole fleet.
    """
    async with Redis.from_url(redis_server.url) as client:
        pod = Pod(client, budget_s=0.05)
        await pod.trip()
        redis_server.pause()
        try:
            await due(pod)
            assert await pod.call(ScriptedModel()) == "breaker_open", "it is only late as yet"
            await pod.fleet.share_now()
            assert not pod.fleet.decides_alone(pod.breaker)
            await pod.fleet.share_now()
            assert pod.fleet.decides_alone(pod.breaker)
            await asyncio.sleep(ASK_AGAIN_S)
            model = GatedModel()
            calls = [asyncio.create_task(pod.call(model)) for _ in range(3)]
            await until(lambda: model.in_flight == 3)
            assert await pod.call(model) == "breaker_open"
            model.gate.set()
            assert await asyncio.gather(*calls) == ["ok"] * 3
            assert pod.state == "closed"
            with pytest.raises(StoreUnavailable):
                await pod.fleet.set_breaker(MODEL.id, "reset")
        finally:
            redis_server.resume()
        newcomer = Pod(client)
        await newcomer.fleet.share_now()
        async with asyncio.timeout(30.0):
            while {pod.state, newcomer.state} != {"closed"}:
                await pod.call(ScriptedModel())
                await share([pod, newcomer])


async def test_open_pod_tells_a_flushed_redis(redis_server: RedisProcess) -> None:
    """Redis that lost its memory learns again what is open, and so do new pods."""
    async with Redis.from_url(redis_server.url) as client:
        pod, newcomer = Pod(client, SLOW_TO_DUE), Pod(client, SLOW_TO_DUE)
        await pod.trip()
        redis_server.command("FLUSHALL")
        await share([pod, pod, newcomer])
        assert (pod.state, newcomer.state) == ("open", "open")


async def test_every_script_keeps_to_one_slot_of_a_cluster(tmp_path: Path) -> None:
    """Trip, probe, settle and order run on a cluster as they stand."""
    process = RedisProcess(tmp_path, cluster=True, keep=False)
    try:
        process.command("CLUSTER", "ADDSLOTS", *range(16_384))
        await until(lambda: "cluster_state:ok" in str(process.command("CLUSTER", "INFO")))
        async with RedisCluster(host="127.0.0.1", port=process.port) as client:
            pod = Pod(client)
            await pod.trip()
            await due(pod)
            for _ in range(POLICY.probes):
                assert await pod.call(ScriptedModel(answer())) == "ok"
                await pod.fleet.share_now()
            assert pod.state == "closed"
            await pod.fleet.set_breaker(MODEL.id, "disabled")
            assert pod.state == "disabled"
    finally:
        process.stop()


PROBER = """
import asyncio, sys
sys.path[:0] = sys.argv[2:]
from redis.asyncio import Redis
from fakes.policies import breaker_policy
from assay.domain.supervision import Supervisor
from assay.resilience.breaker.breaker import Breaker
from assay.resilience.breaker.fleet import BreakerFleet

class Nowhere:
    def emit(self, event): pass

async def main():
    async with Redis.from_url(sys.argv[1]) as client:
        breaker = Breaker("fake/judge", breaker_policy(), Nowhere())
        fleet = BreakerFleet(client, Supervisor(Nowhere()), budget_s=20.0)
        sys.stdin.readline()
        leases = [await fleet.lease_probe(breaker, 30.0) for _ in range(20)]
        print(sum(lease is not None for lease in leases))

asyncio.run(main())
"""


async def test_exactly_three_probes_over_processes(
    redis_server: RedisProcess, pods: list[Pod]
) -> None:
    """Four processes that ask twenty times each, at once, get three leases between them."""
    await pods[0].trip()
    await due(pods[0])
    command = [
        sys.executable,
        "-c",
        PROBER,
        redis_server.url,
        str(ROOT / "src"),
        str(ROOT / "tests"),
    ]
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe) for _ in range(4)
    ]
    outputs = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    granted = [int(output) for output, _ in outputs]
    assert sum(granted) == 3


STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["ask", "success", "none", "share"])),
    min_size=8,
    max_size=30,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS)
def test_probes_under_way_and_won_never_exceed_three(
    redis_server: RedisProcess, steps: list[tuple[int, str]]
) -> None:
    """Over any order of asking, winning and giving up: a lease is granted if and only if fewer
    than three probes are under way or won."""

    async def run() -> None:
        async with Redis.from_url(redis_server.url) as client:
            await client.flushall()
            pods = [Pod(client, replace(POLICY, open_s=0.0, open_max_s=0.0)) for _ in range(3)]
            for _ in range(POLICY.calls_min):
                permit = pods[0].breaker.permit()
                if permit is not None:
                    pods[0].breaker.settle(permit, FAILURE)
            await share(pods)
            under_way: list[tuple[Pod, ProbeLease]] = []
            won = 0
            for number, step in steps:
                pod = pods[number]
                if step == "share":
                    await pod.fleet.share_now()
                elif step == "ask":
                    lease = await pod.fleet.lease_probe(pod.breaker, 30.0)
                    assert (lease is not None) == (len(under_way) + won < 3 and won < 3)
                    if lease is not None:
                        under_way.append((pod, lease))
                elif under_way:
                    owner, lease = under_way.pop(0)
                    owner.fleet.settle_probe(owner.breaker, lease, step, 30.0)  # type: ignore[arg-type]
                    await owner.fleet.share_now()
                    won += step == "success"
            await share(pods)
            await share(pods)
            states = {pod.state for pod in pods}
            assert states == ({"closed"} if won >= 3 else {"half_open"})

    asyncio.run(run())


async def test_open_breaker_says_when_to_retry(pods: list[Pod]) -> None:
    """The refusal carries the time until the breaker is due."""
    pod = Pod(pods[0].redis, SLOW_TO_DUE)
    await pod.trip()
    with pytest.raises(BreakerOpen) as caught:
        await pod.guarding(ScriptedModel()).complete(ask(), call(5.0))
    assert caught.value.retry_after_s == pytest.approx(30.0, abs=4.0)
