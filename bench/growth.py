"""How the cost of a request grows with its size and with the number of requests in flight.

The floor is measured at the same numbers of callers, because a mostly idle core is slower for it,
too.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import payloads
import processes
import report
from contest import assay_orders, measured
from load import Orders
from options import Options
from plot import Series, plot
from processes import Server, load

DELAY_S = 0.05
IDLE_S = 2.0
SIZES_KB = (2, 16, 64, 256, 512, 1_024, 1_536)
CALLERS = (1, 2, 5, 10, 20, 50, 100, 200)
AT_SIZE = 16
"""Concurrent callers while the size grows."""


def growth(options: Options, folder: Path) -> None:
    """CPU time per request over body sizes and over concurrent callers, with a plot of each."""
    with ExitStack() as stack:
        provider = stack.enter_context(processes.stub(folder, DELAY_S))
        redis = stack.enter_context(processes.redis(folder))
        service = stack.enter_context(processes.assay(folder, provider, redis))
        bare = stack.enter_context(processes.floor(folder, provider))
        idle_share = _idle_share(service)
        sizes = [
            (size, _cpu_ms(service, orders_of(service, size, folder), AT_SIZE, idle_share, options))
            for size in SIZES_KB[:: options.stride]
        ]
        small = orders_of(service, 2, folder)
        to_floor = Orders(bare.port, "/forward", small.body_file, expect="verdict")
        callers = [
            (
                count,
                _cpu_ms(service, small, count, idle_share, options),
                _cpu_ms(bare, to_floor, count, 0.0, options),
            )
            for count in CALLERS[:: options.stride]
        ]
    rows = [("", "CPU ms/request (least)", "median", "floor (least)")]
    rows += [(f"{size} KB", f"{least:.2f}", f"{middle:.2f}", "") for size, (least, middle) in sizes]
    rows += [
        (f"{count} callers, 2 KB", f"{least:.2f}", f"{middle:.2f}", f"{floors:.2f}")
        for count, (least, middle), (floors, _) in callers
    ]
    fixed, per_mb, worst = fitted([(size / 1_024, least) for size, (least, _) in sizes])
    note = f"{fixed:.2f} ms + {per_mb:.2f} ms per MB; farthest from that line {worst:.0%}"
    report.show("growth", rows, [note])
    figures: dict[str, Any] = {"sizes_kb": sizes, "callers": callers}
    report.keep("growth", figures | {"fixed_ms": fixed, "per_mb_ms": per_mb, "worst": worst})
    by_size = Series("KB of body", [(size, least) for size, (least, _) in sizes])
    by_callers = Series("callers at once", [(n, least) for n, (least, _), _ in callers])
    (report.RESULTS / "growth.svg").write_text(plot("CPU ms a request", [by_size, by_callers]))


def orders_of(service: Server, size_kb: int, folder: Path) -> Orders:
    body = payloads.evaluation(payloads.prose(size_kb * payloads.KB))
    return assay_orders(service, payloads.written(folder, f"{size_kb}.json", body))


def _idle_share(service: Server) -> float:
    """The CPU share of an idle process: it shares breakers, reads quotas and watches the loop."""
    cpu_s = service.cpu_s
    time.sleep(IDLE_S)
    return (service.cpu_s - cpu_s) / IDLE_S


def _cpu_ms(
    service: Server, orders: Orders, callers: int, idle_share: float, options: Options
) -> tuple[float, float]:
    """The minimum and the median of some rounds; other work on the machine can only add."""
    seconds = 0.6 if options.quick else 2.0
    load(replace(orders, connections=callers, seconds=0.3))
    costs = []
    for _ in range(1 if options.quick else 3):
        cpu_s = service.cpu_s
        outcome = load(replace(orders, connections=callers, seconds=seconds))
        spent_s = service.cpu_s - cpu_s - idle_share * outcome.seconds
        costs.append(measured(outcome, spent_s)["cpu_ms"])
    return min(costs), sorted(costs)[len(costs) // 2]


def fitted(points: list[tuple[float, float]]) -> tuple[float, float, float]:
    """The least-squares line through the points, and the largest relative distance from it."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum(
        (x - mean_x) ** 2 for x, _ in points
    )
    fixed = mean_y - slope * mean_x
    worst = max(abs(y - fixed - slope * x) / y for x, y in points)
    return fixed, slope, worst
