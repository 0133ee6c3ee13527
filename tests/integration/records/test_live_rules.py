"""What a rule does over hours and days: on a real Redis, with the test's own time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from assay.batches import live as live_module
from assay.batches.live import HOUR_MS, LATE_MS, LiveTraffic
from assay.bootstrap.batches import build_live, build_worker
from assay.bootstrap.process import Process, open_process
from assay.catalog.rules import Rules
from assay.domain.errors import StoreUnavailable
from assay.domain.events import RulePaused
from assay.domain.ids import now_ms
from assay.otlp.decoding import PROTOBUF
from assay.settings import Settings, load
from fakes.recorded_events import RecordedEvents
from fakes.records_api import RecordsApi, running_records_api
from fakes.redis_process import RedisProcess
from fakes.spans import chat, export, span
from integration.records.conftest import migrated_url

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """
[redis]
url = "{redis}"
[batches]
webhooks_to_private_hosts = true
"""


@dataclass
class World:
    """The service without a worker of its own, and a process that works on rows."""

    api: RecordsApi
    process: Process
    settings: Settings
    events: RecordedEvents = field(default_factory=RecordedEvents)
    later_ms: int = 0
    numbers: Any = None

    def live(self) -> LiveTraffic:
        """What looks after the rules, as another worker would."""
        process = replace(self.process, events=self.events)
        rules = Rules(lambda: True, self.process.records.open)
        return build_live(self.settings, process, rules, lambda: now_ms() + self.later_ms)

    async def rule(self, text: str = "please", **fields: Any) -> str:
        """A rule for spans of its own name, whose answers are to say the text."""
        criteria = [{"type": "contains", "name": "polite", "value": text}]
        name, evaluator = self.api.name("rule"), await self.api.evaluator(criteria)
        wanted = {"name": name, "evaluator": evaluator, "filter": f'service.name == "{name}"'}
        await self.api.ok("POST", "/v1/rules", wanted | fields)
        return name

    async def send(self, name: str, *texts: str) -> None:
        """One span for each text."""
        self.numbers = self.numbers or iter(range(1, 10**6))
        spans = [span(next(self.numbers), attributes=chat("Hi", text)) for text in texts]
        async with self.api.sessions["one"].post(
            "/v1/traces", data=export(*spans, service=name), headers={"Content-Type": PROTOBUF}
        ) as response:
            assert response.status == 200

    async def look(self) -> None:
        await self.live().look()

    async def shown(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.api.ok("GET", f"/v1/rules/{name}")
        return found["state"]

    async def hours(self, name: str) -> list[dict[str, Any]]:
        found = await self.api.ok("GET", f"/v1/rules/{name}/scores")
        hours: list[dict[str, Any]] = found["data"]
        return hours

    async def judged(self, name: str) -> dict[str, Any]:
        """The newest batch of the rule, once all of its rows are done."""
        async with asyncio.timeout(30):
            while True:
                hours = await self.hours(name)
                counts = hours[0]["counts"] if hours else {"pending": 1}
                if not counts["pending"]:
                    return hours[0]
                await asyncio.sleep(0.05)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("live")
    url = await migrated_url("sqlite", folder, None)
    (folder / "redis").mkdir()
    redis = RedisProcess(folder / "redis", fsync="always")
    config = CONFIG.format(redis=redis.url)
    async with running_records_api(folder, url, config, work=False) as api:
        settings = await asyncio.to_thread(load, folder / "assay.toml", {})
        async with open_process(settings) as process:
            worker = build_worker(settings.batches, process)
            worker.start()
            yield World(api, process, settings)
            await worker.stop()
    redis.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def world(shared: World) -> World:
    """The world at the present time."""
    shared.later_ms = 0
    shared.events.events.clear()
    return shared


async def test_a_batch_ends_with_its_hour_and_becomes_a_record(world: World) -> None:
    """It takes rows while it runs, is closed when nothing can come any more, and stays."""
    name = await world.rule()
    await world.send(name, "please", "no")
    await world.look()
    first = await world.judged(name)
    await world.send(name, "please")
    await world.look()
    batch = await world.judged(name)
    assert (batch["id"], batch["status"]) == (first["id"], "running")
    assert batch["counts"]["total"] == 3
    world.later_ms = HOUR_MS + LATE_MS
    await world.look()
    (state, ended) = await world.shown(name), await world.judged(name)
    assert (ended["status"], state["batches"]) == ("completed", [])
    assert state["counts"] == {"judged": 3}
    assert ended["summary"]["criteria"][0]["mean"] == pytest.approx(2 / 3)


async def test_two_workers_at_once_judge_nothing_twice(world: World) -> None:
    """One of them has the lease; what one has begun, the other goes on with."""
    name = await world.rule()
    await world.send(name, *["please"] * 20)
    await asyncio.gather(*(world.look() for _ in range(4)))
    await world.look()
    batch = await world.judged(name)
    assert batch["counts"]["total"] == 20
    assert (await world.shown(name))["counts"] == {"judged": 20}


@pytest.mark.parametrize("step", ["open_batch", "finish"])
async def test_a_worker_that_dies_in_between_loses_and_doubles_nothing(
    world: World, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was written by then, the next one makes the rest of it."""
    name = await world.rule()
    await world.send(name, "please", "no")
    failing = world.live()

    async def dies(*_: Any) -> None:
        raise StoreUnavailable("It died.")

    monkeypatch.setattr(failing._traces, step, dies)
    with pytest.raises(StoreUnavailable):
        await failing.look()
    monkeypatch.undo()
    await world.look()
    batch = await world.judged(name)
    assert batch["counts"]["total"] == 2
    assert len(await world.hours(name)) == 1


async def test_a_rule_that_spends_its_limit_pauses_and_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes while it is paused is skipped and counted, and the pause is told once."""
    name = await world.rule()
    await world.send(name, "please", "please")
    await world.look()
    await world.judged(name)
    monkeypatch.setattr(live_module, "ROWS_PER_DAY_MAX", 2)
    for _ in range(2):
        await world.send(name, "please")
        await world.look()
    state = await world.shown(name)
    assert (state["status"], state["reason"]) == ("paused", "rows_per_day")
    assert state["counts"] == {"judged": 2, "rows_per_day": 2}
    told = [event for event in world.events.events if isinstance(event, RulePaused)]
    assert [event.reason for event in told if event.rule == name] == ["rows_per_day"]
    monkeypatch.undo()
    await world.send(name, "please")
    await world.look()
    state = await world.shown(name)
    assert (state["status"], state["counts"]["judged"]) == ("judging", 3)


async def test_what_cannot_be_judged_yet_waits(world: World) -> None:
    """A rule whose evaluator is gone says so; its spans are judged once there is another."""
    name = await world.rule()
    found = await world.api.ok("GET", f"/v1/rules/{name}")
    await world.api.ok("DELETE", f"/v1/evaluators/{found['evaluator']}")
    await world.send(name, "please")
    await world.look()
    state = await world.shown(name)
    assert (state["status"], state["pending"]) == ("paused", 1)
    assert found["evaluator"] in state["reason"]
    another = await world.api.evaluator(["polite"])
    await world.api.ok("PUT", f"/v1/rules/{name}", {"evaluator": another})
    await world.look()
    await world.judged(name)
    assert (await world.shown(name))["status"] == "judging"


@pytest.mark.parametrize(("texts", "is_called"), [(["no", "please"], True), (["please"], False)])
async def test_a_webhook_is_called_for_a_mean_below_the_threshold(
    world: World, texts: list[str], *, is_called: bool
) -> None:
    """After the hour; above it, nothing is called."""
    received: list[Any] = []

    async def hook(request: web.Request) -> web.Response:
        received.append(await request.json())
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", hook)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    alert = {"threshold": {"criterion": "polite", "min_score": 0.9}, "webhook": {"url": url}}
    name = await world.rule(alert=alert)
    await world.send(name, *texts)
    await world.look()
    await world.judged(name)
    world.later_ms = HOUR_MS + LATE_MS
    await world.look()
    async with asyncio.timeout(30):
        state = "waiting"
        while state in ("waiting", "due"):
            await asyncio.sleep(0.05)
            ended = await world.judged(name)
            state = ended["webhook"]["state"]
    assert state == ("delivered" if is_called else "none")
    assert [one["type"] for one in received] == (["rule.threshold"] if is_called else [])
    assert [one["data"]["rule"] for one in received] == ([name] if is_called else [])
    await runner.cleanup()


async def test_a_threshold_whose_criterion_is_gone_is_told(world: World) -> None:
    """A newer version of the evaluator may not have it: the rule pauses, and scores are shown."""
    threshold = {"criterion": "polite", "min_score": 0.5}
    alert = {"threshold": threshold, "webhook": {"url": "https://example.com"}}
    name = await world.rule(alert=alert)
    evaluator = (await world.api.ok("GET", f"/v1/rules/{name}"))["evaluator"]
    criteria = [{"type": "contains", "name": "short", "value": "x"}]
    await world.api.ok("POST", f"/v1/evaluators/{evaluator}/versions", {"criteria": criteria})
    await world.send(name, "please")
    await world.look()
    state = await world.shown(name)
    assert (state["status"], state["pending"]) == ("paused", 1)
    assert "threshold" in state["reason"]
    assert (await world.api.ok("GET", f"/v1/rules/{name}/scores"))["data"] == []


async def test_a_changed_rule_goes_on_with_another_batch(world: World) -> None:
    """So no batch is judged by two evaluators; its secret stays while its URL does."""
    name = await world.rule()
    await world.send(name, "please")
    await world.look()
    first = await world.judged(name)
    criteria = [{"type": "contains", "name": "short", "value": "x"}]
    await world.api.ok(
        "PUT", f"/v1/rules/{name}", {"evaluator": await world.api.evaluator(criteria)}
    )
    await world.send(name, "please")
    await world.look()
    hours = await world.hours(name)
    assert {one["id"] for one in hours} > {first["id"]}
    assert {one["status"] for one in hours if one["id"] == first["id"]} == {"completed"}
