"""Several services on one Redis, and callers that flood them."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from fakes.service_process import ServiceProcess, running_service


@dataclass(frozen=True)
class Answered:
    """One answer of the service, and when it was asked and given on the monotonic clock."""

    name: str
    status: int
    body: dict[str, Any]
    headers: dict[str, str]
    asked_s: float
    answered_s: float

    @property
    def seconds(self) -> float:
        return self.answered_s - self.asked_s

    @property
    def served_by(self) -> str | None:
        """The provider whose verdict it is; None where nothing was scored."""
        result = (self.body.get("results") or [{}])[0]
        return result["judge"]["provider"] if result.get("status") == "scored" else None

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        """What each candidate did, in order."""
        attempts = self.body["results"][0]["judge"]["attempts"]
        return [(attempt["model"], attempt["outcome"]) for attempt in attempts]


@dataclass
class Pod:
    """A service with a session to it."""

    service: ServiceProcess
    session: aiohttp.ClientSession

    async def judge(
        self,
        name: str,
        timeout_ms: int = 20_000,
        judge: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answered:
        """Have one case judged; `name` is in its input, and so in what the provider gets."""
        case = {
            "input": f"<{name}> Which town is the seat of the French government?",
            "output": "Paris.",
            "criteria": ["The answer is correct."],
            "timeout_ms": timeout_ms,
        } | ({"judge": judge} if judge else {})
        asked_s = time.monotonic()
        async with self.session.post("/v1/evaluations", json=case, headers=headers) as answer:
            body = await answer.json(content_type=None)
            answered_s = time.monotonic()
            headers = {key.lower(): value for key, value in answer.headers.items()}
            return Answered(name, answer.status, body, headers, asked_s, answered_s)

    async def breaker(self, model: str) -> str:
        """The state of a model's breaker as this process shows it."""
        async with self.session.get("/v1/models") as answer:
            models = (await answer.json())["data"]
        return next(entry["breaker"] for entry in models if entry["id"] == model)

    async def until_breaker(self, model: str, state: str, timeout_s: float = 30.0) -> None:
        """Wait until a model's breaker is in a state; raises `TimeoutError`."""
        until_s = time.monotonic() + timeout_s
        while await self.breaker(model) != state:
            if time.monotonic() > until_s:
                raise TimeoutError(f"the breaker of {model} is not {state}")
            await asyncio.sleep(0.05)

    async def ready(self) -> bool:
        async with self.session.get(f"{self.service.metrics_url}/readyz") as answer:
            return answer.status == 200

    async def metric(self, series: str) -> float:
        """The value of one series, as it is written in `/metrics`; 0 where there is none."""
        async with self.session.get(f"{self.service.metrics_url}/metrics") as answer:
            text = await answer.text()
        found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0


@contextlib.asynccontextmanager
async def running_fleet(folder: Path, config: str, pods: int = 2) -> AsyncIterator[Sequence[Pod]]:
    """So many services of one configuration, each a process of its own."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(number: int) -> Pod:
            own = folder / f"pod-{number}"
            own.mkdir()
            service = await stack.enter_async_context(running_service(own, config))
            connector = aiohttp.TCPConnector(limit=0)
            session = aiohttp.ClientSession(service.url, connector=connector)
            return Pod(service, await stack.enter_async_context(session))

        yield [await start(number) for number in range(pods)]


def worst_excess(times_s: Sequence[float], capacity: float, rate_per_s: float) -> float:
    """Largest excess over capacity + rate × time in any window, in linear time.

    From the ith to the jth sending, j − i + 1 requests are sent.
    """
    ordered = sorted(times_s)
    worst = lowest = float("inf")
    worst = -worst
    for number, at_s in enumerate(ordered):
        level = number - rate_per_s * (at_s - ordered[0])
        lowest = min(lowest, level)
        worst = max(worst, level - lowest + 1 - capacity)
    return worst


def most_in_a_minute(times_s: Sequence[float]) -> int:
    """The most sendings in any sliding minute."""
    ordered = sorted(times_s)
    return max(
        sum(start <= at_s < start + 60 for at_s in ordered[index:])
        for index, start in enumerate(ordered)
    )
