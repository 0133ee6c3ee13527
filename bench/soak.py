"""Soaks the service: random faults at one provider, and a healthy fallback.

    python bench/soak.py --seconds 300

Runs the whole service in this process, with a redis-server and two provider processes on loopback,
and calls it over HTTP. Prints what became of the requests, and the tasks, open files and memory
before and after. Exits with status 1 if requests hang or stay unscored, or if the process keeps
resources.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import ctypes
import gc
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

import aiohttp  # noqa: E402  the checkout's own modules come first

from assay.bootstrap import open_local  # noqa: E402
from assay.settings import Settings  # noqa: E402
from assay.telemetry.logging import configure_logging  # noqa: E402
from fakes.providers.faults import FAULTS  # noqa: E402
from fakes.providers.process import FaultProcess, running_faults  # noqa: E402
from fakes.redis_process import RedisProcess  # noqa: E402

SHARE = 0.3
TIMEOUT_S = 20.0
HUNG_S = 1.0
"""An answer that misses its deadline by more than this counts as hung."""
IDLE_S = 16.0
"""Longer than the 15 s for which pooled connections to a provider are kept."""
SCORED_SHARE_MIN = 0.999
MEMORY_GROWTH_MB_MAX = 24.0
FILES_GROWTH_MAX = 8
"""The pool of Redis connections grows towards its bound when calls coincide."""

NOT_DRAWN = {
    # Only the listener can cause these.
    "none", "refused", "tls",
    # The request itself is at fault, so no other candidate is asked.
    "400", "422", "prompt_filtered", "filtered",
    # Each of these stops calls to the model for up to a minute: the other faults would not occur.
    "401", "402", "403", "bad_key", "429_retry_after", "429_retry_after_ms",
}  # fmt: skip
DRAWN = sorted(set(FAULTS) - NOT_DRAWN)


@dataclass
class Outcome:
    """The results of all requests."""

    scored: int = 0
    hung: int = 0
    other: collections.Counter = field(default_factory=collections.Counter)
    attempts: collections.Counter = field(default_factory=collections.Counter)
    seconds: list[float] = field(default_factory=list)

    @property
    def requests(self) -> int:
        return self.scored + self.other.total()


@dataclass(frozen=True)
class Held:
    """The resources that the process holds."""

    tasks: int
    files: int
    memory_mb: float

    @classmethod
    def now(cls) -> Held:
        gc.collect()
        # Memory that the allocator only keeps for later does not count.
        ctypes.CDLL(None).malloc_trim(0)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        files = len(list(Path("/proc/self/fd").iterdir()))
        return cls(len(asyncio.all_tasks()), files, pages * 4096 / 2**20)


def settings(redis: RedisProcess, first: FaultProcess, second: FaultProcess) -> Settings:
    return Settings.model_validate(
        {
            "redis": {"url": redis.url},
            "providers": {
                "first": {"dialect": "openai", "base_url": first.base_url("openai")},
                "second": {"dialect": "anthropic", "base_url": second.base_url("anthropic")},
            },
            "models": {
                "first/judge": {
                    "provider": "first",
                    "name": "judge-1",
                    "requests_per_minute": 60_000,
                    "context_tokens": 8_000,
                },
                "second/judge": {
                    "provider": "second",
                    "name": "judge-2",
                    "requests_per_minute": 60_000,
                    "context_tokens": 200_000,
                },
            },
            "judges": {"default": {"models": ["first/judge", "second/judge"]}},
        }
    )


async def caller(url: str, until_s: float, pause_s: float, number: int, outcome: Outcome) -> None:
    async with aiohttp.ClientSession(url) as session:
        count = 0
        while time.monotonic() < until_s:
            count += 1
            case = {
                "input": f"{number}.{count}",
                "output": "Paris.",
                "criteria": ["It is right."],
                "timeout_ms": int(TIMEOUT_S * 1_000),
            }
            started_s = time.monotonic()
            async with session.post("/v1/evaluations", json=case) as answer:
                note(outcome, answer.status, await answer.json(), time.monotonic() - started_s)
            await asyncio.sleep(pause_s)


def note(outcome: Outcome, status: int, body: dict, seconds: float) -> None:
    outcome.seconds.append(seconds)
    outcome.hung += seconds > TIMEOUT_S + HUNG_S
    if status != 200:
        outcome.other[body["code"]] += 1
        return
    result = body["results"][0]
    for attempt in result["judge"]["attempts"]:
        outcome.attempts[attempt["outcome"]] += 1
    if result["status"] == "scored":
        outcome.scored += 1
    else:
        outcome.other[result["reason"]] += 1


async def load(url: str, seconds: float, callers: int, pause_s: float) -> Outcome:
    outcome = Outcome()
    until_s = time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        for number in range(callers):
            group.create_task(caller(url, until_s, pause_s, number, outcome))
    return outcome


async def soak(seconds: float, callers: int, pause_s: float, idle_s: float = IDLE_S) -> dict:
    """Run the soak and return all figures; the first tenth is warm-up and does not count."""
    with tempfile.TemporaryDirectory() as folder:
        redis = RedisProcess(Path(folder), keep=False)
        try:
            async with (
                running_faults() as first,
                running_faults() as second,
                open_local(settings(redis, first, second)) as url,
            ):
                await first.play(share=SHARE, among=DRAWN, silence_s=30, seed=1)
                await load(url, max(3.0, seconds / 10), callers, pause_s)
                await asyncio.sleep(idle_s)
                before = Held.now()
                outcome = await load(url, seconds, callers, pause_s)
                await asyncio.sleep(idle_s)
                after = Held.now()
        finally:
            redis.stop()
    return figures(outcome, before, after)


def figures(outcome: Outcome, before: Held, after: Held) -> dict:
    ordered = sorted(outcome.seconds)
    failed = outcome.attempts.total() - outcome.attempts["ok"]
    kept = (
        outcome.scored >= SCORED_SHARE_MIN * outcome.requests
        and not outcome.hung
        and after.tasks <= before.tasks
        and after.files <= before.files + FILES_GROWTH_MAX
        and after.memory_mb - before.memory_mb <= MEMORY_GROWTH_MB_MAX
    )
    return {
        "requests": outcome.requests,
        "scored_share": outcome.scored / max(1, outcome.requests),
        "not_scored": dict(outcome.other),
        "hung": outcome.hung,
        "failed_attempts": failed,
        "outcomes": dict(outcome.attempts),
        "p50_s": ordered[len(ordered) // 2],
        "p99_s": ordered[int(len(ordered) * 0.99)],
        "max_s": ordered[-1],
        "tasks": [before.tasks, after.tasks],
        "files": [before.files, after.files],
        "memory_mb": [round(before.memory_mb, 1), round(after.memory_mb, 1)],
        "kept": kept,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--callers", type=int, default=40)
    parser.add_argument(
        "--pause-s", type=float, default=0.5, help="pause of each caller between two requests"
    )
    parser.add_argument("--idle-s", type=float, default=IDLE_S)
    chosen = parser.parse_args()
    configure_logging("error")
    result = asyncio.run(soak(chosen.seconds, chosen.callers, chosen.pause_s, chosen.idle_s))
    print(json.dumps(result, indent=1))
    sys.exit(not result["kept"])


if __name__ == "__main__":
    main()
