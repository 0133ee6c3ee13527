"""Kills workers while batches go through the providers' batch APIs, which misbehave meanwhile.

    python bench/chaos_batch_api.py --rounds 20
    python bench/chaos_batch_api.py --rounds 100 --rows 500 --seed 7

Each round is a batch of its own: a worker is killed with SIGKILL at a random step of its job, and
the job has a random fault. Prints how many rows were lost and how many calls were paid for twice,
and exits with status 1 if there are any. What a job did not answer is asked directly; such a call
that is in flight when its worker dies is made again, as in every batch. These are printed apart,
and count as double beyond the rows that one worker holds.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

from fakes.chaos import kill  # noqa: E402  # the path is set above
from fakes.job_fleet import job_fleet  # noqa: E402
from fakes.providers.jobs import FAULTS  # noqa: E402

DIALECTS = ("openai", "anthropic", "gemini")
WORKER_ROWS = 16
STEPS = ("upload", "create", "made", "poll", "results", "half", "")
NOT_ANSWERED = ("refused", "failed", "vanished", "malformed", "expired", "errored")
"""Faults after which calls are made directly: a job that was taken did not answer them."""


async def one_round(fleet, rng, rows, number):
    """Lost rows, doubled and repeated calls of a batch whose worker dies at a random moment."""
    provider, step, fault = fleet.provider, rng.choice(STEPS), rng.choice(FAULTS)
    provider.paid.clear()
    provider.direct.clear()
    provider.hold, provider.fault, provider.polls = step, fault, rng.randrange(3)
    path = await fleet.create(rows, metadata={"round": str(number)})
    waiting = asyncio.create_task(provider.held.wait())
    await asyncio.wait({waiting}, timeout=rng.uniform(0.0, 8.0))
    waiting.cancel()
    place = rng.randrange(len(fleet.workers))
    await kill(fleet.workers[place])
    fleet.release()
    fleet.workers[place] = await fleet.worker()
    batch = await fleet.ended(path, give_up_s=180)
    results = await fleet.results(path)
    scored = {result["item_id"] for result in results if result["status"] == "completed"}
    lost = rows - len(scored) + (batch["counts"]["scored"] != rows)
    double = len(results) - len({result["item_id"] for result in results})
    double += sum(times - 1 for times in provider.paid.values())
    repeated = sum(times - 1 for times in provider.direct.values())
    double += max(0, repeated - WORKER_ROWS)
    if fault not in NOT_ANSWERED:
        double += provider.direct.total()
    return f"killed at {step or 'no step'}, job {fault}", lost, double, repeated


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--rows", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--dialect", choices=DIALECTS, default="openai")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    rng, lost, double, repeated = random.Random(options.seed), 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        async with job_fleet(Path(folder), options.dialect) as fleet:
            fleet.workers = [await fleet.worker() for _ in range(options.workers)]
            for number in range(options.rounds):
                what, *more = await one_round(fleet, rng, options.rows, number)
                more_lost, more_double, more_repeated = more
                lost, double = lost + more_lost, double + more_double
                repeated += more_repeated
                if options.verbose or more_lost or more_double:
                    print(f"round {number}: {what}: lost {more_lost}, double {more_double}")
    print(f"{options.dialect}, {options.rounds} rounds of {options.rows} rows: "
          f"lost {lost}, double {double}; "
          f"{repeated} direct calls in flight at a kill were repeated")  # fmt: skip
    return 1 if lost or double else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
