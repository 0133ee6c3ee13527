"""An application with a public instrumentation exports its traces, and a share is judged."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import pytest

from assay.domain.trace_context import JUDGE_MEMBER
from assay.domain.traces import is_judge_trace, share_of
from assay.records.migrate import migrate
from assay.redis.client import connect
from assay.store.traces.traces import RedisTraces
from fakes.batches import keys_file
from fakes.postgres_process import PostgresProcess, postgres_programs
from fakes.providers.server import FaultServer
from fakes.redis_process import RedisProcess
from fakes.service_process import ROOT, clean_environment, running_service

CONFIG = """
[redis]
url = "{redis}"
[records]
url = "{records}"
[batches]
lease_s = 2
worker_in_serve = true
[providers.fake]
dialect = "openai"
base_url = "{provider}"
[models."fake/judge"]
provider = "fake"
name = "judge"
"""
KEY = "key-of-one"
CALLS, SHARE = 40, 0.2
RULE = {
    "name": "shop",
    "filter": 'service.name == "shop" and gen_ai.request.model == "small"',
    "evaluator": "quality",
    "sample_rate": SHARE,
}


async def application(model: str, *services: str) -> list[str]:
    """Run it to its end; the ids of its traces."""
    arguments = ["-m", "fakes.instrumented_app", model, KEY, str(CALLS), *services]
    environment = clean_environment({"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"})
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=environment, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode().split()


async def call(url: str, method: str, path: str, document: Any = None) -> Any:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with (
        aiohttp.ClientSession(url, headers=headers) as session,
        session.request(method, path, json=document) as response,
    ):
        assert response.status < 400, await response.text()
        return await response.json()


async def results(url: str, count: int) -> list[dict[str, Any]]:
    """The results of the rule, once there are so many."""
    done, hours, found = 0, [], []
    async with asyncio.timeout(60):
        while done < count:
            await asyncio.sleep(0.1)
            hours = (await call(url, "GET", "/v1/rules/shop/scores"))["data"]
            done = sum(one["counts"]["total"] - one["counts"]["pending"] for one in hours)
    for one in hours:
        found += (await call(url, "GET", f"/v1/batches/{one['id']}/results?limit=100"))["data"]
    return found


@pytest.fixture
def redis(tmp_path: Path):
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisProcess(folder)
    yield server
    server.stop()


@pytest.fixture
def records():
    """A database that several processes may use."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("there is no PostgreSQL here: bin/extras installs one")
    with TemporaryDirectory(prefix="assay-postgres-") as folder:
        server = PostgresProcess(Path(folder), programs)
        url = server.new_database()
        migrate(url)
        yield url
        server.stop()


@pytest.mark.timeout(240)
async def test_two_replicas_judge_the_same_share_and_a_kill_loses_nothing(
    tmp_path: Path, redis: RedisProcess, records: str
) -> None:
    """Every span goes to both, and both are killed before anything is judged.

    Each of the chosen traces has one result all the same, and the calls of the judge carry marks by
    which their own spans are known.
    """
    async with FaultServer(requests_kept=1_000) as provider:
        model = provider.base_url("openai")
        config = keys_file(tmp_path) + CONFIG.format(
            redis=redis.url, records=records, provider=model
        )
        async with (
            running_service(tmp_path, config) as one,
            running_service(tmp_path, config) as two,
        ):
            evaluator = {"name": "quality", "criteria": ["It answers."]}
            await call(one.url, "POST", "/v1/evaluators", evaluator)
            await call(one.url, "POST", "/v1/rules", RULE)
            await asyncio.sleep(6)  # the other replica knows the rule by now
            traces = await application(model, one.url, two.url)
            await asyncio.gather(one.kill(), two.kill())
        asked = len(provider.requests)
        async with running_service(tmp_path, config) as again:
            client = connect(redis.url)
            key = await RedisTraces(client).key()
            await client.aclose()
            wanted = {trace for trace in traces if share_of(key, trace) < SHARE}
            assert wanted
            found = await results(again.url, len(wanted))
            await asyncio.sleep(2)
            assert len(await results(again.url, len(wanted))) == len(wanted)
    assert len(traces) == CALLS
    assert {one["metadata"]["trace_id"] for one in found} == wanted
    assert len(found) == len(wanted)
    assert {one["status"] for one in found} == {"completed"}
    assert asked >= CALLS
    judge_calls = [
        {name.lower(): value for name, value in request.headers.items()}
        for request in provider.requests
        if request.path and b"Question" in request.raw and b"It answers." in request.raw
    ]
    assert len(judge_calls) >= len(wanted)
    for headers in judge_calls:
        assert headers["tracestate"] == JUDGE_MEMBER
        assert is_judge_trace(key, headers["traceparent"].split("-")[1])
