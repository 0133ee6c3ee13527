"""Batches that stop when their gates are certain: real workers, of which one is killed."""

import json
from contextlib import asynccontextmanager

import aiohttp
import pytest

from fakes.batches import create, ended, lines, until, upload, worker
from fakes.chaos import CONFIG, kill
from fakes.providers.server import FaultServer
from fakes.redis_process import RedisProcess
from fakes.service_process import running_service

POLITE = [{"type": "rubric", "name": "polite", "rubric": "It is polite."}]
ROWS = 400


def rows(passing):
    """Of a hundred rows, so many pass."""
    return b"".join(
        json.dumps({"id": f"row-{n}", "output": f"{'good' if n % 100 < passing else 'bad'} {n}"})
        .encode() + b"\n"
        for n in range(ROWS)
    )  # fmt: skip


def judge(body):
    verdict = "pass" if "good" in json.dumps(body["messages"][-1]) else "fail"
    return json.dumps({"reasoning": "", "manipulation": "none", "verdict": verdict})


@asynccontextmanager
async def service(folder):
    """A service without a worker, and a judge that looks at what it is sent."""
    (folder / "redis").mkdir()
    redis = RedisProcess(folder / "redis")
    try:
        async with FaultServer() as provider:
            provider.answer, provider.latency_s = judge, 0.02
            url = provider.base_url("openai")
            config = CONFIG.format(redis=redis.url, provider=url, slots=8, lease_s=2, records="")
            config += "input_usd_per_mtok = 1.0\noutput_usd_per_mtok = 1.0\n"
            async with (
                running_service(folder, config) as running,
                aiohttp.ClientSession(running.url) as session,
            ):
                yield session, provider
    finally:
        redis.stop()


async def started(session, content, **fields):
    batch = await create(session, POLITE, **fields)
    await upload(session, batch, content)
    async with session.post(f"/v1/batches/{batch['id']}/start") as answer:
        assert answer.status == 200
    return batch


async def test_the_verdict_survives_the_death_of_a_worker(tmp_path):
    """kill −9 in the middle: the same verdict from the same rows as in an undisturbed run."""
    fields = {
        "gates": [{"criterion": "polite", "min_pass_rate": 0.9}],
        "stop_when_certain": {"alpha": 0.05, "seed": 3},
    }
    async with service(tmp_path) as (session, provider):
        first = await worker(tmp_path)
        try:
            undisturbed = await ended(session, await started(session, rows(80), **fields))
            before = provider.count
            batch = await started(session, rows(80), **fields)
            await until(lambda: provider.count >= before + 30)
        finally:
            await kill(first)
        second = await worker(tmp_path)
        try:
            disturbed = await ended(session, batch)
        finally:
            await kill(second)
    assert undisturbed["status"] == disturbed["status"] == "decided"
    assert disturbed["gates"] == undisturbed["gates"]
    assert undisturbed["gates"][0]["verdict"] == "failed"
    assert undisturbed["gates"][0]["rows"] > 38  # so the worker died before the verdict


async def test_a_clear_batch_uses_few_rows(tmp_path):
    """Rows not begun are not judged; those in flight have a result, and it says what was saved."""
    async with service(tmp_path) as (session, provider):
        process = await worker(tmp_path)
        try:
            for passing, verdict in ((99, "passed"), (40, "failed")):
                before = provider.count
                done = await decided(session, passing)
                [gate] = done["gates"]
                assert gate["verdict"] == verdict
                assert gate["rows"] <= provider.count - before < ROWS / 2
        finally:
            await kill(process)


async def decided(session, passing):
    """A batch with so many passes in a hundred, once it is decided."""
    fields = {"gates": [{"min_pass_rate": 0.8}], "stop_when_certain": {"seed": 1}}
    batch = await started(session, rows(passing), **fields)
    assert batch["stop_when_certain"] == {"alpha": 0.05, "seed": 1, "saved": None}
    assert batch["gates"][0]["verdict"] == "undecided"
    done = await ended(session, batch)
    assert done["status"] == "decided"
    saved, counts = done["stop_when_certain"]["saved"], done["counts"]
    assert saved["rows"] == counts["cancelled"] == ROWS - counts["scored"]
    assert saved["cost_usd"] == pytest.approx(done["cost_usd"] / counts["scored"] * saved["rows"])
    assert len(await lines(session, batch)) >= done["gates"][0]["rows"]
    async with session.get("/v1/batches") as answer:
        [latest, *_] = (await answer.json())["data"]
    assert (latest["id"], latest["status"]) == (batch["id"], "decided")
    return done
