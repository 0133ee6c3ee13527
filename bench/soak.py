"""Soaks the service with its features on: random faults at one provider, and a healthy fallback.

    python bench/soak.py --seconds 300

Runs the whole service in this process, with its records and a worker, a redis-server and two
provider processes on loopback, and calls it over HTTP: requests of every kind in turn, one batch
after another, and spans of which a rule judges a half. Prints what became of them, and the tasks,
open files and memory before and after. Exits with status 1 if requests or batches hang, if more
than one in a thousand requests or any row stays unscored, or if the process keeps resources.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import ctypes
import gc
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

import aiohttp  # noqa: E402  the checkout's own modules come first
import psutil  # noqa: E402

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
BATCH_S_MAX = 300.0
"""A batch that takes longer is counted as stuck."""
LOOKS, LOOK_AGAIN_S = 5, 0.7
SCORED_SHARE_MIN = 0.999
MEMORY_GROWTH_MB_MAX = 24.0
FILES_GROWTH_MAX = 3
"""Besides pooled connections. A pool grows towards its own bound when calls coincide, and one that
gets no connection back is empty in the end, so that calls hang."""

NOT_DRAWN = {
    # Only the listener can cause these.
    "none", "refused", "tls",
    # The request itself is at fault, so no other candidate is asked.
    "400", "422", "prompt_filtered", "filtered",
    # Each of these stops calls to the model for up to a minute: the other faults would not occur.
    "401", "402", "403", "bad_key", "429_retry_after", "429_retry_after_ms",
}  # fmt: skip
DRAWN = sorted(set(FAULTS) - NOT_DRAWN)


RUBRIC = {"type": "rubric", "rubric": "It is right."}
FORM = {"type": "starts_with", "value": "Par"}
CASCADE = {"tiers": [{"models": ["first/judge"]}, {"models": ["second/judge"]}]}
CASES: list[dict] = [
    {"criteria": ["It is right."]},
    {"criteria": ["It is right.", "It is polite."], "judge": {"batch_criteria": True}},
    {"criteria": ["It is right.", "It is short."], "judge": {"prefix_cache": True}},
    {"criteria": ["It is right."], "judge": {"hedge": True}},
    {"criteria": ["It is right."], "judge": {"samples": 3, "aggregate": "majority"}},
    {
        "criteria": ["It is right."],
        "judge": {"cascade": CASCADE},
    },
    {"criteria": ["It is right."], "judge": {"injection": "verify", "language": "de"}},
    {"criteria": ["It is right."], "judge": {"cache": True}},
    {"criteria": [{"type": "regex", "pattern": "^P.*s[.]$"}, {"type": "word_count", "max": 3}]},
    {
        "criteria": [
            {
                "type": "composite",
                "criteria": {"form": FORM, "right": RUBRIC | {"when": "form.passed"}},
                "formula": "(form + right) / 2",
            }
        ]
    },
    {"criteria": [{"type": "checklist", "adaptive": True}]},
    {"evaluator": "soaked"},
]
"""The kinds of requests, each in its turn."""
TRACES_EVERY_S = 1.0


@dataclass(frozen=True)
class Size:
    """Callers, the pause of each between two requests, and the rows of a batch."""

    callers: int
    pause_s: float
    rows: int


@dataclass
class Outcome:
    """The results of all requests."""

    scored: int = 0
    rows: collections.Counter = field(default_factory=collections.Counter)
    judged_spans: int = 0
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

    tasks: collections.Counter[str]
    files: int
    pooled: int
    memory_mb: float

    @classmethod
    async def now(cls, servers: Collection[int]) -> Held:
        """What is held now; connections to the ports `servers` are pooled."""
        tasks = await staying_tasks()
        gc.collect()
        # Memory that the allocator only keeps for later does not count.
        ctypes.CDLL(None).malloc_trim(0)
        process = psutil.Process()
        connections = process.net_connections("tcp")
        pooled = sum(1 for one in connections if one.raddr and one.raddr.port in servers)
        return cls(tasks, process.num_fds() - pooled, pooled, process.memory_info().rss / 2**20)


async def staying_tasks() -> collections.Counter[str]:
    """Those that are there at every look: what only happens to run is gone at the next."""
    tasks = _tasks()
    for _ in range(LOOKS):
        await asyncio.sleep(LOOK_AGAIN_S)
        tasks &= _tasks()
    return tasks


def _tasks() -> collections.Counter[str]:
    return collections.Counter(_name(task) for task in asyncio.all_tasks())


def _name(task: asyncio.Task) -> str:
    coroutine = task.get_coro()
    is_numbered = task.get_name().startswith("Task-")
    return getattr(coroutine, "__qualname__", "") if is_numbered else task.get_name()


def settings(redis: RedisProcess, first: FaultProcess, second: FaultProcess) -> Settings:
    return Settings.model_validate(
        {
            "redis": {"url": redis.url},
            "batches": {"worker_in_serve": True},
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
        count = number
        while time.monotonic() < until_s:
            count += 1
            case = {
                "input": f"{number}.{count}",
                "output": "Paris.",
                "timeout_ms": int(TIMEOUT_S * 1_000),
                **CASES[count % len(CASES)],
            }
            # In turn of its own: each kind of request is sent with a key and without.
            keyed = count // len(CASES) % 3
            key = {"Idempotency-Key": f"{number}-{time.monotonic_ns()}"} if keyed else {}
            started_s = time.monotonic()
            async with session.post("/v1/evaluations", json=case, headers=key) as answer:
                note(outcome, answer.status, await answer.json(), time.monotonic() - started_s)
            await asyncio.sleep(pause_s)


def note(outcome: Outcome, status: int, body: dict, seconds: float) -> None:
    outcome.seconds.append(seconds)
    outcome.hung += seconds > TIMEOUT_S + HUNG_S
    if status != 200:
        outcome.other[body["detail"]] += 1
        return
    for result in body["results"]:
        for attempt in (result.get("judge") or {}).get("attempts", ()):
            outcome.attempts[attempt["outcome"]] += 1
    reasons = [one["reason"] for one in body["results"] if one["status"] != "scored"]
    if reasons:
        outcome.other[reasons[0]] += 1
    else:
        outcome.scored += 1


async def batches(url: str, until_s: float, rows: int, outcome: Outcome) -> None:
    """One batch after another; how each row ended."""
    async with aiohttp.ClientSession(url) as session:
        while time.monotonic() < until_s:
            items = [
                {"id": f"{n}", "input": f"{until_s}.{n}", "output": "Paris."} for n in range(rows)
            ]
            wanted = {"criteria": ["It is right."], "items": items}
            batch = await call(session, "POST", "/v1/batches", wanted)
            path = f"/v1/batches/{batch['id']}"
            give_up_s = time.monotonic() + BATCH_S_MAX
            while batch["status"] in ("open", "running"):
                if time.monotonic() > give_up_s:
                    outcome.rows["stuck"] += 1
                    return
                await asyncio.sleep(0.5)
                batch = await call(session, "GET", path)
            outcome.rows.update({k: v for k, v in batch["counts"].items() if v and k != "total"})
            await call(session, "DELETE", path)


async def traces(url: str, until_s: float) -> None:
    """A span of an application every now and then, judged by the rule if it is in its share."""
    async with aiohttp.ClientSession(url) as session:
        while time.monotonic() < until_s:
            await call(session, "POST", "/v1/traces", span_document())
            await asyncio.sleep(TRACES_EVERY_S)


async def call(session: aiohttp.ClientSession, method: str, path: str, document: object = None):
    async with session.request(method, path, json=document) as answer:
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {await answer.text()}")
        return await answer.json() if answer.content_type.endswith("json") else None


def span_document() -> dict:
    """A trace of one call of a model, in OTLP's JSON."""
    now_ns = time.time_ns()
    texts = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "small",
        "gen_ai.input.messages": _message("user", "The capital of France?"),
        "gen_ai.output.messages": _message("assistant", "Paris."),
    }
    span = {
        "traceId": secrets.token_hex(16),
        "spanId": secrets.token_hex(8),
        "name": "chat",
        "kind": 3,
        "startTimeUnixNano": str(now_ns - 10**9),
        "endTimeUnixNano": str(now_ns),
        "attributes": [{"key": k, "value": {"stringValue": v}} for k, v in texts.items()],
    }
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}


def _message(role: str, text: str) -> str:
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])


async def prepare(url: str) -> None:
    """The evaluator that requests name, and the rule that judges spans by it."""
    rule = {"name": "live", "evaluator": "soaked", "sample_rate": 0.5, "delay_s": 1}
    async with aiohttp.ClientSession(url) as session:
        evaluator = {"name": "soaked", "criteria": [RUBRIC]}
        await call(session, "POST", "/v1/evaluators", evaluator)
        await call(session, "POST", "/v1/rules", rule)


async def judged_spans(url: str) -> int:
    """How many spans of the last two hours were judged."""
    async with aiohttp.ClientSession(url) as session:
        hours = (await call(session, "GET", "/v1/rules/live/scores?hours=2"))["data"]
        return sum(hour["counts"]["scored"] for hour in hours)


async def load(url: str, seconds: float, size: Size) -> Outcome:
    outcome = Outcome()
    until_s = time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        group.create_task(batches(url, until_s, size.rows, outcome))
        group.create_task(traces(url, until_s))
        for number in range(size.callers):
            group.create_task(caller(url, until_s, size.pause_s, number, outcome))
    return outcome


async def soak(seconds: float, size: Size, idle_s: float = IDLE_S) -> dict:
    """Run the soak, after a warm-up of another tenth of its time, and return all figures."""
    with tempfile.TemporaryDirectory() as folder:
        redis = RedisProcess(Path(folder), keep=False)
        try:
            async with (
                running_faults() as first,
                running_faults() as second,
                open_local(settings(redis, first, second)) as url,
            ):
                servers = {redis.port, first.port, second.port}
                await first.play(share=SHARE, among=DRAWN, silence_s=30, seed=1)
                await prepare(url)
                await load(url, max(3.0, seconds / 10), size)
                await asyncio.sleep(idle_s)
                before = await Held.now(servers)
                outcome = await load(url, seconds, size)
                await asyncio.sleep(idle_s)
                outcome.judged_spans = await judged_spans(url)
                after = await Held.now(servers)
        finally:
            redis.stop()
    return figures(outcome, before, after)


def figures(outcome: Outcome, before: Held, after: Held) -> dict:
    ordered = sorted(outcome.seconds)
    failed = outcome.attempts.total() - outcome.attempts["ok"]
    kept = (
        outcome.scored >= SCORED_SHARE_MIN * outcome.requests
        and not outcome.hung
        and set(outcome.rows) == {"scored"}
        and outcome.judged_spans > 0
        and after.tasks.total() <= before.tasks.total()
        and after.files <= before.files + FILES_GROWTH_MAX
        and after.memory_mb - before.memory_mb <= MEMORY_GROWTH_MB_MAX
    )
    return {
        "requests": outcome.requests,
        "scored_share": outcome.scored / max(1, outcome.requests),
        "not_scored": dict(outcome.other),
        "rows": dict(outcome.rows),
        "judged_spans": outcome.judged_spans,
        "hung": outcome.hung,
        "failed_attempts": failed,
        "outcomes": dict(outcome.attempts),
        "p50_s": ordered[len(ordered) // 2],
        "p99_s": ordered[int(len(ordered) * 0.99)],
        "max_s": ordered[-1],
        "tasks": [before.tasks.total(), after.tasks.total()],
        "more_tasks": dict(after.tasks - before.tasks),
        "files": [before.files, after.files],
        "pooled": [before.pooled, after.pooled],
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
    parser.add_argument("--rows", type=int, default=200, help="rows of each batch")
    parser.add_argument("--idle-s", type=float, default=IDLE_S)
    chosen = parser.parse_args()
    configure_logging("error")
    size = Size(chosen.callers, chosen.pause_s, chosen.rows)
    result = asyncio.run(soak(chosen.seconds, size, chosen.idle_s))
    print(json.dumps(result, indent=1))
    sys.exit(not result["kept"])


if __name__ == "__main__":
    main()
