"""Connects the gauges that are read at each scrape to the parts that have their values."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, time

from assay.bootstrap.judging import Judging
from assay.domain.supervision import Supervisor
from assay.http.lifecycle import Load
from assay.http.limits import Limits
from assay.redis.client import Client
from assay.store.batches.queue import RedisJobQueue
from assay.telemetry.scraped_gauges import Polled, ScrapedGauges, poll


async def gauge_reader(
    judging: Judging, redis: Client, load: Load, limits: Limits, supervisor: Supervisor
) -> Callable[[], ScrapedGauges]:
    """A function that reads all gauges; those that Redis has are polled in the background."""
    models, shared = judging.layers, judging.shared
    quotas = {layers.model.id: Polled(layers.limited.status) for layers in models}
    backlog = Polled(RedisJobQueue(redis, "").backlog)
    refreshes = [backlog.refresh, *(quota.refresh for quota in quotas.values())]
    # The first scrape must find the backlog: autoscalers follow it.
    await backlog.refresh()
    supervisor.start("scraped_gauges", lambda task: poll(refreshes, task))
    queues = {(layers.model.id, "local_slot"): layers.slotted.queue for layers in models}
    queues |= {(layers.model.id, "provider_quota"): layers.limited.queue for layers in models}
    ends: dict[tuple[str, ...], float] = {
        (layers.model.id,): datetime.combine(layers.model.end_of_life, time(), UTC).timestamp()
        for layers in models
        if layers.model.end_of_life is not None
    }

    def read() -> ScrapedGauges:
        known = {model: quota.value for model, quota in quotas.items()}
        limited = {model: status for model, status in known.items() if status and status.left}
        return {
            "assay_slot_utilization_ratio": {
                (): max((layers.slotted.utilization for layers in models), default=0.0)
            },
            "assay_inflight_bytes_ratio": {(): load.body_bytes / limits.inflight_bytes_max},
            "assay_requests_in_flight": {(): float(load.requests)},
            "assay_queue_depth": {labels: float(queue.depth) for labels, queue in queues.items()},
            "assay_queue_bytes": {labels: float(queue.bytes) for labels, queue in queues.items()},
            "assay_quota_balance": {
                (model, bucket): left
                for model, status in limited.items()
                for bucket, left in status.left.items()
            },
            "assay_quota_rate_ratio": {
                (model,): status.rate_share for model, status in limited.items()
            },
            "assay_quota_degraded": {(): float(shared.quotas.degraded)},
            "assay_model_end_of_life_timestamp_seconds": ends,
            "assay_retry_budget_ratio": {(): shared.budget.left_share},
            "assay_batch_backlog_rows": {
                (): math.nan if backlog.value is None else float(backlog.value.rows)
            },
            "assay_batch_parked_rows": {
                (): math.nan if backlog.value is None else float(backlog.value.parked)
            },
        }

    return read
