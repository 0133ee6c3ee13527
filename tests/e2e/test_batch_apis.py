"""Batches through the providers' batch APIs: over HTTP, real Redis, and processes that die."""

import pytest

from fakes.chaos import kill
from fakes.job_fleet import job_fleet

ROWS = 12
STEPS = ("upload", "create", "made", "poll", "results", "half")
"""Where a worker is killed: before and after the job is made, before and after its id is known,
and while its results are read."""


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("dialect", "steps"),
    [("openai", STEPS), ("anthropic", ("made", "half")), ("gemini", ("made", "results"))],
)
async def test_a_worker_that_dies_at_any_step_loses_nothing_and_pays_for_nothing_twice(
    tmp_path, dialect, steps
):
    """A worker is killed at each step of a job, and the next one brings the batch to its end."""
    async with job_fleet(tmp_path, dialect) as fleet:
        provider, worker = fleet.provider, await fleet.worker()
        for step in steps:
            provider.hold = step
            path = await fleet.create(ROWS, metadata={"step": step})
            await fleet.held(step)
            await kill(worker)
            fleet.release()
            worker = await fleet.worker()
            batch = await fleet.ended(path)
            assert batch["status"] == "completed", step
            assert batch["counts"]["scored"] == ROWS, step
            assert batch["usage"]["output_tokens"] == 30 * ROWS, step
            assert [result["item_index"] for result in await fleet.results(path)] == [*range(ROWS)]
        assert len(provider.paid) == ROWS * len(steps)
        assert set(provider.paid.values()) == {1}
        assert not provider.direct


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_worker_that_dies_before_the_job_is_noted_loses_nothing(tmp_path):
    """Rows are parked and the worker is killed before it has sent their calls."""
    async with job_fleet(tmp_path) as fleet:
        fleet.provider.hold = "upload"  # so that rows wait for as long as it takes to see them
        lost = await fleet.worker()
        path = await fleet.create(200)
        await fleet.until(path, lambda batch: batch["counts"]["waiting"] > 0)
        await kill(lost)
        fleet.release()
        await fleet.worker()
        batch = await fleet.ended(path)
        assert batch["counts"]["scored"] == 200
        assert batch["counts"]["waiting"] == 0
        assert len(fleet.provider.paid) == 200
        assert set(fleet.provider.paid.values()) == {1}
        assert not fleet.provider.direct
