"""Measures the service against a stub provider. Without a scenario, runs all of them."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from growth import growth
from hedging import hedging
from latency import latency_half_load
from memory import memory_in_flight
from options import Options
from quota import quota
from records import records
from rows import batch
from scale import scale
from throughput import evaluate_1mb, evaluate_1mb_escapes, evaluate_2kb, streams
from waiting import async_vs_sync

SCENARIOS: dict[str, Callable[[Options, Path], None]] = {
    "evaluate-1mb": evaluate_1mb,
    "evaluate-1mb-escapes": evaluate_1mb_escapes,
    "evaluate-2kb": evaluate_2kb,
    "streams": streams,
    "latency-half-load": latency_half_load,
    "async-vs-sync": async_vs_sync,
    "memory-in-flight": memory_in_flight,
    "quota": quota,
    "batch": batch,
    "growth": growth,
    "records": records,
    "hedging": hedging,
    "scale": scale,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bin/bench", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument(
        "--quick",
        action="store_true",
        help="use shorter rounds: all scenarios in under two minutes",
    )
    parser.add_argument(
        "--peer", choices=["litellm"], help="also measure this peer with the same payloads"
    )
    given = parser.parse_args()
    unknown = [name for name in given.scenarios if name not in SCENARIOS]
    if unknown:
        parser.error(f"unknown scenario {unknown[0]!r}; choose from {', '.join(SCENARIOS)}")
    options = Options(given.quick, given.peer is not None)
    for name in given.scenarios or SCENARIOS:
        with tempfile.TemporaryDirectory(prefix="assay-bench-") as folder:
            SCENARIOS[name](options, Path(folder))


if __name__ == "__main__":
    main()
