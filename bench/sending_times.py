"""Measures the quota: share of the rate used, excess, precision and cost of the script.

    python bench/sending_times.py --seconds 60 --processes 8

Starts a redis-server and client processes on loopback, and prints a table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from redis.asyncio import Redis  # noqa: E402  the checkout's own modules come first

from assay.domain.completion import Completion, Usage  # noqa: E402
from assay.domain.models import Model  # noqa: E402
from assay.domain.policy import Quota  # noqa: E402
from assay.domain.supervision import Supervisor  # noqa: E402
from assay.resilience.quota.buckets import buckets_from_quota  # noqa: E402
from assay.resilience.quota.quotas import Quotas  # noqa: E402
from assay.resilience.quota.reservations import (  # noqa: E402
    ReservationRequest,
    Reserved,
    SettledReservation,
)
from fakes.calls import call  # noqa: E402
from fakes.fleet import worst_excess  # noqa: E402
from fakes.models import ask  # noqa: E402
from fakes.queues import limited_model  # noqa: E402
from fakes.recorded_events import RecordedEvents  # noqa: E402
from fakes.redis_process import BUNDLED, RedisProcess  # noqa: E402

MODEL = Model("bench", "stub", "stub")


class Stamped:
    """A model that records when it was called, on the clock that all processes share."""

    def __init__(self) -> None:
        self.sent_s: list[float] = []

    async def complete(self, *_: object) -> Completion:
        self.sent_s.append(time.time())
        return Completion("ok", "stop", "stub", "stub", Usage(1, 1))


class Promises(Quotas):
    """Records every promised sending time."""

    promised_s: list[float]

    def of(self, model, quota):
        found = super().of(model, quota)
        if not hasattr(self, "promised_s"):
            self.promised_s = []
            reserve = found.reserve

            async def recorded(request):
                answer = await reserve(request)
                if isinstance(answer, Reserved):
                    if answer.local is not None:
                        print("local share used", file=sys.stderr)
                    self.promised_s.append(time.time() + answer.wait_s)
                return answer

            found.reserve = recorded
        return found


async def client(url: str, per_minute: float, seconds: float, tasks: int) -> None:
    """Flood the model from this process and print the sending times."""
    redis, events = Redis.from_url(url, max_connections=64), RecordedEvents()
    quotas = Promises(redis, Supervisor(events), pods_max=8, budget_s=1.0)
    stamped = Stamped()
    limited = limited_model(stamped, MODEL, Quota(requests_per_minute=per_minute), quotas, events)
    end_s = time.monotonic() + seconds

    async def flood() -> None:
        while time.monotonic() < end_s:
            await limited.complete(ask(), call(600))

    flooding = [asyncio.create_task(flood()) for _ in range(tasks)]
    await asyncio.sleep(seconds)
    for task in flooding:
        task.cancel()
    await asyncio.gather(*flooding, return_exceptions=True)
    print(json.dumps({"sent": stamped.sent_s, "promised": quotas.promised_s}))
    await limited.aclose()
    await quotas.aclose()
    await redis.aclose()


def flood(url: str, per_minute: float, seconds: float, processes: int, tasks: int) -> dict:
    """Run the client processes side by side and merge their sending times."""
    command = [sys.executable, __file__, "--client", url]
    options = ["--rate", str(per_minute), "--seconds", str(seconds), "--tasks", str(tasks)]
    running = [
        subprocess.Popen([*command, *options], stdout=subprocess.PIPE) for _ in range(processes)
    ]
    answers = [json.loads(process.communicate()[0]) for process in running]
    return {name: sorted(t for answer in answers for t in answer[name]) for name in answers[0]} | {
        "late": [
            sent - promised
            for answer in answers
            for sent, promised in zip(answer["sent"], sorted(answer["promised"]), strict=False)
        ]
    }


def report_flood(url: str, per_minute: float, seconds: float, processes: int, tasks: int) -> dict:
    bucket = buckets_from_quota(Quota(requests_per_minute=per_minute))[0]
    times = flood(url, per_minute, seconds, processes, tasks)
    allowance = bucket.capacity, bucket.rate_per_s
    sent = times["sent"]
    span_s = sent[-1] - sent[0]
    late_ms = sorted(late_s * 1_000 for late_s in times["late"])
    return {
        "rate_per_s": bucket.rate_per_s,
        "sent": len(sent),
        # One second of rate is available at the start.
        "share_of_rate_used": (len(sent) - bucket.rate_per_s) / (bucket.rate_per_s * span_s),
        "excess_promised": max(0.0, worst_excess(times["promised"], *allowance)),
        "excess_sent": max(0.0, worst_excess(sent, *allowance)),
        "late_ms_p50": statistics.median(late_ms),
        "late_ms_p99": late_ms[int(len(late_ms) * 0.99)],
    }


def script_calls(server: RedisProcess) -> int:
    """Scripts run so far: reservations, settlements and queries of the wait."""
    stats = server.command("INFO", "commandstats")
    assert isinstance(stats, dict)
    return int(stats["cmdstat_evalsha"]["calls"])


async def script_cost(url: str) -> dict:
    """Script calls a second over a few connections, and the latency added for an idle model."""
    redis, events = Redis.from_url(url, max_connections=64), RecordedEvents()
    quotas = Quotas(redis, Supervisor(events), budget_s=5.0)
    quota = Quota(requests_per_minute=6e7, tokens_per_minute=6e10)
    model = quotas.of("ops", quota)

    async def many(count: int) -> None:
        for _ in range(count):
            granted = await model.reserve(ReservationRequest({"requests": 1, "tokens": 100}))
            assert isinstance(granted, Reserved)
            await model.settle([SettledReservation(granted, {"tokens": 80})])

    start_s = time.perf_counter()
    await asyncio.gather(*(many(300) for _ in range(16)))
    pairs_per_s = 16 * 300 / (time.perf_counter() - start_s)
    info = await redis.info("commandstats")
    by_sha = info["cmdstat_evalsha"]

    limited = limited_model(Stamped(), MODEL, quota, quotas, events)
    added_ms = []
    for _ in range(500):
        start_s = time.perf_counter()
        await limited.complete(ask(), call(30))
        added_ms.append((time.perf_counter() - start_s) * 1_000)
        await asyncio.sleep(0.001)
    await limited.aclose()
    await quotas.aclose()
    await redis.aclose()
    return {
        "reserve_commit_pairs_per_s_one_client": pairs_per_s,
        "script_us_mean_in_redis": by_sha["usec_per_call"],
        "script_ops_per_s_in_redis": 1e6 / by_sha["usec_per_call"],
        "added_ms_p50": statistics.median(added_ms),
        "added_ms_p99": sorted(added_ms)[495],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--tasks", type=int, default=32)
    parser.add_argument("--rate", type=float, default=6_000, help="requests a minute")
    parser.add_argument("--client", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.client:
        asyncio.run(client(chosen.client, chosen.rate, chosen.seconds, chosen.tasks))
        return
    binary = Path(shutil.which("redis-server") or BUNDLED)
    with tempfile.TemporaryDirectory() as folder:
        server = RedisProcess(Path(folder), binary)
        try:
            result = report_flood(
                server.url, chosen.rate, chosen.seconds, chosen.processes, chosen.tasks
            )
            result["redis_calls_per_request"] = script_calls(server) / result["sent"]
            result |= asyncio.run(script_cost(server.url))
        finally:
            server.stop()
    for name, value in result.items():
        if value is not None:
            print(f"{name:40} {value:12.4f}" if isinstance(value, float) else f"{name:40} {value}")


if __name__ == "__main__":
    main()
