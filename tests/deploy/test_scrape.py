"""A real Prometheus scrapes a real service and evaluates the rules as they are deployed."""

from __future__ import annotations

import asyncio
import contextlib
import math
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from deploy.queries import OF_KUBERNETES, exported, recorded, rule_groups
from fakes.ports import free_port
from fakes.service_process import clean_environment, running_service

PROMETHEUS = shutil.which("prometheus")
START_TIMEOUT_S = 20
EVALUATED_TIMEOUT_S = 30
EVERY = "1s"

CONFIG = """
[server]
drain_delay_s = 0

[providers.simulated]
dialect = "simulated"

[models."simulated/judge"]
provider = "simulated"
name = "judge"
requests_per_minute = 60_000
end_of_life = 2099-12-31
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not here: nothing scrapes"),
]

CASE = {
    "input": "What is the capital of France?",
    "output": "Paris",
    "criteria": [{"type": "contains", "value": "Paris"}, "It is polite."],
}


class Prometheus:
    """Its HTTP interface."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def get(self, path: str, **query: str) -> Any:
        async with self._session.get(f"{self._url}/api/v1/{path}", params=query) as answer:
            body = await answer.json()
        assert body["status"] == "success", body
        return body["data"]

    async def value(self, query: str) -> float | None:
        """The value of an expression of one series; None where there is none."""
        found = (await self.get("query", query=query))["result"]
        return float(found[0]["value"][1]) if found else None

    async def until(self, query: str) -> float:
        """The value once there is one that is a number."""
        async with asyncio.timeout(EVALUATED_TIMEOUT_S):
            while True:
                value = await self.value(query)
                if value is not None and not math.isnan(value):
                    return value
                await asyncio.sleep(0.2)


@contextlib.asynccontextmanager
async def running_prometheus(folder: Path, target: str) -> AsyncIterator[Prometheus]:
    """A server that scrapes the target every second, with the rules that are deployed."""
    groups = [{**group, "interval": EVERY} for group in rule_groups()]
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    scraped = {
        "job_name": "assay-api",
        "static_configs": [{"targets": [target], "labels": {"namespace": "assay", "pod": "api-1"}}],
    }
    config = {
        "global": {"scrape_interval": EVERY, "evaluation_interval": EVERY},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [scraped],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    log = folder / "prometheus.log"
    with log.open("wb") as stream:
        process = await asyncio.create_subprocess_exec(
            str(PROMETHEUS), f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}",
            env=clean_environment(), stdout=stream, stderr=stream,
        )  # fmt: skip
    try:
        async with aiohttp.ClientSession() as session:
            prometheus = Prometheus(f"http://127.0.0.1:{port}", session)
            async with asyncio.timeout(START_TIMEOUT_S):
                while True:
                    with contextlib.suppress(aiohttp.ClientError):
                        await prometheus.get("status/buildinfo")
                        break
                    await asyncio.sleep(0.1)
            yield prometheus
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def call_for(seconds: float, url: str) -> None:
    """Calls of every kind of end, for a while: rates need several scrapes."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + seconds
    async with aiohttp.ClientSession() as session:
        while loop.time() < until_s:
            for body, status in ((CASE, 200), ({}, 422)):
                async with session.post(f"{url}/v1/evaluations", json=body) as answer:
                    assert answer.status == status, await answer.text()
            await asyncio.sleep(0.1)


async def test_prometheus_scrapes_the_service_and_evaluates_the_rules(tmp_path):
    """Every series is taken in, no rule fails, and the recorded values are those of the calls."""
    async with running_service(tmp_path, CONFIG) as service:
        target = service.metrics_url.removeprefix("http://")
        async with running_prometheus(tmp_path, target) as prometheus:
            # What happened before the first scrape has no rate.
            assert await prometheus.until("up") == 1
            await call_for(4.0, service.url)
            slow = await prometheus.until("assay:evaluations_slow:ratio_rate5m")
            failed = await prometheus.until("assay:requests_failed:ratio_rate5m")
            unscored = await prometheus.until("assay:criteria_unscored:ratio_rate15m")
            utilization = await prometheus.until("assay_slot_utilization_ratio")
            names = set(await prometheus.get("label/__name__/values"))
            groups = (await prometheus.get("rules"))["groups"]
            (scraped,) = (await prometheus.get("targets"))["activeTargets"]
    assert (slow, failed, unscored, utilization) == (0, 0, 0, 0)
    assert (scraped["health"], scraped["lastError"]) == ("up", "")
    evaluated = [rule for group in groups for rule in group["rules"]]
    assert len(evaluated) == sum(len(group["rules"]) for group in rule_groups())
    assert {(rule["name"], rule["health"]) for rule in evaluated} == {
        (rule["name"], "ok") for rule in evaluated
    }, [rule for rule in evaluated if rule["health"] != "ok"]
    assert not [rule["name"] for rule in evaluated if rule.get("state") == "firing"]
    assert recorded().keys() - names == set()
    assert exported().keys() - OF_KUBERNETES.keys() - names == set()
