"""Redis dies, hangs, forgets or vanishes under a running service: callers hardly notice."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from assay.http.keys_file import new_key
from fakes.fleet import Answered, Pod, running_fleet
from fakes.providers.server import FaultServer
from fakes.redis_process import RedisProcess
from fakes.relay import Relay

pytestmark = pytest.mark.slow

CONFIG = """
[redis]
url = "redis://127.0.0.1:{port}"

[auth]
keys_file = "{keys}"

[tenants.capped]
usd_per_day = 100.0

[providers.first]
dialect = "openai"
base_url = "{first}"

[models."first/judge"]
provider = "first"
name = "judge-1"
requests_per_minute = 6000
input_usd_per_mtok = 1.0
output_usd_per_mtok = 2.0
"""
CALLERS = 4
PAUSE_S = 0.05
SETTLE_S = 0.4
"""After this the service has noticed, whatever it was doing."""


@dataclass
class Scene:
    """A service behind a relay to its Redis, with a caller that has a cost cap and one without."""

    redis: RedisProcess
    relay: Relay
    pod: Pod
    free: dict[str, str]
    capped: dict[str, str]

    async def load(self, seconds: float) -> list[Answered]:
        """Steady callers without a cap."""

        async def call(number: int) -> list[Answered]:
            answers, until_s = [], time.monotonic() + seconds
            while time.monotonic() < until_s:
                name = f"case-{number}-{time.monotonic_ns()}"
                answers.append(await self.pod.judge(name, timeout_ms=5_000, headers=self.free))
                await asyncio.sleep(PAUSE_S)
            return answers

        groups = await asyncio.gather(*(call(number) for number in range(CALLERS)))
        return [answer for group in groups for answer in group]

    async def judge_capped(self) -> str | None:
        """Who served the caller with a cap, or why it was not."""
        answer = await self.pod.judge(f"capped-{time.monotonic_ns()}", headers=self.capped)
        return answer.served_by or answer.body["results"][0]["reason"]

    async def degraded(self) -> bool:
        return await self.pod.metric("assay_quota_degraded") == 1

    async def until_healed(self) -> None:
        until_s = time.monotonic() + 10
        while await self.degraded() or await self.judge_capped() != "first":
            assert time.monotonic() < until_s, "the service did not heal by itself"
            await asyncio.sleep(0.1)


@pytest.fixture
async def scene(tmp_path) -> AsyncIterator[Scene]:
    (tmp_path / "redis").mkdir()
    redis = RedisProcess(tmp_path / "redis", keep=False)
    keys = {tenant: new_key(tenant) for tenant in ("free", "capped")}
    keys_file = tmp_path / "keys"
    keys_file.write_text("".join(f"{line}\n" for _, line in keys.values()))
    headers = {tenant: {"Authorization": f"Bearer {key}"} for tenant, (key, _) in keys.items()}
    try:
        async with FaultServer() as provider, Relay(redis.port) as relay:
            config = CONFIG.format(
                port=relay.port, keys=keys_file, first=provider.base_url("openai")
            )
            async with running_fleet(tmp_path, config, pods=1) as (pod,):
                yield Scene(redis, relay, pod, headers["free"], headers["capped"])
    finally:
        redis.stop()


@contextlib.asynccontextmanager
async def killed(scene: Scene) -> AsyncIterator[None]:
    scene.redis.kill()
    yield
    scene.redis.start()


@contextlib.asynccontextmanager
async def paused(scene: Scene) -> AsyncIterator[None]:
    scene.redis.pause()
    yield
    scene.redis.resume()


@contextlib.asynccontextmanager
async def blackholed(scene: Scene) -> AsyncIterator[None]:
    await scene.relay.swallow()
    yield
    await scene.relay.heal()


def p99_s(answers: list[Answered]) -> float:
    ordered = sorted(answer.seconds for answer in answers)
    return ordered[int(len(ordered) * 0.99)]


Trouble = Callable[[Scene], contextlib.AbstractAsyncContextManager[None]]


@pytest.mark.parametrize(("trouble", "seconds"), [(killed, 2.0), (paused, 3.0), (blackholed, 3.0)])
async def test_requests_flow_without_redis_and_it_heals_by_itself(scene, trouble: Trouble, seconds):
    """Served in usual time from the local share; ready; said so; only what has a cost cap stops."""
    assert await scene.judge_capped() == "first"
    usual = await scene.load(1.5)
    async with trouble(scene):
        loading = asyncio.create_task(scene.load(seconds))
        await asyncio.sleep(SETTLE_S)
        capped = await scene.judge_capped()
        degraded, ready = await scene.degraded(), await scene.pod.ready()
        troubled = await loading
    await scene.until_healed()
    after = await scene.load(0.5)
    async with asyncio.timeout(10):  # the store is watched once a second, apart from the quotas
        while "store_recovered" not in (log := scene.pod.service.log.read_text()):  # noqa: ASYNC110
            await asyncio.sleep(0.1)

    for answers in (usual, troubled, after):
        assert {answer.served_by for answer in answers} == {"first"}
    assert (degraded, ready, capped) == (True, True, "cost_cap_reached")
    assert "store_unavailable" in log
    # Were each call to wait for Redis in vain, it would take at least two connect time-outs.
    assert p99_s(troubled) < p99_s(usual) + 0.5


async def test_a_flushed_redis_goes_unnoticed(scene):
    """Scripts and buckets are created again; no call fails or waits."""
    loading: Awaitable[list[Answered]] = asyncio.create_task(scene.load(2.0))
    for _ in range(3):
        await asyncio.sleep(0.4)
        scene.redis.command("FLUSHALL")
        scene.redis.command("SCRIPT", "FLUSH")
        assert await scene.judge_capped() == "first"
    answers = await loading
    assert {answer.served_by for answer in answers} == {"first"}
    assert await scene.pod.ready()
