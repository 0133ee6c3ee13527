"""Resident memory with a megabyte per request in flight, and under a flood of them."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import payloads
import processes
import report
from contest import assay_orders
from options import Options
from processes import Server, load

DELAY_S, DELAY_QUICK_S = 4.0, 2.5
SILENCE_S = 25.0
"""The judge thinks until all bodies have arrived, which takes seconds on two cores."""
IN_FLIGHT = 400
FLOOD = 2_000
BUDGET_MB = 256
SAMPLE_S = 0.05
RECOVERY_S = 6.0
"""The service checks every five seconds, and returns memory once the bodies are gone."""


def memory_in_flight(options: Options, folder: Path) -> None:
    """400 × 1 MB in flight; then 2,000 × 1 MB at once on a budget of 256 MB."""
    delay_s = DELAY_QUICK_S if options.quick else DELAY_S
    flying = in_flight(folder, delay_s)
    flooded = flood(folder, delay_s)
    rows = [
        ("", "idle MB", "waiting MB (per MB)", "most MB (per MB)", "after MB", "200", "503"),
        (f"{IN_FLIGHT} × 1 MB", *_row(flying)),
        (f"{FLOOD} × 1 MB, budget {BUDGET_MB} MB", *_row(flooded)),
    ]
    over_mb = flooded["most_mb"] - flooded["idle_mb"] - BUDGET_MB
    notes = [
        f"the flood is {abs(over_mb):.0f} MB {'over' if over_mb > 0 else 'under'} idle and budget",
        f"start-up {flying['started_in_s']:.2f} s",
    ]
    report.show("memory-in-flight", rows, notes)
    report.keep("memory-in-flight", {"in_flight": flying, "flood": flooded})


def in_flight(folder: Path, delay_s: float) -> dict[str, Any]:
    return measure(folder, delay_s, IN_FLIGHT, inflight_bytes_max=2 * IN_FLIGHT * payloads.MB)


def flood(folder: Path, delay_s: float) -> dict[str, Any]:
    """Beyond its budget, a process takes only what it takes when idle."""
    return measure(folder, delay_s, FLOOD, inflight_bytes_max=BUDGET_MB * payloads.MB)


def measure(folder: Path, delay_s: float, connections: int, **limits: int) -> dict[str, Any]:
    """Send `connections` requests at once and watch the process until all are answered."""
    case = payloads.written(
        folder, "case.json", payloads.evaluation(payloads.prose(payloads.MB - 512))
    )
    with ExitStack() as stack:
        provider = stack.enter_context(processes.stub(folder, delay_s))
        redis = stack.enter_context(processes.redis(folder))
        service = stack.enter_context(
            processes.assay(
                folder,
                provider,
                redis,
                inflight_requests_max=4_000,
                silence_timeout_s=SILENCE_S,
                **limits,
            )
        )
        idle_mb = service.resident_mb
        orders = assay_orders(service, case, connections=connections, requests=connections)
        with watched(service) as seen:
            outcome = load(orders)
        # Arrival and departure are peaks. Between them, all requests wait for their judges.
        waiting_mb = statistics.median(seen[len(seen) // 2 :])
        time.sleep(RECOVERY_S)
        after_mb = service.resident_mb
        again = load(assay_orders(service, case, connections=10, requests=10))
    wrong = {status for status in outcome.statuses if status not in ("200", "503")}
    if wrong or again.right != 10 or outcome.retry_after < outcome.statuses.get("503", 0):
        raise RuntimeError(f"wrong answers: {outcome} {again}")
    return {
        "idle_mb": idle_mb,
        "waiting_mb": waiting_mb,
        "most_mb": max(seen),
        "after_mb": after_mb,
        "waiting_mb_per_mb": (waiting_mb - idle_mb) / outcome.right,
        "most_mb_per_mb": (max(seen) - idle_mb) / outcome.right,
        "statuses": outcome.statuses,
        "started_in_s": service.started_in_s,
        "p50_ms": outcome.p50_ms,
        "max_ms": outcome.max_ms,
    }


@contextmanager
def watched(server: Server) -> Iterator[list[float]]:
    """The resident memory of a process, sampled until the context ends."""
    seen = [server.resident_mb]
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(SAMPLE_S):
            seen.append(server.resident_mb)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()


def _row(figures: dict[str, Any]) -> tuple[str, ...]:
    statuses = figures["statuses"]
    return (
        f"{figures['idle_mb']:.0f}",
        f"{figures['waiting_mb']:.0f} ({figures['waiting_mb_per_mb']:.2f})",
        f"{figures['most_mb']:.0f} ({figures['most_mb_per_mb']:.2f})",
        f"{figures['after_mb']:.0f}",
        str(statuses.get("200", 0)),
        str(statuses.get("503", 0)),
    )
