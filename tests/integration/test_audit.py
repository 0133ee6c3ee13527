"""The audit log in a real Redis: what it keeps, of which process, and who reads it."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from assay.api.audit import ActionListResponse
from assay.domain.audit import Action
from assay.domain.events import ActionTaken, KeysLoaded
from assay.domain.supervision import Supervisor
from assay.http.keys_file import new_key
from assay.redis.client import connect
from assay.store.audit import audit as audit_store
from assay.store.audit.audit import RedisAudit
from assay.telemetry.sinks import Sinks
from fakes import documented
from fakes.recorded_events import RecordedEvents
from fakes.redis_process import RedisProcess
from fakes.service_process import running_service

WITHIN_S = 20.0
OLD, NEW, LATEST = "2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z"


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
async def audit_on(url: str) -> AsyncIterator[tuple[Sinks, RedisAudit, RecordedEvents]]:
    """One process's sinks with its audit log; what waits is written at the end."""
    client, recorded = connect(url), RecordedEvents()
    audit = RedisAudit(client)
    events = Sinks([recorded, audit])
    async with Supervisor(events) as supervisor:
        audit.start(supervisor, events)
        try:
            yield events, audit, recorded
        finally:
            await audit.aclose()
            await client.aclose()


def taken(name: str = "delete_dataset", at: str = NEW, target: str = "/v1/datasets/x"):
    return ActionTaken(Action(at, name, target, "", "acme", "ops", 204, "req_1"))


async def until(condition) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not await condition():  # noqa: ASYNC110  # it asks another process
            await asyncio.sleep(0.02)


async def test_actions_are_listed_newest_first_by_page(server: RedisProcess, redis: Redis):
    """A cursor goes on behind the last action; an action and a time restrict."""
    async with audit_on(server.url) as (events, audit, _):
        for number in range(5):
            events.emit(taken(target=str(number)))
        events.emit(taken("create_erasure"))
        events.emit(taken(at=OLD, target="waited for Redis"))

        async def complete():
            return len((await audit.page("", 9, 0, "")).actions) == 7

        await until(complete)
        first = await audit.page("", 3, 0, "delete_dataset")
        assert [one.target for _, one in first.actions] == ["waited for Redis", "4", "3"]
        rest = await audit.page(first.next_cursor or "", 3, 0, "delete_dataset")
        assert [one.target for _, one in rest.actions] == ["2", "1", "0"]
        assert rest.next_cursor is None
        since = await audit.page("", 1, 1, "create_erasure")
        assert [one.action for _, one in since.actions] == ["create_erasure"]
        assert (await audit.page("", 9, 1_790_000_000_000, "")).actions == []


async def test_a_page_searches_a_part_of_the_log(
    server: RedisProcess, redis: Redis, monkeypatch: pytest.MonkeyPatch
):
    """What is rare is found over several pages, of which some are empty."""
    monkeypatch.setattr(audit_store, "READ_AT_ONCE", 2)
    monkeypatch.setattr(audit_store, "SEARCHED_MAX", 4)
    async with audit_on(server.url) as (events, audit, _):
        events.emit(taken("create_erasure"))
        for _ in range(9):
            events.emit(taken())
        await audit.aclose()
        found, cursor, pages = [], "", 0
        while cursor is not None:
            page = await audit.page(cursor, 5, 0, "create_erasure")
            found, cursor, pages = [*found, *page.actions], page.next_cursor, pages + 1
        assert (len(found), pages) == (1, 3)


async def test_a_change_of_keys_is_recorded_once(server: RedisProcess, redis: Redis):
    """By the first process that notices it; the keys at the first start are no change."""
    old = {"aa": ("acme", "write", "ci", ""), "bb": ("acme", "read", "", "")}
    new = {"aa": ("acme", "operator", "ci", ""), "cc": ("beta", "write", "dev", LATEST)}
    async with audit_on(server.url) as one, audit_on(server.url) as two:
        for keys in (old, new, new):
            for events, audit, _ in (one, two):
                events.emit(KeysLoaded(keys))

                async def looked(audit=audit):
                    return not audit._waiting

                await until(looked)
        page = await one[1].page("", 9, 0, "")
        found = {(a.action, a.tenant, a.target, a.detail, a.status) for _, a in page.actions}
        assert found == {
            ("key_changed", "acme", "ci", "role=operator", None),
            ("key_added", "beta", "dev", f"role=write expires={LATEST}", None),
            ("key_removed", "acme", "bb", "role=read", None),
        }
        assert len(page.actions) == 3
        assert len(one[2].of(ActionTaken)) + len(two[2].of(ActionTaken)) == 3


async def test_without_redis_nothing_waits_and_what_was_done_is_written_later(
    server: RedisProcess, redis: Redis, monkeypatch: pytest.MonkeyPatch
):
    """Of more actions than may wait the oldest are dropped: each has its log line."""
    monkeypatch.setattr(audit_store, "WAITING_MAX", 3)
    monkeypatch.setattr(audit_store, "RETRY_S", 0.05)
    async with audit_on(server.url) as (events, audit, recorded):
        server.kill()
        for number in range(5):
            events.emit(taken(target=str(number)))
        await asyncio.sleep(0)
        server.start()

        async def written():
            with contextlib.suppress(Exception):
                return len((await audit.page("", 9, 0, "")).actions) >= 3
            return False

        await until(written)
        page = await audit.page("", 9, 0, "")
        assert [one.target for _, one in page.actions] == ["4", "3", "2"]
        assert len(recorded.of(ActionTaken)) == 5


async def test_two_processes_share_one_log(tmp_path: Path, server: RedisProcess, redis: Redis):
    """A delete through either, the console or the API, and a new key: one entry and one log line.

    Only an operator reads them, and those of all tenants.
    """
    (ops, ops_line), (dev, dev_line) = (
        new_key("acme", "role=operator", "name=ops"),
        new_key("beta", "name=dev"),
    )
    keys = tmp_path / "keys"
    keys.write_text(f"{ops_line}\n{dev_line}\n")
    config = f'[redis]\nurl = "{server.url}"\n[auth]\nkeys_file = "{keys}"\n'
    bearers = [{"Authorization": f"Bearer {key}"} for key in (ops, dev)]
    async with (
        running_service(tmp_path, config, data_dir="one") as one,
        running_service(tmp_path, config, data_dir="two") as two,
        aiohttp.ClientSession(one.url, headers=bearers[0]) as operator,
        aiohttp.ClientSession(two.url, headers=bearers[1]) as tenant,
        aiohttp.ClientSession(two.url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser,
    ):
        async with tenant.get("/v1/audit") as answer:
            assert answer.status == 403
        for name in ("a", "b"):
            async with tenant.post("/v1/datasets", json={"name": name}) as answer:
                assert answer.status == 201
        async with tenant.delete("/v1/datasets/a") as answer:
            assert answer.status == 204
        async with browser.post("/console/sign-in", data={"key": dev}) as answer:
            (token,) = re.findall('data-csrf="([^"]+)"', await answer.text())
        headers = {"X-CSRF-Token": token}
        async with browser.delete("/console/api/v1/datasets/b", headers=headers) as answer:
            assert answer.status == 204
        keys.write_text(f"{ops_line}\n{dev_line}\n{new_key('beta', 'name=new')[1]}\n")

        async def listed(path: str = "/v1/audit"):
            async with tenant.get("/v1/models"), operator.get(path) as answer:
                body = await answer.json()
                assert documented.faults(ActionListResponse, body) == []
                return body["data"]

        async def complete():
            return len(await listed()) >= 3

        await until(complete)
        await asyncio.sleep(1.2)  # both have looked at the file by now
        found = [(a["action"], a["tenant"], a["target"], a["status"]) for a in await listed()]
        assert found == [
            ("key_added", "beta", "new", None),
            ("delete_dataset", "beta", "/v1/datasets/b", 204),
            ("delete_dataset", "beta", "/v1/datasets/a", 204),
        ]
        assert len(await listed("/v1/audit?action=key_added&since=2026-01-01")) == 1
        for query in ("since=yesterday", "since=2026-01-01T00:00:00", "cursor=x"):
            async with operator.get(f"/v1/audit?{query}") as answer:
                assert answer.status == 422
        async with browser.get("/console/") as answer:
            assert "Audit log" not in await answer.text()
        lines = one.log.read_text() + two.log.read_text()
        assert len(re.findall('"event": "audit"', lines)) == 3
        assert ops not in lines
        assert dev not in lines
