"""Workers, the API and Redis are killed in the middle of a batch, and no row is lost or doubled."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fakes.chaos import Plan, run
from fakes.postgres_process import PostgresProcess, postgres_programs


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_every_row_has_its_one_result_whatever_dies(tmp_path):
    """2,000 rows; a worker dies every 3 s, the API and Redis twice each."""
    plan = Plan(rows=2_000, give_up_s=200)
    outcome = await run(tmp_path, plan)
    assert outcome.faults(plan) == []
    assert outcome.worker_kills > 2
    assert (outcome.api_kills, outcome.redis_kills) == (2, 2)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_every_row_of_a_dataset_has_its_one_result_whatever_dies(tmp_path):
    """1,500 items in PostgreSQL, which dies as well; what was copied is read without Redis."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("there is no PostgreSQL here")
    plan = Plan(
        rows=1_500,
        over_dataset=True,
        latency_s=0.4,
        kill_worker_every_s=9.0,  # a worker with records takes longer to start
        kill_api_at_s=(3.0,),
        kill_redis_at_s=(6.0,),
        kill_postgres_at_s=(1.0, 11.0),
        give_up_s=200,
    )
    with TemporaryDirectory(prefix="assay-postgres-") as folder:
        postgres = PostgresProcess(Path(folder), programs)
        try:
            outcome = await run(tmp_path, plan, postgres=postgres)
        finally:
            postgres.stop()
    assert outcome.faults(plan) == []
    assert (outcome.api_kills, outcome.redis_kills, outcome.postgres_kills) == (1, 1, 2)
