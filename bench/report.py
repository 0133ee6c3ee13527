"""Tables to read, and JSON to compare runs."""

from __future__ import annotations

import math
import os
import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from contest import Contender, spread
from processes import BENCH

RESULTS = BENCH / "results"
HEADER = ("", "CPU ms/request", "min–max", "requests/s", "min–max", "p50 ms", "p99 ms")
LOOP_STEPS = 2_000_000


def throughput_table(contenders: Sequence[Contender]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [HEADER]
    for contender in contenders:
        rate, p50, p99, cpu = (
            spread(contender.rounds, key) for key in ("rate", "p50_ms", "p99_ms", "cpu_ms")
        )
        rows.append(
            (
                contender.name,
                f"{cpu['median']:.2f}",
                f"{cpu['min']:.2f}–{cpu['max']:.2f}",
                f"{rate['median']:,.0f}",
                f"{rate['min']:,.0f}–{rate['max']:,.0f}",
                f"{p50['median']:.1f}",
                f"{p99['median']:.1f}",
            )
        )
    return rows


def show(title: str, rows: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> None:
    """Print a table: the first column left-aligned, the others right-aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    print(f"\n{title}")
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join([row[0].ljust(widths[0]), *cells[1:]]))
    for note in notes:
        print(f"  {note}")
    sys.stdout.flush()


def keep(scenario: str, figures: dict[str, Any]) -> Path:
    """Write the figures of a scenario, with the machine and the command that gave them."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{scenario}.json"
    document = {"scenario": scenario, "run": circumstances(), **figures}
    path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    return path


def circumstances() -> dict[str, Any]:
    """When and where the figures were measured; without this they mean nothing."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["bin/bench", *sys.argv[1:]]),
        "machine": f"{os.cpu_count()} cores, {cpu_name()}, {memory_gb():.0f} GB",
        "load_average": os.getloadavg()[0],
        "loop_ms": round(loop_ms(), 1),
        "python": platform.python_version(),
        "kernel": platform.release(),
    }


def loop_ms() -> float:
    """The machine's speed: milliseconds that a fixed loop of pure Python takes, at best of three.

    Figures of two machines are compared by it.
    """
    best_s = math.inf
    for _ in range(3):
        started_s, total = time.perf_counter(), 0
        for step in range(LOOP_STEPS):
            total += step & 7
        best_s = min(best_s, time.perf_counter() - started_s)
    return best_s * 1_000


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def memory_gb() -> float:
    kilobytes = Path("/proc/meminfo").read_text().split()[1]
    return int(kilobytes) / 1_048_576
