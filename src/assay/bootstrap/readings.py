"""What the live gauges show: read from the parts at each scrape, and from Redis now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from assay.bootstrap.judging import Judging, Nest
from assay.domain.errors import StoreUnavailable
from assay.http.lifecycle import Load
from assay.http.limits import Limits
from assay.resilience.queue.fair_queue import FairQueue
from assay.resilience.quota.reservations import QuotaStatus
from assay.telemetry.live import ScrapedGauges

QUOTA_EVERY_S = 5.0
"""How often the balances are fetched: a scrape must not wait for Redis."""


class GaugeReader:
    """Reads the state of one process; `poll` keeps the balances of the quotas fresh."""

    def __init__(self, judging: Judging, load: Load, limits: Limits) -> None:
        self._judging = judging
        self._load = load
        self._limits = limits
        self._quotas: dict[str, QuotaStatus] = {}

    async def poll(self) -> None:
        """Fetch the balances for as long as the task lives."""
        while True:
            for nest in self._judging.nests:
                await self._fetch(nest)
            await asyncio.sleep(QUOTA_EVERY_S)

    def read(self) -> ScrapedGauges:
        """The values of all live gauges."""
        nests = self._judging.nests
        shared = self._judging.shared
        utilization = max((nest.slotted.utilization for nest in nests), default=0.0)
        queues = _queues(nests)
        balances: dict[tuple[str, ...], float] = {
            (model, bucket): left
            for model, status in self._quotas.items()
            for bucket, left in status.left.items()
        }
        return {
            "assay_slot_utilization_ratio": {(): utilization},
            "assay_inflight_bytes_ratio": {
                (): self._load.body_bytes / self._limits.inflight_bytes_max
            },
            "assay_requests_in_flight": {(): float(self._load.requests)},
            "assay_queue_depth": {labels: float(queue.depth) for labels, queue in queues.items()},
            "assay_queue_bytes": {labels: float(queue.bytes) for labels, queue in queues.items()},
            "assay_quota_balance": balances,
            "assay_quota_rate_ratio": {
                (model,): status.rate_share for model, status in self._quotas.items()
            },
            "assay_quota_degraded": {(): float(shared.quotas.degraded)},
            "assay_retry_budget_ratio": {(): shared.budget.left_share},
        }

    async def _fetch(self, nest: Nest) -> None:
        try:
            status = await nest.limited.status()
        except StoreUnavailable:
            self._quotas.pop(nest.model.id, None)
            return
        if status.left:
            self._quotas[nest.model.id] = status


def _queues(nests: Sequence[Nest]) -> dict[tuple[str, ...], FairQueue]:
    queues: dict[tuple[str, ...], FairQueue] = {}
    for nest in nests:
        queues[nest.model.id, "local_slot"] = nest.slotted.queue
        queues[nest.model.id, "provider_quota"] = nest.quota_queue
    return queues
