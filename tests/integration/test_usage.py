"""What judge calls take, counted in a real Redis, and shown by GET /v1/usage."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from assay.api.requests import EvaluationRequest
from assay.api.usage import UsageResponse
from assay.bootstrap.judging import open_judging
from assay.domain.completion import Caller, Usage
from assay.domain.evaluation import JudgeSpec
from assay.domain.events import AttemptFinished, UsageLost
from assay.domain.policy import Deadline
from assay.domain.supervision import Supervisor
from assay.domain.usage import Spent
from assay.evaluation.sandbox.pool import SandboxPool
from assay.http.keys_file import KeysFile, new_key
from assay.redis.client import connect
from assay.settings import Settings
from assay.store.usage import usage as usage_store
from assay.store.usage.usage import OTHER, RedisUsage
from assay.telemetry.sinks import Sinks
from fakes import documented
from fakes.batches import create, ended, until, upload
from fakes.engine import engine
from fakes.http_api import running_api
from fakes.providers.server import FaultServer
from fakes.recorded_events import RecordedEvents
from fakes.redis_process import RedisProcess
from fakes.service_process import running_service

MODEL = "fake/judge"
WITHIN_S = 20.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    process = RedisProcess(tmp_path_factory.mktemp("redis"))
    yield process
    process.stop()


@pytest.fixture
async def redis(server: RedisProcess) -> AsyncIterator[Redis]:
    async with Redis.from_url(server.url) as client:
        await client.flushall()
        yield client


@contextlib.asynccontextmanager
async def usage_on(url: str, events: RecordedEvents | None = None) -> AsyncIterator[RedisUsage]:
    """One process's counts; they are written at the end, or by `flush`."""
    client, events = connect(url), events or RecordedEvents()
    async with Supervisor(events) as supervisor:
        usage = RedisUsage(client)
        usage.start(supervisor, events)
        try:
            yield usage
        finally:
            await usage.aclose()
            await client.aclose()


def attempt(criteria: tuple[str, ...] = ("rubric",), **fields: Any) -> AttemptFinished:
    given = {"caller": Caller("acme"), "model": MODEL, "outcome": "ok", **fields}
    usage = given.pop("usage", Usage(100, 20, 5, 40))
    return AttemptFinished(
        provider="fake",
        seconds=1.0,
        first_byte_seconds=None,
        usage=usage,
        cost_usd=0.25,
        criteria=criteria,
        **given,
    )


def today() -> date:
    return datetime.now(UTC).date()


async def read(usage: RedisUsage, *tenants: str) -> dict[tuple[str, str], Spent]:
    """What each model and criterion of the tenants took today."""
    found: dict[tuple[str, str], Spent] = {}
    async for key, spent in usage.read(tenants or ("acme",), [today().isoformat()]):
        found[key.model, key.criterion] = found.get((key.model, key.criterion), Spent()) + spent
    return found


async def test_two_processes_count_into_the_same_hash(server: RedisProcess, redis: Redis) -> None:
    """Nothing of either is lost, and it is kept for 400 days."""
    async with usage_on(server.url) as one, usage_on(server.url) as other:
        for usage in (one, other, other):
            usage.emit(attempt())
        await asyncio.gather(one.flush(), other.flush())
        assert await read(one) == {(MODEL, "rubric"): Spent(3, Usage(300, 60, 15, 120), 0.75)}
        assert await one.tenants(today()) == ["acme"]
    (key,) = [name async for name in redis.scan_iter("*acme}:20*")]
    assert 399 * 86_400 < await redis.ttl(key) <= 400 * 86_400


async def test_what_was_not_sent_is_not_counted(server: RedisProcess, redis: Redis) -> None:
    """A candidate that was passed over took nothing; a call that failed counts."""
    async with usage_on(server.url) as usage:
        usage.emit(attempt(outcome="breaker_open", usage=Usage(0, 0)))
        usage.emit(attempt(outcome="answer_unreadable"))
        await usage.flush()
        assert (await read(usage))[MODEL, "rubric"].calls == 1


async def test_a_shared_call_is_divided_among_its_criteria(
    server: RedisProcess, redis: Redis
) -> None:
    """It is one call, of the first; its tokens and cost add up to what it took."""
    async with usage_on(server.url) as usage:
        usage.emit(attempt(("a", "b", "c")))
        await usage.flush()
        shares = await read(usage)
    assert [shares[MODEL, name].calls for name in "abc"] == [1, 0, 0]
    total = sum(shares.values(), Spent())
    assert total.usage == Usage(100, 20, 5, 40)
    assert total.cost_usd == pytest.approx(0.25)
    assert max(spent.usage.input_tokens for spent in shares.values()) == 34


async def test_the_criteria_of_a_day_are_bounded(
    server: RedisProcess, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers choose names: beyond the bound they count as `other`, with their model."""
    monkeypatch.setattr(usage_store, "PAIRS_MAX", 3)
    async with usage_on(server.url) as usage:
        for number in range(10):
            usage.emit(attempt((f"rubric:{number}",)))
        usage.emit(attempt(("rubric:0",), model="fake/second"))
        await usage.flush()
        usage.emit(attempt(("rubric:1",)))
        await usage.flush()
        found = await read(usage)
    assert len(found) == 5
    assert found[MODEL, "rubric:1"].calls == 2
    assert found[MODEL, OTHER].calls == 7
    assert found["fake/second", OTHER].calls == 1


async def test_an_outage_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """What was counted waits for Redis; a write whose reply was lost is not done twice."""
    server = RedisProcess(tmp_path, fsync="always")
    events = RecordedEvents()
    try:
        async with usage_on(server.url, events) as usage:
            usage.emit(attempt())
            await usage.flush()
            usage.emit(attempt())
            server.pause()
            await usage.flush()  # it stays in the socket, and is carried out once Redis goes on
            usage.emit(attempt())
            server.resume()
            await usage.flush()
            assert (await read(usage))[MODEL, "rubric"].calls == 3
            server.kill()
            usage.emit(attempt())
            await usage.flush()
            server.start()
            await usage.flush()
            assert (await read(usage))[MODEL, "rubric"].calls == 4
    finally:
        server.stop()
    assert not events.of(UsageLost)


async def test_what_waits_for_redis_is_bounded_and_its_loss_is_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls that fit in no sum are counted as lost; those that do are kept."""
    monkeypatch.setattr(usage_store, "WAITING_MAX", 2)
    server, events = RedisProcess(tmp_path), RecordedEvents()
    try:
        async with usage_on(server.url, events) as usage:
            server.kill()
            for number in range(5):
                usage.emit(attempt((f"rubric:{number}",)))
            usage.emit(attempt(("rubric:0",)))
            assert not events.of(UsageLost)
            server.start()
            await usage.flush()
            await usage.flush()
            assert sum(spent.calls for spent in (await read(usage)).values()) == 3
            assert events.of(UsageLost) == [UsageLost(3)]
            usage.emit(attempt())
            server.kill()
    finally:
        server.stop()
    assert events.of(UsageLost)[1:] == [UsageLost(1)]


async def test_it_runs_on_a_redis_cluster(tmp_path: Path) -> None:
    """Each script touches one slot, and days and tenants are read from any of them."""
    server = RedisProcess(tmp_path, cluster=True)
    try:
        server.command("CLUSTER", "ADDSLOTS", *range(16_384))
        await until(lambda: "cluster_state:ok" in str(server.command("CLUSTER", "INFO")))
        async with usage_on(server.url.replace("redis:", "redis+cluster:")) as usage:
            for tenant in ("acme", "rival"):
                usage.emit(attempt(caller=Caller(tenant)))
            await usage.flush()
            assert await usage.tenants(today()) == ["acme", "rival"]
            assert (await read(usage, "acme", "rival"))[MODEL, "rubric"].calls == 2
    finally:
        server.stop()


def settings_with(base_url: str) -> Settings:
    price = {"input_usd_per_mtok": 100, "output_usd_per_mtok": 200}
    models = {
        f"fake/{name}": {"provider": "fake", "name": name, "cached_input_usd_per_mtok": 10, **price}
        for name in ("one", "two")
    }
    return Settings.model_validate(
        {
            "providers": {"fake": {"dialect": "openai_chat", "base_url": base_url}},
            "models": models,
            "judges": {"default": {"models": list(models)}},
            "retry": {"budget_per_s": 1_000, "backoff_s": 0},
        }
    )


async def judged(usage: RedisUsage, server: RedisProcess, provider: FaultServer, **spec: Any):
    """An evaluation by three criteria and the whole nest of layers."""
    request = EvaluationRequest.model_validate(
        {
            "input": uuid.uuid4().hex,
            "output": "Paris.",
            "criteria": [
                "It is right.",
                {"type": "rubric", "name": "tone", "rubric": "It is polite."},
                {"type": "score", "name": "depth", "rubric": "It goes deep."},
            ],
        }
    )
    client = connect(server.url)
    events = Sinks([RecordedEvents(), usage])
    settings = settings_with(provider.base_url("openai"))
    try:
        async with (
            Supervisor(events) as supervisor,
            open_judging(settings, client, events, supervisor) as judging,
        ):
            sandbox = SandboxPool(events)
            outcome = await engine(judging.judges, sandbox, events).evaluate(
                request.to_case(),
                request.criteria,
                judge=JudgeSpec(**spec),
                caller=Caller("acme"),
                deadline=Deadline.after(WITHIN_S),
                metadata={},
            )
            await sandbox.aclose()
    finally:
        await client.aclose()
    return outcome.evaluation


@pytest.mark.parametrize(
    ("spec", "fault", "share"),
    [
        ({}, "200", 0.0),
        ({"samples": 3}, "200", 0.0),
        ({"strategy": "panel"}, "200", 0.0),
        ({"batch_criteria": True}, "200", 0.0),
        ({}, "length", 1.0),
        ({"samples": 3}, "500", 0.5),
        ({"batch_criteria": True}, "filtered", 1.0),
    ],
)
async def test_usage_adds_up_to_what_responses_show(
    server: RedisProcess, redis: Redis, spec: dict[str, Any], fault: str, share: float
) -> None:
    """Samples, panels, shared calls, repairs, retries, and calls that failed but were billed."""
    async with FaultServer() as provider, usage_on(server.url) as usage:
        if share:
            await provider.play(fault, share=share)
        evaluation = await judged(usage, server, provider, **spec)
        await usage.flush()
        found = await read(usage)
    total = sum(found.values(), Spent())
    assert total.calls == provider.count > 0
    assert total.usage == evaluation.usage
    assert total.cost_usd == pytest.approx(evaluation.cost_usd)
    assert {criterion for _, criterion in found} == {"rubric", "rubric:tone", "score:depth"}
    for result in evaluation.results:
        name = result.type if result.name == result.type else f"{result.type}:{result.name}"
        own = sum((one for (_, of), one in found.items() if of == name), Spent())
        assert own.usage.input_tokens == pytest.approx(result.usage.input_tokens, abs=2)
        assert own.cost_usd == pytest.approx(result.cost_usd)


@contextlib.asynccontextmanager
async def api_on(tmp_path: Path, usage: RedisUsage) -> AsyncIterator[Any]:
    """The API with a key for `acme`, a key for `rival`, and an operator's of `ops`."""
    keys = {}
    lines = []
    for tenant, *attributes in (("acme",), ("rival",), ("ops", "role=operator")):
        keys[tenant], line = new_key(tenant, *attributes)
        lines.append(line)
    (tmp_path / "keys").write_text("\n".join(lines))
    access = KeysFile(tmp_path / "keys", RecordedEvents())
    async with running_api(access=access, usage=usage) as api:

        async def get(tenant: str, query: str = "") -> tuple[int, Any, Any]:
            headers = {"Authorization": f"Bearer {keys.get(tenant, 'assay_none')}"}
            url = f"{api.url}/v1/usage{query}"
            async with api.http.get(url, headers=headers) as answer:
                return answer.status, answer.headers, await answer.json(content_type=None)

        yield get


async def test_a_tenant_sees_its_own_usage_and_an_operator_all(
    server: RedisProcess, redis: Redis, tmp_path: Path
) -> None:
    """Other tenants' usage needs role=operator; the total is that of the rows."""
    async with usage_on(server.url) as usage, api_on(tmp_path, usage) as get:
        for tenant, count in (("acme", 2), ("rival", 3)):
            for _ in range(count):
                usage.emit(attempt(caller=Caller(tenant)))
        await usage.flush()
        status, _, own = await get("acme", "?group_by=model,criterion")
        assert status == 200
        assert documented.faults(UsageResponse, own) == []
        spent = {
            "calls": 2,
            "usage": {
                "input_tokens": 200,
                "output_tokens": 40,
                "thinking_tokens": 10,
                "cached_tokens": 80,
                "cache_write_tokens": 0,
            },
            "cost_usd": 0.5,
        }
        assert own["data"] == [{"model": MODEL, "criterion": "rubric", **spent}]
        assert own["total"] == spent
        for query in ("?tenant=rival", "?tenant=acme", "?group_by=tenant"):
            assert (await get("acme", query))[0] == 403
        assert (await get("nobody", "?group_by=nonsense"))[0] == 401
        _, _, rival = await get("ops", "?tenant=rival")
        assert (rival["total"]["calls"], len(rival["data"])) == (3, 1)
        _, _, everyone = await get("ops", "?group_by=tenant")
        assert [(row["tenant"], row["calls"]) for row in everyone["data"]] == [
            ("acme", 2),
            ("rival", 3),
        ]
        assert everyone["total"]["calls"] == 5
        assert (await get("ops"))[2]["total"]["calls"] == 0


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("from=2026-13-01", "from"),
        ("from=20261101", "from"),
        ("to=yesterday", "to"),
        ("to=2026-11-26T00:00:00Z", "to"),
        ("from=2026-11-02&to=2026-11-01", "from"),
        ("from=2025-01-01&to=2026-11-01", "from"),
        ("group_by=", "group_by"),
        ("group_by=modle", "did you mean 'model'?"),
        ("group_by=day,day", "group_by"),
        ("group_by=day&group_by=model", "group_by"),
        ("tenant=no%20name", "tenant"),
        ("tenant=", "tenant"),
        ("grupby=day", "did you mean 'group_by'?"),
    ],
)
async def test_a_bad_query_is_refused_by_name(tmp_path: Path, query: str, named: str) -> None:
    """422, with the parameter at fault and without any look-up."""
    async with usage_on("redis://127.0.0.1:1/0") as usage, api_on(tmp_path, usage) as get:
        status, _, body = await get("ops", f"?{query}")
    assert (status, body["code"]) == (422, "invalid_request")
    assert named in body["detail"]


@pytest.mark.parametrize("query", ["", "?to=0001-01-01", "?from=2030-01-01&to=2030-02-01"])
async def test_days_without_usage_are_empty(
    server: RedisProcess, redis: Redis, tmp_path: Path, query: str
) -> None:
    """Nothing is invented for them, and none is an error."""
    async with usage_on(server.url) as usage, api_on(tmp_path, usage) as get:
        status, _, body = await get("acme", query)
    assert (status, body["data"], body["total"]["calls"]) == (200, [], 0)


async def test_without_redis_usage_is_unknown(tmp_path: Path) -> None:
    """503 with Retry-After, and never a 0."""
    async with usage_on("redis://127.0.0.1:1/0") as usage, api_on(tmp_path, usage) as get:
        for query in ("", "?group_by=tenant"):
            status, headers, body = await get("ops", query)
            assert (status, body["code"]) == (503, "store_unavailable")
            assert int(headers["Retry-After"]) >= 1


async def test_a_response_is_bounded(
    server: RedisProcess, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many rows, or days of tenants, are refused with what to ask for instead."""
    async with usage_on(server.url) as usage, api_on(tmp_path, usage) as get:
        for number in range(3):
            usage.emit(attempt((f"rubric:{number}",)))
        await usage.flush()
        monkeypatch.setattr("assay.api.usage.ROWS_MAX", 2)
        status, _, body = await get("acme", "?group_by=criterion")
        assert (status, "group_by" in body["detail"]) == (422, True)
        monkeypatch.setattr("assay.api.usage.READ_MAX", 29)
        status, _, body = await get("ops", "?group_by=tenant")
        assert (status, body["detail"].startswith("from ")) == (422, True)


CONFIG = """
[redis]
url = "{redis}"
[batches]
worker_in_serve = true
"""
ROWS = b'{"id": "1", "output": "Rome."}\n{"id": "2", "output": "Bonn."}\n'
CASE = {"output": "Paris.", "criteria": ["It is right."]}


async def test_processes_and_batches_count_alike(
    server: RedisProcess, redis: Redis, tmp_path: Path
) -> None:
    """One process answers and is ended by SIGTERM; the other works on a batch, shows both,
    and is killed: what was written stays."""
    config = CONFIG.format(redis=server.url)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    async with (
        running_service(tmp_path / "one", config) as one,
        running_service(tmp_path / "two", config) as two,
    ):
        async with (
            aiohttp.ClientSession(one.url) as session,
            session.post("/v1/evaluations", json=CASE) as answer,
        ):
            expected = (await answer.json())["usage"]["input_tokens"]
        assert await one.stop() == 0
        async with aiohttp.ClientSession(two.url) as session:
            batch = await create(session, ["It is right."])
            await upload(
                session, batch, b'{"id": "1", "output": "Rome."}\n{"id": "2", "output": "Bonn."}\n'
            )
            async with session.post(f"/v1/batches/{batch['id']}/start"):
                pass
            expected += (await ended(session, batch))["usage"]["input_tokens"]
            async with asyncio.timeout(WITHIN_S):
                total: dict[str, Any] = {"calls": 0}
                while total["calls"] < 3:
                    await asyncio.sleep(0.1)
                    async with session.get("/v1/usage") as answer:
                        total = (await answer.json())["total"]
        await two.kill()
    assert total["calls"] == 3
    assert total["usage"]["input_tokens"] == expected
    async with usage_on(server.url) as usage:
        kept = await read(usage, "default")
    assert sum(spent.calls for spent in kept.values()) == 3
