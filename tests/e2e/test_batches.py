"""Batches over HTTP, through a real service with its private Redis and its own worker."""

import asyncio
import json
import signal
from contextlib import AsyncExitStack

import aiohttp
import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook

from assay.http.readers import PLACES_PER_TENANT_MAX
from fakes.batches import (
    CONTAINS,
    NDJSON,
    create,
    ended,
    events,
    file_of,
    keys_file,
    lines,
    results,
    until,
    upload,
    worker,
)
from fakes.chaos import CONFIG, kill
from fakes.providers.server import FaultServer
from fakes.redis_process import RedisProcess
from fakes.service_process import running_service


@pytest.fixture
async def api(tmp_path):
    """A session with a running service, with two tenants."""
    config = keys_file(tmp_path)
    async with (
        running_service(tmp_path, config) as service,
        aiohttp.ClientSession(
            service.url, headers={"Authorization": "Bearer key-of-one"}
        ) as session,
    ):
        yield session


async def test_rows_are_uploaded_scored_and_read_in_order(api):
    """The whole way: create, upload, start, results by cursor and as NDJSON, summary, delete."""
    batch = await create(api)
    assert batch["status"] == "open"
    added = await upload(api, batch, file_of(25))
    assert (added["accepted"], added["known"], added["rejected"]) == (25, 0, 0)
    async with api.post(f"/v1/batches/{batch['id']}/start") as answer:
        assert answer.status == 200
    done = await ended(api, batch)
    assert done["counts"]["scored"] == done["counts"]["total"] == 25
    assert done["summary"]["criteria"][0]["mean"] == pytest.approx(3 / 5)
    assert done["summary"]["rows"]["clusters"] == 5
    assert done["summary"]["criteria"][0]["pass_rate"] == pytest.approx(3 / 5)
    paged = await results(api, batch, limit=10)
    streamed = await lines(api, batch)
    assert paged == streamed
    assert [result["item_index"] for result in paged] == list(range(25))
    assert [result["item_id"] for result in paged] == [f"row-{n}" for n in range(25)]
    assert all(result["object"] == "evaluation" for result in paged)
    async with api.delete(f"/v1/batches/{batch['id']}") as answer:
        assert answer.status == 204
    async with api.get(f"/v1/batches/{batch['id']}") as answer:
        assert answer.status == 404


async def test_bad_rows_are_told_and_sink_nothing(api):
    """Each with its line and reason; a repeated upload adds and counts nothing twice."""
    batch = await create(api)
    content = b"\n".join(
        [
            b'{"id": "good", "output": "yes"}',
            b'{"id": "cut", "outp',
            b'{"id": "no-output"}',
            b'{"id": "good", "output": "another"}',
            b"",
            b'["no", "object"]',
            json.dumps({"id": "huge", "output": "x" * 3_000_000}).encode(),
            b'{"id": "unknown", "output": "yes", "colour": "red"}',
            b'{"output": "no id"}',
            b'{"id": "last", "output": "yes"}',
        ]
    )
    for round_ in (1, 2):
        added = await upload(api, batch, content)
        messages = {row["line"]: row["message"] for row in added["bad_rows"]}
        assert (added["accepted"], added["known"]) == ((2, 0) if round_ == 1 else (0, 2))
        assert sorted(messages) == [2, 3, 4, 6, 7, 8, 9]
        assert "must be valid JSON" in messages[2]
        assert messages[3] == "/output: is required"
        assert "other content" in messages[4]
        assert "must have at most" in messages[7]
    async with api.get(f"/v1/batches/{batch['id']}") as answer:
        body = await answer.json()
    assert (body["counts"]["total"], body["counts"]["rejected"]) == (2, 7)
    assert [row["line"] for row in body["bad_rows"]] == [2, 3, 4, 6, 7, 8, 9]


async def test_an_ended_batch_takes_no_rows_not_even_bad_ones(api):
    """409 for good rows, bad rows and none, and what was counted stays as it was."""
    batch = await create(api, items=[{"id": "a", "output": "good"}])
    before = (await ended(api, batch))["counts"]
    for content in (b'{"id": "b", "output": "good"}', b"{bad", b""):
        path = f"/v1/batches/{batch['id']}/items"
        async with api.put(path, data=content, headers=NDJSON) as answer:
            assert answer.status == 409
    assert (await ended(api, batch))["counts"] == before


async def test_bad_rows_are_an_event(api):
    """Who follows an open batch hears of rows that were not taken as well."""
    batch = await create(api)
    async with asyncio.timeout(20), api.get(f"/v1/batches/{batch['id']}/events") as events:
        assert await one_event(events) == 0
        await upload(api, batch, b"{bad")
        assert await one_event(events) == 1


async def one_event(events):
    """The number of rejected rows in the next event."""
    async for line in events.content:
        if line.startswith(b"data: "):
            return json.loads(line[6:])["counts"]["rejected"]
    return None


def gated(gate, **fields):
    return {"criteria": [{"type": "contains", "value": "good"}], "gates": [gate], **fields}


BAD_GATES = [
    (gated({"criterion": "rude", "min_score": 0.5}), "/gates/0/criterion"),
    (gated({"criterion": "contains"}), "/gates/0/min_score"),
    (gated({"min_score": 0.5, "min_pass_rate": 0.5}), "/gates/0/min_pass_rate"),
    (gated({"min_score": 0}), "/gates/0/min_score"),
    (gated({"min_pass_rate": 1.1}), "/gates/0/min_pass_rate"),
    (gated({"min_pass_rate": "NaN"}), "/gates/0/min_pass_rate"),
    (gated({"min_score": 0.5}, stop_when_certain={"alpha": 0}), "/stop_when_certain/alpha"),
    (gated({"min_score": 0.5}, stop_when_certain={"alpha": 1}), "/stop_when_certain/alpha"),
    (gated({"min_score": 0.5}, stop_when_certain={"seed": -1}), "/stop_when_certain/seed"),
    ({"criteria": ["polite"], "stop_when_certain": {}}, "/stop_when_certain"),
    ({"criteria": ["polite"], "gates": [{"min_score": 0.5}] * 17}, "/gates"),
]


async def test_gates_without_an_early_end_show_their_verdicts(api):
    """Rows keep their order, and the batch is completed; a row without a score decides nothing."""
    items = [{"id": n, "output": "good" if n < 3 else "bad"} for n in range(4)]
    gates = [{"min_score": 0.75}, {"criterion": "contains", "min_pass_rate": 0.9}]
    done = await ended(api, await create(api, items=items, gates=gates))
    assert (done["status"], done["stop_when_certain"]) == ("completed", None)
    assert [gate["verdict"] for gate in done["gates"]] == ["passed", "failed"]
    assert done["gates"][0] == {
        "criterion": None,
        "min_score": 0.75,
        "min_pass_rate": None,
        "verdict": "passed",
        "interval": [0.75, 0.75],
        "rows": 4,
        "statement": "Passed after 4 of 4 rows: the mean lies from 0.750 to 0.750, "
        "and the gate is 0.75.",
    }
    async with api.get("/v1/batches") as answer:
        assert (await answer.json())["data"][0]["gates"] is None


async def test_what_cannot_be_made_is_refused(api):
    """Unknown criteria and judges, and private webhooks, are 422; an empty batch is 409."""
    for request, code, pointer in (
        ({"criteria": [{"type": "nonsense"}]}, "unknown_criterion", "/criteria/0/type"),
        ({"criteria": ["polite"], "judge": "nobody"}, "unknown_model", "/judge"),
        ({"criteria": []}, "invalid_request", "/criteria"),
        (
            {"criteria": ["polite"], "webhook": {"url": "https://169.254.169.254/latest"}},
            "invalid_request",
            "/webhook/url",
        ),
        (
            {"criteria": ["polite"], "items": [{"id": "a"}]},
            "invalid_request",
            "/items/0",
        ),
        *((request, "invalid_request", pointer) for request, pointer in BAD_GATES),
    ):
        async with api.post("/v1/batches", json=request) as answer:
            body = await answer.json()
        assert (answer.status, body["code"]) == (422, code), body
        assert body["errors"][0]["pointer"] == pointer
    batch = await create(api)
    async with api.post(f"/v1/batches/{batch['id']}/start") as answer:
        assert answer.status == 409


async def test_an_upload_cut_in_the_middle_is_repeated(api):
    """The rows that came are there, no half row is, and the repeat adds the rest."""
    batch = await create(api)
    content = file_of(3_000)

    async def cut():
        yield content[: len(content) // 2]
        await asyncio.sleep(0.2)
        raise ConnectionError

    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await api.put(f"/v1/batches/{batch['id']}/items", data=cut(), headers=NDJSON)
    added = await upload(api, batch, content)
    assert added["accepted"] + added["known"] == 3_000
    assert added["rejected"] == 0


async def test_a_create_with_a_key_makes_one_batch(api):
    """The same Idempotency-Key gives the same batch again; rows in the request start it."""
    request = {"criteria": CONTAINS, "items": [{"id": 1, "output": "good"}]}
    made = []
    for _ in range(2):
        headers = {"Idempotency-Key": "one"}
        async with api.post("/v1/batches", json=request, headers=headers) as answer:
            assert answer.status == 201
            made.append(await answer.json())
    assert made[0]["id"] == made[1]["id"]
    assert (await ended(api, made[0]))["score"] == 1.0
    async with api.get("/v1/batches") as answer:
        assert [batch["id"] for batch in (await answer.json())["data"]] == [made[0]["id"]]


async def test_another_tenant_sees_nothing(api):
    """Every route of a batch is 404 to others, and their list is empty."""
    batch = await create(api)
    other = {"Authorization": "Bearer key-of-two"}
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/start"),
        ("POST", "/cancel"),
        ("GET", "/results"),
        ("GET", "/events"),
        ("PUT", "/items"),
    ):
        options = {"data": b"{}", "headers": {**other, **NDJSON}} if method == "PUT" else {}
        options.setdefault("headers", other)
        async with api.request(method, f"/v1/batches/{batch['id']}{path}", **options) as answer:
            assert answer.status == 404, (method, path)
    async with api.get("/v1/batches", headers=other) as answer:
        assert (await answer.json())["data"] == []


async def test_event_streams_of_one_tenant_leave_room_for_another(api):
    """Beyond its own places a tenant gets a 429, and another one is served."""
    batch = await create(api)
    other = {"Authorization": "Bearer key-of-two"}
    async with AsyncExitStack() as streams, asyncio.timeout(30):
        url = f"/v1/batches/{batch['id']}/events"
        for _ in range(PLACES_PER_TENANT_MAX):
            events = await streams.enter_async_context(api.get(url))
            assert events.status == 200
        for refused_url in (url, f"/v1/batches/{batch['id']}/results"):
            async with api.get(refused_url) as refused:
                assert refused.status == 429
                assert (await refused.json())["code"] == "tenant_rate_limited"
        created = {"criteria": CONTAINS}
        async with api.post("/v1/batches", json=created, headers=other) as answer:
            theirs = (await answer.json())["id"]
        async with api.get(f"/v1/batches/{theirs}/events", headers=other) as events:
            assert events.status == 200
    await readable(api, f"/v1/batches/{batch['id']}/results")


async def readable(api, url):
    """Return once a closed stream has given its place back."""
    async with asyncio.timeout(10):
        while True:
            async with api.get(url) as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.05)


async def test_lists_are_paged(api):
    """The newest come first, and the cursor leads to the rest."""
    made = [(await create(api))["id"] for _ in range(3)]
    async with api.get("/v1/batches?limit=2") as answer:
        first = await answer.json()
    async with api.get(f"/v1/batches?cursor={first['next_cursor']}") as answer:
        second = await answer.json()
    assert [batch["id"] for batch in first["data"] + second["data"]] == made[::-1]
    assert (first["has_more"], second["has_more"]) == (True, False)
    async with api.get("/v1/batches?limit=0") as answer:
        assert answer.status == 422


def shared(redis, provider):
    """The configuration of a service on a Redis that others share."""
    url = provider.base_url("openai")
    config = CONFIG.format(redis=redis.url, provider=url, slots=4, lease_s=4, records="")
    config = config.replace("[providers.fake]", "[providers.fake]\nsilence_timeout_s = 100")
    return config.replace("[batches]", "[batches]\ngrace_s = 1\nwebhooks_to_private_hosts = true")


@pytest.fixture
async def slow(tmp_path):
    """A service without a worker, whose judge takes its time."""
    (tmp_path / "redis").mkdir()
    redis = RedisProcess(tmp_path / "redis")
    try:
        async with FaultServer() as provider:
            config = shared(redis, provider)
            async with (
                running_service(tmp_path, config) as service,
                aiohttp.ClientSession(service.url) as session,
            ):
                yield session, provider, tmp_path
    finally:
        redis.stop()


async def test_a_worker_that_is_told_to_stop_hands_its_rows_back(slow):
    """SIGTERM: what is not done in the grace is another worker's at once, without a take-over."""
    session, provider, folder = slow
    provider.latency_s = 60
    batch = await create(session, criteria=["It is polite."])
    await upload(session, batch, file_of(4))
    await session.post(f"/v1/batches/{batch['id']}/start")
    first = await worker(folder)
    await until(lambda: provider.count == 4)
    provider.latency_s = 0
    second = await worker(folder)
    try:
        await second.stdout.readline()
        first.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(first.wait(), 10) == 0
        done = await asyncio.wait_for(ended(session, batch), 3.5)  # a lease is 4 s
        assert done["counts"]["scored"] == 4
    finally:
        await kill(first)
        await kill(second)


async def test_cancel_stops_what_waits_and_finishes_what_is_in_flight(slow):
    """Cancelled twice it is the same; rows in flight still get their result."""
    session, provider, folder = slow
    provider.latency_s = 1.5
    batch = await create(session, criteria=["It is polite."])
    await upload(session, batch, file_of(40))
    await session.post(f"/v1/batches/{batch['id']}/start")
    process = await worker(folder)
    try:
        await until(lambda: provider.count >= 4)
        for _ in range(2):
            async with session.post(f"/v1/batches/{batch['id']}/cancel") as answer:
                assert answer.status == 200
                assert (await answer.json())["status"] == "cancelled"
        asked = provider.count
        await asyncio.sleep(3)
        done = await ended(session, batch)
        scored = done["counts"]["scored"]
        assert scored == asked < 40
        assert done["counts"]["cancelled"] == 40 - scored
        assert provider.count == scored
        assert len(await lines(session, batch)) == scored
    finally:
        await kill(process)


async def test_a_stream_of_events_that_is_cut_is_resumed(slow):
    """The resumed stream goes on after the last event; after the end there is nothing."""
    session, provider, folder = slow
    provider.latency_s = 0.3
    batch = await create(session, criteria=["It is polite."])
    await upload(session, batch, file_of(20))
    await session.post(f"/v1/batches/{batch['id']}/start")
    process = await worker(folder)
    try:
        first = await events(session, batch, most=2)
        running = await results(session, batch, limit=5)
        assert [result["item_index"] for result in running] == list(range(len(running)))
        rest = await events(session, batch, last_id=first[-1]["id"])
        ids = [event["id"] for event in first + rest]
        assert len(set(ids)) == len(ids)
        settled = [event["counts"]["scored"] for event in first + rest]
        assert settled == sorted(settled)
        assert rest[-1]["event"] == "completed"
        assert rest[-1]["counts"]["scored"] == 20
        path = f"/v1/batches/{batch['id']}/events"
        async with session.get(path, headers={"Last-Event-ID": ids[-1]}) as answer:
            assert answer.status == 204
    finally:
        await kill(process)


async def test_the_end_of_a_batch_is_told_to_its_webhook(tmp_path):
    """Signed by the secret that the creation gave, and shown as delivered."""
    received = asyncio.Queue()

    async def take(request):
        received.put_nowait((dict(request.headers), await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/hook"
    config = "[batches]\nwebhooks_to_private_hosts = true\n"
    try:
        async with (
            running_service(tmp_path, config) as service,
            aiohttp.ClientSession(service.url) as session,
        ):
            items = [{"id": "a", "output": "good"}]
            batch = await create(session, webhook={"url": url}, items=items)
            headers, body = await asyncio.wait_for(received.get(), 20)
            event = Webhook(batch["webhook"]["secret"]).verify(body, headers)
            assert event["type"] == "batch.completed"
            assert event["data"]["id"] == batch["id"]
            done = await ended(session, batch)
            assert "secret" not in done["webhook"]
    finally:
        await runner.cleanup()


async def test_an_upload_that_trickles_is_dropped(tmp_path):
    """A sender that is slower than the least rate gets 408, and holds nothing for hours."""

    async def trickle():
        while True:
            yield b" "
            await asyncio.sleep(0.1)

    config = "[server]\nbody_timeout_s = 1\n"
    async with (
        running_service(tmp_path, config) as service,
        aiohttp.ClientSession(service.url) as session,
    ):
        batch = await create(session)
        path = f"/v1/batches/{batch['id']}/items"
        async with asyncio.timeout(10):
            async with session.put(path, data=trickle(), headers=NDJSON) as answer:
                assert answer.status == 408
