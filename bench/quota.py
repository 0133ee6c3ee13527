"""Several processes on one quota: how much of the rate they use, and what it costs in Redis."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import payloads
import processes
import report
from contest import assay_orders
from options import Options
from processes import load
from redis import Redis

DELAY_S = 0.05
PROCESSES, PROCESSES_QUICK = 8, 4
PER_MINUTE = 3_000
SECONDS, SECONDS_QUICK = 60.0, 5.0
CALLERS = 12
"""Callers of each process; together they could send several times the quota."""


def quota(options: Options, folder: Path) -> None:
    """Several processes on one quota of 3,000 requests a minute, each with callers to spare."""
    text = payloads.prose(2 * payloads.KB)
    case = payloads.written(folder, "case.json", payloads.evaluation(text))
    count = PROCESSES_QUICK if options.quick else PROCESSES
    seconds = SECONDS_QUICK if options.quick else SECONDS
    with ExitStack() as stack:
        provider = stack.enter_context(processes.stub(folder, DELAY_S))
        redis = stack.enter_context(processes.redis(folder))
        services = []
        for number in range(count):
            home = folder / str(number)
            home.mkdir()
            services.append(
                stack.enter_context(
                    processes.assay(home, provider, redis, requests_per_minute=PER_MINUTE)
                )
            )
        counters = Redis(port=redis.port)
        before = _scripts(counters)
        orders = [
            replace(assay_orders(service, case), connections=CALLERS, seconds=seconds)
            for service in services
        ]
        with ThreadPoolExecutor(count) as pool:
            outcomes = list(pool.map(load, orders))
        scripts = _scripts(counters) - before
    answered = sum(outcome.right for outcome in outcomes)
    elapsed_s = max(outcome.seconds for outcome in outcomes)
    # The bound: the refill, and the bucket that was full at the start.
    capacity = PER_MINUTE * 0.05
    refilled = (PER_MINUTE - capacity) / 60 * elapsed_s
    used = answered / refilled
    if answered > refilled + capacity:
        raise RuntimeError(f"{answered} answers on a quota for {refilled + capacity:.0f}")
    rows = [
        ("", "answered", "per second", "of the refill", "bound", "script calls/answer"),
        (
            f"{count} processes", str(answered), f"{answered / elapsed_s:.1f}", f"{used:.1%}",
            f"{refilled + capacity:.0f}", f"{scripts / answered:.2f}",
        ),
    ]  # fmt: skip
    statuses: dict[str, int] = {}
    for outcome in outcomes:
        for status, count in outcome.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
    report.show(f"quota: {PER_MINUTE:,} requests a minute", rows, [f"statuses {statuses}"])
    report.keep(
        "quota",
        {
            "answered": answered, "seconds": elapsed_s, "share_of_refill": used,
            "bound": refilled + capacity, "script_calls_per_answer": scripts / answered,
            "statuses": statuses,
        },
    )  # fmt: skip


def _scripts(redis: Redis) -> int:
    """Script calls so far, of all clients."""
    stats = redis.info("commandstats")
    return sum(
        int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("evalsha", "eval")
    )
