"""The metric families: their names, labels, buckets and help texts."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60)
CRITERION_SECONDS = (0.0001, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60)
BODY_BYTES = (1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 19, 1 << 20, 1 << 21, 1 << 22)

MODEL = ("provider", "model")

Child = TypeVar("Child", Counter, Histogram)


class Series(dict[tuple[str, ...], Child], Generic[Child]):
    """The series of one family by label values; each is looked up in the client only once."""

    def __init__(self, family: Child) -> None:
        super().__init__()
        self._family: Counter | Histogram = family

    def __missing__(self, labels: tuple[str, ...]) -> Child:
        child = self[labels] = cast("Child", self._family.labels(*labels))
        return child

    def start(self, series: Iterable[tuple[str, ...]]) -> None:
        """Export these series from now on, at 0."""
        for labels in series:
            _ = self[labels]


class Instruments:
    """All families of the service on one registry."""

    def __init__(self, registry: CollectorRegistry, version: str) -> None:
        def counter(name: str, text: str, *labels: str) -> Series[Counter]:
            return Series(Counter(name, text, labels, registry=registry))

        def histogram(
            name: str, text: str, *labels: str, buckets: Sequence[float]
        ) -> Series[Histogram]:
            return Series(Histogram(name, text, labels, buckets=buckets, registry=registry))

        self.requests = counter(
            "assay_requests_total", "HTTP requests answered.", "route", "method", "status"
        )
        self.request_seconds = histogram(
            "assay_request_seconds", "Time to answer a request.", "route", buckets=SECONDS
        )
        self.request_body_bytes = histogram(
            "assay_request_body_bytes", "Size of request bodies.", "route", buckets=BODY_BYTES
        )
        self.criteria = counter(
            "assay_criteria_total", "Criteria that came to an end.", "type", "status", "reason"
        )
        self.criterion_seconds = histogram(
            "assay_criterion_seconds", "Time for one criterion.", "type", buckets=CRITERION_SECONDS
        )
        self.attempts = counter(
            "assay_provider_attempts_total", "Upstream calls that ended.", *MODEL, "outcome"
        )
        self.attempt_seconds = histogram(
            "assay_provider_attempt_seconds", "Time of an upstream call.", *MODEL, buckets=SECONDS
        )
        self.first_byte_seconds = histogram(
            "assay_provider_first_byte_seconds",
            "Time to the first byte of an upstream answer.",
            *MODEL,
            buckets=SECONDS,
        )
        self.tokens = counter(
            "assay_tokens_total", "Tokens as providers counted them.", *MODEL, "kind"
        )
        self.cost_usd = counter(
            "assay_cost_usd_total", "Price of upstream calls, US dollars.", *MODEL
        )
        self.fallbacks = counter(
            "assay_fallbacks_total",
            "Passes from one candidate model to the next.",
            "from_model",
            "to_model",
            "outcome",
        )
        self.store_available = Gauge(
            "assay_store_available", "1 while Redis answers, else 0.", registry=registry
        )
        Info("assay_build", "What is running.", registry=registry).info(
            {"version": version, "python": platform.python_version()}
        )
