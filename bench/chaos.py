"""Kills workers, the API and Redis during a batch, and counts the results.

    python bench/chaos.py --rows 20000 --fsync everysec
    python bench/chaos.py --rows 20000 --fsync always

Exits with status 1 if a row was lost, scored twice, or sent to the provider too often.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

from fakes.chaos import Plan, run  # noqa: E402  # the path is set above


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--fsync", choices=("everysec", "always"), default="everysec")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kill-worker-every-s", type=float, default=5.0)
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    plan = Plan(
        rows=options.rows,
        workers=options.workers,
        fsync=options.fsync,
        kill_worker_every_s=options.kill_worker_every_s,
        kill_api_at_s=tuple(range(7, 1_800, 23)),
        kill_redis_at_s=tuple(range(12, 1_800, 17)),
        give_up_s=1_800.0,
    )
    with tempfile.TemporaryDirectory() as folder:
        outcome = await run(Path(folder), plan, print if options.verbose else lambda _: None)
    faults = outcome.faults(plan)
    print(
        f"{plan.rows} rows, appendfsync {plan.fsync}: {len(outcome.results)} results, "
        f"{outcome.calls} provider calls ({outcome.calls / plan.rows:.4f} a row), "
        f"{outcome.seconds:.0f} s; killed: {outcome.worker_kills} workers, "
        f"{outcome.api_kills} APIs, {outcome.redis_kills} Redis"
    )
    for fault in faults:
        print(f"BROKEN: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
