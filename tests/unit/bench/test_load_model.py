"""The load model behind docs/scale.md, and the simulation of callers that wait for one quota."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from load_model import (
    DAY_S,
    Capacities,
    Load,
    UnitCosts,
    needs,
    request_cpu_ms,
    size_and_judgements,
    walls,
)
from quota_retries import Simulation

COSTS = UnitCosts(**dict.fromkeys((field.name for field in fields(UnitCosts)), 0.0))
LOAD = Load(requests_per_s=100, request_mb=0.5, judgements=2, rows_per_s=10, pods=4)


def test_cpu_grows_with_requests_size_and_judgements():
    """A request costs once, and each judgement costs again, both with the size of the case."""
    costs = replace(
        COSTS, request_cpu_ms=1, request_cpu_ms_per_mb=2, judgement_cpu_ms=3,
        judgement_cpu_ms_per_mb=4, row_cpu_ms=5, pod_cpu_cores=0.01,
    )  # fmt: skip
    assert request_cpu_ms(costs, 0.5, 2) == 2 + 2 * 5
    rows_cores = 10 * (5 + 3 + 4 * 0.002) / 1_000
    assert needs(costs, LOAD).cpu_cores == pytest.approx(100 * 12 / 1_000 + rows_cores + 0.04)


def test_the_four_costs_are_found_again_in_four_measurements():
    """Two sizes and two numbers of judgements are enough to tell what takes the time."""
    costs = replace(
        COSTS, request_cpu_ms=1, request_cpu_ms_per_mb=2, judgement_cpu_ms=3,
        judgement_cpu_ms_per_mb=4,
    )  # fmt: skip
    seen = {(mb, count): request_cpu_ms(costs, mb, count) for mb in (0.1, 1.0) for count in (1, 3)}
    assert size_and_judgements(seen) == pytest.approx((1, 2, 3, 4))


def test_redis_serves_judgements_rows_and_pods():
    """210 judgements and 10 rows a second, and four pods: 210 × 100 + 10 × 200 + 4 × 1,000 µs."""
    costs = replace(
        COSTS, redis_judgement_us=100, redis_row_us=200, redis_pod_us_per_s=1_000,
        redis_waiting_row_memory_bytes=1_700, redis_result_memory_bytes=500,
        postgres_row_bytes=1_000,
    )  # fmt: skip
    need = needs(costs, replace(LOAD, rows_waiting=1_000, results_kept_s=DAY_S))
    assert need.redis_cpu_share == pytest.approx(0.027)
    assert need.redis_memory_bytes == pytest.approx(1_000 * 1_700 + 10 * DAY_S * 500)
    assert need.postgres_bytes_per_day == 10 * DAY_S * 1_000
    assert need.network_bytes_per_s == pytest.approx((100 * 0.5 * 3 + 10 * 0.002) * 2**20)


@pytest.mark.parametrize(
    ("pods", "first"),
    [(5, "CPU of the pods"), (10, "PostgreSQL connections"), (1_000, "PostgreSQL connections")],
)
def test_the_first_wall_is_what_is_used_most(pods, first):
    """Pools of ten connections fill a PostgreSQL of a hundred before anything else is full."""
    costs = replace(COSTS, request_cpu_ms=7, redis_judgement_us=100)
    used = walls(needs(costs, Load(60 * pods, 0, 1, 0, pods)), pods, Capacities())
    assert used[0][0] == first
    assert [share for _, share in used] == sorted((share for _, share in used), reverse=True)


def test_processes_that_wait_use_the_whole_of_a_small_quota():
    """As `bench/quota.py` measures with 8 processes: all of the rate, at some six calls."""
    out = Simulation(pods=8, callers=12, per_minute=3_000, service_s=0.05).run(30)
    assert out.sent / out.seconds == pytest.approx(47.5, rel=0.01)
    assert out.calls_per_answer == pytest.approx(5.1, abs=0.2)


def test_full_queues_of_100_pods_ask_six_times_for_an_answer_of_a_small_quota():
    """Only the first caller of a process asks again, so a hundred full queues ask little more."""
    out = Simulation(pods=100, callers=100, per_minute=6_000, service_s=0.05).run(20)
    assert out.sent / out.seconds == pytest.approx(95, rel=0.05)
    assert out.calls_per_answer == pytest.approx(6, abs=0.5)


def test_full_queues_of_100_pods_use_the_whole_of_a_large_quota():
    """The bucket is not shared out at the pace at which processes take turns, some 300 a second."""
    out = Simulation(pods=100, callers=100, per_minute=30_000, service_s=0.05).run(5)
    assert out.sent / out.seconds == pytest.approx(475, rel=0.03)
    assert out.calls_per_answer == pytest.approx(10, abs=2)
