"""Compares the latency of interactive calls beside exported spans with their latency alone.

    python bench/live_traffic.py

2,000 spans a second go to the process that answers the calls, in requests of 512 as exporters send
them; a rule has a share of them judged by a deterministic check, in the same process. Exits with
status 1 if the p95 beside them is more than 10 % above the p95 alone, or if fewer spans were taken.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import processes
from interactive_first import WORSE_MAX, Latencies, interactive

sys.path[:0] = [str(Path(__file__).parents[1] / "tests")]
from fakes.spans import chat, export, span  # noqa: E402  # in the tests

AT_ONCE = 512
TEXT = "please wait, " * 40
HEADERS = {"content-type": "application/x-protobuf"}
CHECK = {"type": "contains", "name": "polite", "value": "please"}
MANY = 100_000


def bodies() -> list[bytes]:
    """Requests of different traces."""
    numbers = random.Random(1)
    return [
        export(*(span(numbers.getrandbits(50), 1, chat(TEXT, TEXT)) for _ in range(AT_ONCE)))
        for _ in range(20)
    ]


async def spans(
    session: aiohttp.ClientSession, rate: float, seconds: float, taken: list[int]
) -> None:
    """Export at a steady rate for so long, and wait for the answers; what was accepted counts."""
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    made = bodies()

    async def send(body: bytes) -> None:
        async with session.post("/v1/traces", data=body, headers=HEADERS) as answer:
            taken.append(AT_ONCE if answer.status == 200 else 0)

    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds / AT_ONCE)):
            await asyncio.sleep(max(started_s + number * AT_ONCE / rate - loop.time(), 0))
            group.create_task(send(made[number % len(made)]))


async def rounds(
    url: str, options: argparse.Namespace
) -> tuple[Latencies, Latencies, list[int], dict[str, int]]:
    """Rounds alone and beside spans, in turns; what was taken, and what became of it."""
    alone, beside, taken = Latencies(), Latencies(), []
    headers = {"authorization": f"Bearer {processes.API_KEY}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, headers=headers, connector=connector) as session:
        evaluator = {"name": "polite", "criteria": [CHECK]}
        rule = {"name": "bench", "evaluator": "polite", "sample_rate": options.share}
        for path, document in (
            ("/v1/evaluators", evaluator),
            ("/v1/rules", {**rule, "limit": {"per_minute": MANY, "usd_per_day": MANY}}),
        ):
            async with session.post(path, json=document) as answer:
                answer.raise_for_status()
        await interactive(session, options.rate, 2.0, Latencies())
        async with session.post("/v1/traces", data=export(), headers=HEADERS) as answer:
            answer.raise_for_status()  # it loads what only traces need
        for _ in range(options.rounds):
            await interactive(session, options.rate, options.seconds, alone)
            async with asyncio.TaskGroup() as group:
                group.create_task(spans(session, options.spans, options.seconds, taken))
                await interactive(session, options.rate, options.seconds, beside)
        state = {"pending": 1}
        while state["pending"]:
            await asyncio.sleep(1)
            async with session.get("/v1/rules/bench") as answer:
                state = (await answer.json())["state"]
    return alone, beside, taken, state["counts"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=15.0, help="interactive calls a second")
    parser.add_argument("--spans", type=float, default=2_000.0, help="spans a second")
    parser.add_argument("--share", type=float, default=0.05, help="share that is judged")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delay-s", type=float, default=0.5, help="latency of the judge")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        provider = stack.enter_context(processes.stub(folder, options.delay_s))
        redis = stack.enter_context(processes.redis(folder))
        service = stack.enter_context(
            processes.assay(folder, provider, redis, worker_in_serve=True)
        )
        url = f"http://127.0.0.1:{service.port}"
        alone, beside, taken, counts = asyncio.run(rounds(url, options))
    worse = beside.p95_ms / alone.p95_ms - 1
    per_s = sum(taken) / (options.rounds * options.seconds)
    medians = [
        statistics.median(itertools.chain.from_iterable(seen.rounds)) for seen in (alone, beside)
    ]
    print(
        f"p95 alone {alone.p95_ms:.1f} ms, beside {beside.p95_ms:.1f} ms ({worse:+.1%}; medians "
        f"{medians[0]:.1f}/{medians[1]:.1f}), {per_s:.0f} spans/s taken, rows {counts}, "
        f"failures {alone.failures}/{beside.failures}"
    )
    enough = per_s >= 0.9 * options.spans
    return 0 if worse <= WORSE_MAX and enough and not beside.failures else 1


if __name__ == "__main__":
    sys.exit(main())
