"""The metric families: their names, labels, buckets and help texts."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60)
CRITERION_SECONDS = (0.0001, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60)
LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
BODY_BYTES = (1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 19, 1 << 20, 1 << 21, 1 << 22)

MODEL = ("provider", "model")
WAIT = (*MODEL, "reason")
FALLBACK = ("from_model", "to_model", "outcome")

Child = TypeVar("Child", Counter, Gauge, Histogram)


class Series(dict[tuple[str, ...], Child], Generic[Child]):
    """The series of one family by label values; each is looked up in the client only once."""

    def __init__(self, family: Child) -> None:
        super().__init__()
        self._family: Counter | Gauge | Histogram = family

    def __missing__(self, labels: tuple[str, ...]) -> Child:
        child = self[labels] = cast("Child", self._family.labels(*labels))
        return child

    def start(self, series: Iterable[tuple[str, ...]]) -> None:
        """Export these series from now on, at 0."""
        for labels in series:
            _ = self[labels]


class Instruments:
    """All families of the service on one registry, by what they tell about."""

    def __init__(self, registry: CollectorRegistry, version: str) -> None:
        self._registry = registry
        self._of_callers()
        self._of_judges()
        self._of_resilience()
        self.store_available = Gauge(
            "assay_store_available", "1 while Redis answers, else 0.", registry=registry
        )
        Info("assay_build", "What is running.", registry=registry).info(
            {"version": version, "python": platform.python_version()}
        )

    def _of_callers(self) -> None:
        self.requests = self._counter(
            "assay_requests_total", "HTTP requests answered.", "route", "method", "status"
        )
        self.request_seconds = self._histogram(
            "assay_request_seconds", "Time to answer a request.", "route"
        )
        self.request_body_bytes = self._histogram(
            "assay_request_body_bytes", "Size of request bodies.", "route", buckets=BODY_BYTES
        )
        self.shed = self._counter("assay_shed_total", "Requests turned away at the door.", "reason")
        self.loop_lag_seconds = Histogram(
            "assay_event_loop_lag_seconds",
            "How late the event loop woke a sleeper.",
            buckets=LAG_SECONDS,
            registry=self._registry,
        )
        self.criteria = self._counter(
            "assay_criteria_total", "Criteria that came to an end.", "type", "status", "reason"
        )
        self.criterion_seconds = self._histogram(
            "assay_criterion_seconds", "Time for one criterion.", "type", buckets=CRITERION_SECONDS
        )

    def _of_judges(self) -> None:
        self.injection_suspects = self._counter(
            "assay_injection_suspects_total", "Cases that showed a sign.", "sign", "policy"
        )
        self.attempts = self._counter(
            "assay_provider_attempts_total", "Upstream calls that ended.", *MODEL, "outcome"
        )
        self.attempt_seconds = self._histogram(
            "assay_provider_attempt_seconds", "Time of an upstream call.", *MODEL
        )
        self.first_byte_seconds = self._histogram(
            "assay_provider_first_byte_seconds", "Time until an upstream answer began.", *MODEL
        )
        self.tokens = self._counter(
            "assay_tokens_total", "Tokens as providers counted them.", *MODEL, "kind"
        )
        self.cost_usd = self._counter(
            "assay_cost_usd_total", "Price of upstream calls, US dollars.", *MODEL
        )
        self.comparisons = self._counter(
            "assay_comparisons_total", "Pairs of outputs judged in both orders.", *MODEL, "outcome"
        )
        self.keys_set_aside = self._counter(
            "assay_keys_set_aside_total", "Keys that a provider rejected.", *MODEL
        )

    def _of_resilience(self) -> None:
        self.fallbacks = self._counter(
            "assay_fallbacks_total", "Passes from one candidate to the next.", *FALLBACK
        )
        self.breaker_state = self._gauge(
            "assay_breaker_state", "1 for the state that a model's breaker is in.", *MODEL, "state"
        )
        self.breaker_transitions = self._counter(
            "assay_breaker_transitions_total", "Changes of a breaker's state.", *MODEL, "to_state"
        )
        self.wait_seconds = self._histogram(
            "assay_wait_seconds", "Time a call waited for its turn.", *WAIT
        )
        self.quota_reservations = self._counter(
            "assay_quota_reservations_total",
            "Calls that were given their sending time.",
            *MODEL,
            "bucket",
        )
        self.queue_refused = self._counter(
            "assay_queue_refused_total", "Calls that found no place to wait.", *WAIT, "refusal"
        )

    def _counter(self, name: str, text: str, *labels: str) -> Series[Counter]:
        return Series(Counter(name, text, labels, registry=self._registry))

    def _gauge(self, name: str, text: str, *labels: str) -> Series[Gauge]:
        return Series(Gauge(name, text, labels, registry=self._registry))

    def _histogram(
        self, name: str, text: str, *labels: str, buckets: Sequence[float] = SECONDS
    ) -> Series[Histogram]:
        return Series(Histogram(name, text, labels, buckets=buckets, registry=self._registry))
