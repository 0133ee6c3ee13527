"""Queues with room, and models behind them, where a test is about something else."""

from __future__ import annotations

from dataclasses import replace

from assay.domain.models import Model
from assay.domain.policy import Quota
from assay.domain.ports import ChatModel, EventSink
from assay.resilience.limited import Limited
from assay.resilience.queue.fair_order import QueueLimits
from assay.resilience.queue.fair_queue import FairQueue
from assay.resilience.quota.quotas import Quotas
from assay.resilience.token_estimates import TokenEstimates

ROOMY = QueueLimits(calls_max=1_000, bytes_max=64 * 2**20)


def limits(**fields: int) -> QueueLimits:
    """Room for everything but what is said."""
    return replace(ROOMY, **fields)


def limited_model(
    inner: ChatModel, model: Model, quota: Quota, quotas: Quotas, events: EventSink
) -> Limited:
    """A model within its quota, with a queue and estimates of its own."""
    queue = FairQueue(model.id, "provider_quota", 1, events, ROOMY)
    return Limited(inner, model, quota, quotas, events, estimates=TokenEstimates(), queue=queue)
