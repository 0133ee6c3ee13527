"""Measures a fleet from outside: real services over HTTP, with one Redis and one provider.

    python bench/fleet.py minute --seconds 70      floods two services; the quota is 60 a minute
    python bench/fleet.py fairness --seconds 30    one tenant floods beside a quiet one

Everything runs on loopback. The figures are printed as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from assay.http.keys_file import new_key  # noqa: E402  the checkout's own modules come first
from fakes.fleet import Pod, most_in_a_minute, running_fleet, worst_excess  # noqa: E402
from fakes.providers.server import FaultServer  # noqa: E402
from fakes.redis_process import RedisProcess  # noqa: E402

CONFIG = """
[redis]
url = "{redis}"

[quota]
pods_max = 2

[providers.first]
dialect = "openai"
base_url = "{first}"

[models."first/judge"]
provider = "first"
name = "judge-1"
requests_per_minute = {per_minute}
"""
TENANTS = """
[auth]
keys_file = "{keys}"

[tenants.flooding]
quota_share = {share}

[tenants.quiet]
quota_share = {share}
"""
SHARE = 0.2
FLOOD = 50


async def minute(seconds: float, folder: Path, redis: RedisProcess) -> dict:
    """Flood two services with patient and hasty callers, and count what the provider received."""
    per_minute = 60
    capacity = 3.0
    rate_per_s = (per_minute - capacity) / 60
    async with FaultServer(requests_kept=10_000) as provider:
        config = CONFIG.format(
            redis=redis.url, first=provider.base_url("openai"), per_minute=per_minute
        )
        async with running_fleet(folder, config) as pods:
            until_s = time.monotonic() + seconds
            statuses: collections.Counter = collections.Counter()

            async def call(pod: Pod, number: int) -> None:
                while time.monotonic() < until_s:
                    hasty = number % 4 == 3
                    answer = await pod.judge(
                        f"case-{number}-{time.monotonic_ns()}", 2_000 if hasty else 28_000
                    )
                    statuses[answer.status] += 1
                    if answer.status == 429:
                        await asyncio.sleep(min(2.0, float(answer.headers["retry-after"])))

            await asyncio.gather(*(call(pod, n) for pod in pods for n in range(12)))
        sent_s = [request.at_s for request in provider.requests]
    return {
        "sent": len(sent_s),
        "most_in_a_sliding_minute": most_in_a_minute(sent_s),
        "largest_excess_requests": max(0.0, worst_excess(sent_s, capacity, rate_per_s)),
        "largest_excess_ms": max(0.0, worst_excess(sent_s, capacity, rate_per_s) / rate_per_s)
        * 1_000,
        "share_of_rate_used": (len(sent_s) - rate_per_s)
        / (rate_per_s * (max(sent_s) - min(sent_s))),
        "answers": dict(statuses),
    }


async def fairness(seconds: float, folder: Path, redis: RedisProcess) -> dict:
    """The quiet tenant's time to an answer, alone and while another sends 50 times its share."""
    per_minute = 1_200
    keys = {tenant: new_key(tenant) for tenant in ("flooding", "quiet")}
    (folder / "keys").write_text("".join(f"{line}\n" for _, line in keys.values()))
    headers = {tenant: {"Authorization": f"Bearer {key}"} for tenant, (key, _) in keys.items()}
    async with FaultServer() as provider:
        provider.latency_s = 1.5
        config = CONFIG.format(
            redis=redis.url, first=provider.base_url("openai"), per_minute=per_minute
        ) + TENANTS.format(keys=folder / "keys", share=SHARE)
        share_per_s = SHARE * per_minute / 60
        async with running_fleet(folder, config, pods=1) as (pod,):
            alone = await quiet(pod, seconds, share_per_s, headers["quiet"])
            flooding = asyncio.create_task(
                flood(pod, seconds + 3, FLOOD * share_per_s, headers["flooding"])
            )
            await asyncio.sleep(3)
            beside = await quiet(pod, seconds, share_per_s, headers["quiet"])
            flooded = await flooding
    return {
        "share_per_s": share_per_s,
        "flood_asked_per_s": sum(flooded.values()) / (seconds + 3),
        "flood_answers": dict(flooded),
        "quiet_calls": [len(alone), len(beside)],
        "quiet_p50_s": [statistics.median(alone), statistics.median(beside)],
        "quiet_p95_s": [p95(alone), p95(beside)],
        "quiet_p95_rise": p95(beside) / p95(alone) - 1,
    }


async def quiet(pod: Pod, seconds: float, share_per_s: float, headers: dict) -> list[float]:
    """Times to an answer, at a steady half of the tenant's share."""
    calls = []
    for number in range(int(seconds * share_per_s / 2)):
        calls.append(asyncio.create_task(pod.judge(f"quiet-{number}", headers=headers)))
        await asyncio.sleep(2 / share_per_s)
    answers = await asyncio.gather(*calls)
    assert all(answer.served_by for answer in answers), "a quiet tenant is never refused"
    return [answer.seconds for answer in answers]


async def flood(pod: Pod, seconds: float, per_s: float, headers: dict) -> collections.Counter:
    """Send `per_s` calls a second without waiting for answers; the count of each status."""
    calls = set()
    statuses: collections.Counter = collections.Counter()
    for number in range(int(seconds * per_s)):
        task = asyncio.create_task(pod.judge(f"flood-{number}", 5_000, headers=headers))
        calls.add(task)
        task.add_done_callback(lambda done: statuses.update([done.result().status]))
        await asyncio.sleep(1 / per_s)
    await asyncio.gather(*calls)
    return statuses


def p95(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["minute", "fairness"])
    parser.add_argument("--seconds", type=float, default=70)
    chosen = parser.parse_args()
    measure = {"minute": minute, "fairness": fairness}[chosen.what]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "redis").mkdir()
        redis = RedisProcess(Path(folder) / "redis", keep=False)
        try:
            print(json.dumps(asyncio.run(measure(chosen.seconds, Path(folder), redis)), indent=1))
        finally:
            redis.stop()


if __name__ == "__main__":
    main()
