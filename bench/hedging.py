"""The tail of a provider with 5 % of answers that take ten times as long, hedged and not.

All usual answers take the same time, so the least that a hedged one can take is twice the p50.
"""

from __future__ import annotations

import urllib.request
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import payloads
import processes
import report
from contest import Contender, assay_orders, measured, spread
from options import Options
from processes import Server, load

DELAY_S = 0.2
SLOW_SHARE = 0.05
RATE = 40.0
"""Arrivals a second: little for one process, so that the provider's time is what is measured."""
WARM_UP = 300
CONNECTIONS = 256
GOALS = {"p99 / p50": 2.0, "more calls": 0.06}


def hedging(options: Options, folder: Path) -> None:
    """Open loop, 2 KB: the same judge with hedging and without, in turns."""
    text = payloads.prose(2 * payloads.KB)
    requests = 500 if options.quick else 1_500
    with ExitStack() as stack:
        provider = stack.enter_context(processes.stub(folder, DELAY_S, SLOW_SHARE))
        redis = stack.enter_context(processes.redis(folder))
        service = stack.enter_context(processes.assay(folder, provider, redis))
        contenders = []
        for name, hedge in (("without", False), ("hedged", True)):
            case = orjson.loads(payloads.evaluation(text)) | {"judge": {"hedge": hedge}}
            body = payloads.written(folder, f"{name}.json", orjson.dumps(case))
            orders = assay_orders(service, body, connections=CONNECTIONS, rate=RATE)
            load(replace(orders, requests=WARM_UP))
            contenders.append(Contender(name, service, orders))
        for _ in range(min(options.rounds, 3)):
            for contender in contenders:
                contender.rounds.append(_round(contender, service, requests))
    _show(contenders)


def _round(contender: Contender, service: Server, requests: int) -> dict[str, Any]:
    cpu_s, before = service.cpu_s, _hedges(service)
    outcome = load(replace(contender.orders, requests=requests))
    figures = measured(outcome, service.cpu_s - cpu_s)
    return figures | {
        "p99 / p50": outcome.p99_ms / outcome.p50_ms,
        "more calls": (_hedges(service) - before) / requests,
    }


def _hedges(service: Server) -> float:
    """How many hedges the service has sent so far."""
    with urllib.request.urlopen(f"http://127.0.0.1:{service.metrics_port}/metrics") as response:
        lines = response.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if "assay_hedges_total{" in line)


def _show(contenders: list[Contender]) -> None:
    rows: list[tuple[str, ...]] = [("", "p50 ms", "p99 ms", "p99 / p50", "more calls")]
    for contender in contenders:
        shown = ("p50_ms", "p99_ms", *GOALS)
        median = {key: spread(contender.rounds, key)["median"] for key in shown}
        rows.append(
            (
                contender.name,
                f"{median['p50_ms']:.0f}",
                f"{median['p99_ms']:.0f}",
                f"{median['p99 / p50']:.2f}",
                f"{median['more calls']:.1%}",
            )
        )
    goals = ", ".join(f"{name} ≤ {most:g}" for name, most in GOALS.items())
    report.show(
        f"hedging: 2 KB, open loop at {RATE:g}/s, {SLOW_SHARE:.0%} of the answers 10 x as long",
        rows,
        [f"goals: {goals}"],
    )
    report.keep("hedging", {"rounds": {one.name: one.rounds for one in contenders}})
