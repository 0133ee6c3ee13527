"""Counts what becomes of batches, their rows and their webhooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from assay.domain.batches import ENDED, ROW_STATUSES
from assay.domain.events import BatchEnded, BatchRowFinished, BatchRowReturned, WebhookAttempted

RETURNS = ("retry", "shutdown", "taken_over")
TELLINGS = ("delivered", "failed", "refused")
ROW_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120)


class BatchMetrics:
    """The families of batches on one registry, each series at 0 from the start."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, label: str) -> Counter:
            return Counter(name, text, (label,), registry=registry)

        self._rows = counter(
            "assay_batch_rows_total", "Rows of batches that got their result here.", "status"
        )
        self._row_seconds = Histogram(
            "assay_batch_row_seconds",
            "Time that a worker had a row in hand.",
            buckets=ROW_SECONDS,
            registry=registry,
        )
        self._returned = counter(
            "assay_batch_rows_returned_total",
            "Rows that went back to the queue, or were taken over from a dead worker.",
            "reason",
        )
        self._batches = counter("assay_batches_total", "Batches whose end was seen here.", "status")
        self._webhooks = counter("assay_webhooks_total", "Calls of webhooks.", "outcome")
        for family, values in (
            (self._rows, ROW_STATUSES),
            (self._returned, RETURNS),
            (self._batches, sorted(ENDED)),
            (self._webhooks, TELLINGS),
        ):
            for value in values:
                family.labels(value)

    @property
    def handlers(self) -> Mapping[type, Callable[[Any], None]]:
        """What to do with each event of batches."""
        return {
            BatchRowFinished: self._row_finished,
            BatchRowReturned: lambda event: self._returned.labels(event.reason).inc(),
            BatchEnded: lambda event: self._batches.labels(event.status).inc(),
            WebhookAttempted: lambda event: self._webhooks.labels(event.outcome).inc(),
        }

    def _row_finished(self, event: BatchRowFinished) -> None:
        self._rows.labels(event.status).inc()
        self._row_seconds.observe(event.seconds)
