"""Compares the latency of interactive calls beside a busy batch with their latency alone.

    python bench/interactive_first.py

Rounds alone and beside a batch take turns in one run. Arrivals keep to a timetable, and latency
counts from the moment a call was due. Exits with status 1 if the p95 beside a batch is more than
10 % above the p95 alone.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import processes

WORSE_MAX = 0.10
BATCH_ROWS = 20_000
FIRST_ROWS = 50
"""Rows to finish before a round beside the batch begins, so that the batch is under way."""


@dataclass(frozen=True)
class Scene:
    """Where the rows are judged, and which resource the batch uses up."""

    name: str
    worker_in_serve: bool
    requests_per_minute: int
    slots: int
    worker_rows: int


SCENES = (
    Scene("own worker, nothing scarce", False, 60_000_000, 1_000, 64),
    Scene("own worker, quota of 40 calls/s", False, 2_400, 1_000, 64),
    Scene("worker in serve, nothing scarce", True, 60_000_000, 1_000, 16),
    Scene("worker in serve, quota of 40 calls/s", True, 2_400, 1_000, 64),
    Scene("worker in serve, 16 slots", True, 60_000_000, 16, 64),
)


@dataclass
class Latencies:
    """The latency of each call in milliseconds, by round."""

    rounds: list[list[float]] = field(default_factory=list)
    failures: int = 0
    rows_per_s: list[float] = field(default_factory=list)

    @property
    def p95_ms(self) -> float:
        """Over the calls of all rounds."""
        latencies_ms = [ms for latencies in self.rounds for ms in latencies]
        return statistics.quantiles(latencies_ms, n=100)[94]


async def interactive(
    session: aiohttp.ClientSession, rate: float, seconds: float, seen: Latencies
) -> None:
    """Send different calls at a steady rate."""
    loop = asyncio.get_running_loop()
    taken: list[float] = []
    started_s = loop.time() + 0.1

    async def one(number: int, due_s: float) -> None:
        output = f"Paris is the capital, call {number} of {started_s}."
        body = {"output": output, "criteria": ["The answer is polite."]}
        async with session.post("/v1/evaluations", json=body) as answer:
            document = await answer.json()
        seen.failures += document.get("status") != "completed"
        taken.append((loop.time() - due_s) * 1_000)

    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            due_s = started_s + number / rate
            await asyncio.sleep(max(due_s - loop.time(), 0))
            group.create_task(one(number, due_s))
    seen.rounds.append(taken)


@asynccontextmanager
async def batch(session: aiohttp.ClientSession, seen: Latencies) -> AsyncIterator[None]:
    """A batch under way, with more rows than fit into the round."""
    async with session.post("/v1/batches", json={"criteria": ["It is polite."]}) as answer:
        path = f"/v1/batches/{(await answer.json())['id']}"
    stamp = time.time()
    rows = "".join(f'{{"id": "{n}", "output": "Row {n} of {stamp}."}}\n' for n in range(BATCH_ROWS))
    headers = {"content-type": "application/x-ndjson"}
    async with session.put(f"{path}/items", data=rows.encode(), headers=headers) as answer:
        answer.raise_for_status()
    async with session.post(f"{path}/start") as answer:
        answer.raise_for_status()
    before = 0
    while before < FIRST_ROWS:
        await asyncio.sleep(0.1)
        before = await scored(session, path)
    since_s = time.perf_counter()
    yield
    rows_done = await scored(session, path) - before
    seen.rows_per_s.append(rows_done / (time.perf_counter() - since_s))
    async with session.post(f"{path}/cancel") as answer:
        answer.raise_for_status()
    async with session.delete(path) as answer:
        answer.raise_for_status()


async def scored(session: aiohttp.ClientSession, path: str) -> int:
    async with session.get(path) as answer:
        return int((await answer.json())["counts"]["scored"])


async def rounds(url: str, options: argparse.Namespace) -> tuple[Latencies, Latencies]:
    """Rounds alone and beside a batch, in turns; a first round warms up and is dropped."""
    alone, beside = Latencies(), Latencies()
    headers = {"authorization": f"Bearer {processes.API_KEY}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, headers=headers, connector=connector) as session:
        await interactive(session, options.rate, 2.0, Latencies())
        for _ in range(options.rounds):
            await interactive(session, options.rate, options.seconds, alone)
            async with batch(session, beside):
                await interactive(session, options.rate, options.seconds, beside)
    return alone, beside


def measured(scene: Scene, options: argparse.Namespace) -> bool:
    """Measure one scene and print its figures; True if it is within the bound."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        provider = stack.enter_context(processes.stub(folder, options.delay_s))
        redis = stack.enter_context(processes.redis(folder))
        service = stack.enter_context(
            processes.assay(
                folder, provider, redis, requests_per_minute=scene.requests_per_minute,
                slots=scene.slots, worker_in_serve=scene.worker_in_serve,
                worker_rows=scene.worker_rows,
            )
        )  # fmt: skip
        if not scene.worker_in_serve:
            stack.enter_context(processes.worker(folder))
        alone, beside = asyncio.run(rounds(f"http://127.0.0.1:{service.port}", options))
    worse = beside.p95_ms / alone.p95_ms - 1
    by_round = ", ".join(
        f"{statistics.quantiles(one, n=100)[94]:.0f}/{statistics.quantiles(two, n=100)[94]:.0f}"
        for one, two in zip(alone.rounds, beside.rounds, strict=True)
    )
    print(
        f"{scene.name}: p95 alone {alone.p95_ms:.1f} ms, beside {beside.p95_ms:.1f} ms "
        f"({worse:+.1%}; rounds {by_round}), "
        f"batch {statistics.mean(beside.rows_per_s):.0f} rows/s, "
        f"failures {alone.failures}/{beside.failures}",
        flush=True,
    )
    return worse <= WORSE_MAX and not beside.failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=15.0, help="interactive calls a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delay-s", type=float, default=0.5, help="latency of the judge")
    parser.add_argument("--scene", default="", help="run only scenes whose name contains this")
    options = parser.parse_args()
    scenes = [scene for scene in SCENES if options.scene in scene.name]
    within = [measured(scene, options) for scene in scenes]
    return 0 if all(within) else 1


if __name__ == "__main__":
    sys.exit(main())
