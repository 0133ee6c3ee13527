"""What the autoscaler follows, on a real service: local waiting moves it, the quota does not."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

import aiohttp
import pytest

from fakes.providers.server import FaultServer
from fakes.service_process import running_service

pytestmark = pytest.mark.slow

SLOTS = 4
CALLERS = 12
HELD_S = 3.0
"""A judge takes this long: enough to look at the metrics in the middle of it."""
BYTES_MAX = 4_194_304
UTILIZATION = "assay_slot_utilization_ratio"
BYTES = "assay_inflight_bytes_ratio"
LABELS = 'model="fake/judge",provider="fake",reason="{}"'

CONFIG = """
[server]
inflight_bytes_max = {bytes_max}

[providers.fake]
dialect = "openai"
base_url = "{provider}"
silence_timeout_s = 20

[models."fake/judge"]
provider = "fake"
name = "judge"
slots = {slots}
{limit}
"""


class Watched:
    """A service, its callers, and its metrics as a scrape gives them."""

    def __init__(self, url: str, metrics_url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._metrics_url = metrics_url
        self._session = session

    async def ask(self, number: int, output_bytes: int = 10) -> int:
        case = {
            "output": f"{number} ".ljust(output_bytes, "x"),
            "criteria": ["It is polite."],
            "timeout_ms": 25_000,
        }
        async with self._session.post(f"{self._url}/v1/evaluations", json=case) as answer:
            await answer.read()
            return answer.status

    async def scrape(self) -> dict[str, float]:
        """Every series and its value."""
        async with self._session.get(f"{self._metrics_url}/metrics") as answer:
            text = await answer.text()
        lines = re.findall(r"^(assay_\S+) (\S+)$", text, re.MULTILINE)
        return {series: float(value) for series, value in lines}

    async def until(self, series: str, value: float) -> dict[str, float]:
        """The scrape in which a series reaches a value."""
        async with asyncio.timeout(HELD_S):
            while True:
                scraped = await self.scrape()
                if scraped[series] >= value:
                    return scraped
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def watched(tmp_path, provider: FaultServer, limit: str = "") -> AsyncIterator[Watched]:
    config = CONFIG.format(
        bytes_max=BYTES_MAX, provider=provider.base_url("openai"), slots=SLOTS, limit=limit
    )
    async with (
        running_service(tmp_path, config) as service,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        yield Watched(service.url, service.metrics_url, session)


def waits(scraped: dict[str, float], reason: str) -> tuple[float, float]:
    """How many calls waited for this, and for how long together."""
    labels = LABELS.format(reason)
    found = {
        kind: value
        for kind in ("count", "sum")
        for series, value in scraped.items()
        if series.startswith(f"assay_wait_seconds_{kind}")
        and set(labels.split(",")) <= set(series.partition("{")[2].rstrip("}").split(","))
    }
    return found["count"], found["sum"]


def depth(reason: str) -> str:
    return f'assay_queue_depth{{model="fake/judge",reason="{reason}"}}'


async def test_they_are_there_at_0_before_the_first_call(tmp_path):
    """A missing metric would distort the autoscaler: each is exported from the start."""
    async with FaultServer() as provider, watched(tmp_path, provider) as service:
        scraped = await service.scrape()
    assert scraped[UTILIZATION] == scraped[BYTES] == scraped["assay_batch_backlog_rows"] == 0
    assert scraped["assay_event_loop_lag_seconds_count"] >= 0
    for reason in ("local_slot", "provider_quota", "breaker"):
        assert waits(scraped, reason) == (0, 0)


async def test_waiting_for_a_local_slot_moves_the_utilization(tmp_path):
    """(under way + waiting) / slots while they wait, 0 afterwards; each wait counts as local."""
    async with FaultServer() as provider, watched(tmp_path, provider) as service:
        provider.latency_s = HELD_S
        few = [asyncio.create_task(service.ask(number)) for number in range(SLOTS // 2)]
        half_full = await service.until(UTILIZATION, 0.5)
        many = [asyncio.create_task(service.ask(100 + n)) for n in range(CALLERS - len(few))]
        overfull = await service.until(UTILIZATION, CALLERS / SLOTS)
        assert set(await asyncio.gather(*few, *many)) == {200}
        after = await service.scrape()
    assert half_full[UTILIZATION] == 0.5
    assert overfull[UTILIZATION] == CALLERS / SLOTS
    assert overfull[depth("local_slot")] == CALLERS - SLOTS
    assert overfull[depth("provider_quota")] == 0
    waited, seconds = waits(after, "local_slot")
    assert waited >= CALLERS - SLOTS
    assert seconds > HELD_S
    assert waits(after, "provider_quota")[1] < 1
    assert after[UTILIZATION] == 0


async def test_waiting_for_the_quota_does_not_move_it(tmp_path):
    """Many times as many callers as slots wait for the provider's quota: to the autoscaler the
    service is idle, and the histogram says what they waited for."""
    limit = "requests_per_minute = 60\nburst_share = 0.02"
    async with FaultServer() as provider, watched(tmp_path, provider, limit) as service:
        asked = [asyncio.create_task(service.ask(number)) for number in range(CALLERS)]
        await service.until(depth("provider_quota"), CALLERS / 2)
        seen = []
        while not all(each.done() for each in asked):
            seen.append(await service.scrape())
            await asyncio.sleep(0.1)
        assert set(await asyncio.gather(*asked)) == {200}
        after = await service.scrape()
    assert len(seen) > CALLERS
    assert max(each[UTILIZATION] for each in seen) <= 1 / SLOTS, "more than the one under way"
    assert max(each[depth("provider_quota")] for each in seen) >= CALLERS / 2
    assert waits(after, "provider_quota")[1] > CALLERS
    assert waits(after, "local_slot")[1] < 0.1


async def test_the_bytes_follow_the_bodies(tmp_path):
    """The share of the byte budget that the bodies in flight take, and 0 when they are answered."""
    size = 1_000_000
    async with FaultServer() as provider, watched(tmp_path, provider) as service:
        provider.latency_s = HELD_S
        asked = [asyncio.create_task(service.ask(number, size)) for number in range(2)]
        during = await service.until(BYTES, 3 * size / BYTES_MAX)
        assert set(await asyncio.gather(*asked)) == {200}
        after = await service.scrape()
    assert during[BYTES] == pytest.approx(3 * size / BYTES_MAX, rel=0.01)
    assert after[BYTES] == 0
