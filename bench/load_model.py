"""What a deployment needs of pods, Redis, the network and PostgreSQL, computed from unit costs.

`bench/scale.py` measures the unit costs and checks the model against four processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DAY_S = 86_400.0
POSTGRES_CONNECTIONS_PER_POD = 10
"""The most that a process opens, `CONNECTIONS_MAX` of `assay.records.database`."""
BUSY_SHARE_MAX = 0.7
"""A server that is busy for a larger share of the time answers late."""


@dataclass(frozen=True, slots=True)
class UnitCosts:
    """What one request, one judgement (a judged criterion), one batch row and one pod take.

    What a row's judgements take is not in the costs of the row.
    """

    request_cpu_ms: float
    request_cpu_ms_per_mb: float
    judgement_cpu_ms: float
    judgement_cpu_ms_per_mb: float
    row_cpu_ms: float
    pod_cpu_cores: float
    redis_judgement_us: float
    redis_row_us: float
    redis_pod_us_per_s: float
    redis_judgement_commands: float
    redis_row_commands: float
    redis_pod_commands_per_s: float
    redis_judgement_bytes: float
    redis_row_bytes: float
    redis_pod_bytes_per_s: float
    redis_pod_connections: float
    redis_waiting_row_memory_bytes: float
    redis_result_memory_bytes: float
    postgres_row_us: float
    postgres_row_bytes: float


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of a deployment; `judgements` are those of a request, in criteria."""

    requests_per_s: float
    request_mb: float
    judgements: float
    rows_per_s: float
    pods: int
    row_mb: float = 0.002
    row_judgements: float = 1.0
    rows_waiting: float = 0.0
    results_kept_s: float = 30 * DAY_S
    """How long results stay in Redis: `batches.retention_h`."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What the load takes; `network` is that of the pods, with callers, judges and Redis."""

    cpu_cores: float
    redis_cpu_share: float
    redis_commands_per_s: float
    redis_bytes_per_s: float
    redis_memory_bytes: float
    redis_connections: float
    network_bytes_per_s: float
    postgres_cpu_share: float
    postgres_rows_per_day: float
    postgres_bytes_per_day: float
    postgres_connections: float


def needs(costs: UnitCosts, load: Load) -> Needs:
    """What `load` takes; a CPU share is of one core."""
    rows, pods = load.rows_per_s, load.pods
    judgements = load.requests_per_s * load.judgements + rows * load.row_judgements

    def redis(judgement: float, row: float, pod: float) -> float:
        return judgements * judgement + rows * row + pods * pod

    redis_bytes = redis(
        costs.redis_judgement_bytes, costs.redis_row_bytes, costs.redis_pod_bytes_per_s
    )
    redis_us = redis(costs.redis_judgement_us, costs.redis_row_us, costs.redis_pod_us_per_s)
    cases_mb = load.requests_per_s * load.request_mb * (1 + load.judgements)
    cases_mb += rows * load.row_mb * load.row_judgements
    cpu_ms = load.requests_per_s * request_cpu_ms(costs, load.request_mb, load.judgements)
    cpu_ms += rows * row_cpu_ms(costs, load.row_mb, load.row_judgements)
    return Needs(
        cpu_cores=cpu_ms / 1e3 + pods * costs.pod_cpu_cores,
        redis_cpu_share=redis_us / 1e6,
        redis_commands_per_s=redis(
            costs.redis_judgement_commands, costs.redis_row_commands, costs.redis_pod_commands_per_s
        ),
        redis_bytes_per_s=redis_bytes,
        redis_memory_bytes=load.rows_waiting * costs.redis_waiting_row_memory_bytes
        + rows * load.results_kept_s * costs.redis_result_memory_bytes,
        redis_connections=pods * costs.redis_pod_connections,
        network_bytes_per_s=cases_mb * 2**20 + redis_bytes,
        postgres_cpu_share=rows * costs.postgres_row_us / 1e6,
        postgres_rows_per_day=rows * DAY_S,
        postgres_bytes_per_day=rows * DAY_S * costs.postgres_row_bytes,
        postgres_connections=pods * POSTGRES_CONNECTIONS_PER_POD,
    )


def request_cpu_ms(costs: UnitCosts, size_mb: float, judgements: float) -> float:
    """CPU of the service for one request; each judgement sends the case once."""
    once = costs.request_cpu_ms + costs.request_cpu_ms_per_mb * size_mb
    return once + judgements * judgement_cpu_ms(costs, size_mb)


def row_cpu_ms(costs: UnitCosts, size_mb: float, judgements: float) -> float:
    """CPU of a worker for one batch row."""
    return costs.row_cpu_ms + judgements * judgement_cpu_ms(costs, size_mb)


def judgement_cpu_ms(costs: UnitCosts, size_mb: float) -> float:
    return costs.judgement_cpu_ms + costs.judgement_cpu_ms_per_mb * size_mb


def size_and_judgements(
    cpu_ms: Mapping[tuple[float, int], float],
) -> tuple[float, float, float, float]:
    """The first four unit costs, from the CPU of a request at two sizes and two numbers.

    The keys are (MB, judgements): each of two sizes with each of two numbers.
    """
    (small, large), (few, many) = (sorted({key[place] for key in cpu_ms}) for place in (0, 1))
    each = {
        size: (cpu_ms[size, many] - cpu_ms[size, few]) / (many - few) for size in (small, large)
    }
    once = {size: cpu_ms[size, few] - few * each[size] for size in (small, large)}
    lines = []
    for values in (once, each):
        per_mb = (values[large] - values[small]) / (large - small)
        lines += [values[small] - per_mb * small, per_mb]
    return lines[0], lines[1], lines[2], lines[3]


@dataclass(frozen=True, slots=True)
class Capacities:
    """What one Redis, one PostgreSQL and a pod have; connections as these are shipped."""

    pod_cores: float = 1.0
    redis_memory_bytes: float = 16 * 2**30
    redis_connections: float = 10_000
    postgres_cores: float = 4.0
    postgres_connections: float = 97


def walls(need: Needs, pods: int, has: Capacities) -> list[tuple[str, float]]:
    """Each resource with the part of it that is used, the first wall first; above 1 it is over."""
    used = {
        "CPU of the pods": need.cpu_cores / (pods * has.pod_cores * BUSY_SHARE_MAX),
        "Redis CPU": need.redis_cpu_share / BUSY_SHARE_MAX,
        "Redis memory": need.redis_memory_bytes / has.redis_memory_bytes,
        "Redis connections": need.redis_connections / has.redis_connections,
        "PostgreSQL CPU": need.postgres_cpu_share / (has.postgres_cores * BUSY_SHARE_MAX),
        "PostgreSQL connections": need.postgres_connections / has.postgres_connections,
    }
    return sorted(used.items(), key=lambda wall: -wall[1])
