"""Workers, the API and Redis are killed in the middle of a batch, and no row is lost or doubled."""

import pytest

from fakes.chaos import Plan, run


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_every_row_has_its_one_result_whatever_dies(tmp_path):
    """2,000 rows; a worker dies every 3 s, the API and Redis twice each."""
    plan = Plan(rows=2_000, give_up_s=200)
    outcome = await run(tmp_path, plan)
    assert outcome.faults(plan) == []
    assert outcome.worker_kills > 2
    assert (outcome.api_kills, outcome.redis_kills) == (2, 2)
