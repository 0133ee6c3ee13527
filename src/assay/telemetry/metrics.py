"""Prometheus metrics of domain events: each metric is declared beside the event that moves it."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, product
from typing import Any, TypeVar, get_args

import prometheus_client as prometheus
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

from assay.domain import events
from assay.domain.batches import ENDED, ROW_STATUSES
from assay.domain.cascade import TIERS_MAX
from assay.domain.errors import SKIP_REASONS, Reason, error_classes
from assay.domain.evaluation import Sign
from assay.domain.faults import FAULT_PLACES
from assay.domain.hedging import SUPERSEDED
from assay.domain.ports import BreakerState
from assay.telemetry.buckets import BODY_BYTES, CRITERION_SECONDS, LAG_SECONDS, ROW_SECONDS, SECONDS
from assay.telemetry.evaluator_metrics import count_evaluators, count_live
from assay.telemetry.labels import (
    OTHER,
    Exemplar,
    Family,
    Labels,
    LabelUniverse,
    Values,
    one_of,
    untraced,
)
from assay.telemetry.scraped_gauges import ScrapedGaugeCollector, ScrapedGauges

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
STATUSES = (200, 400, 401, 413, 422, 429, 499, 500, 503, 504)
"""Statuses exported at 0 from the start; the rarer ones appear when they first happen."""
BREAKER_STATES = get_args(BreakerState)
NO_REASON = "none"

E = TypeVar("E")

# A creation time beside every series would double each scrape, and no query reads it.
prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's own gap


class Metrics:
    """An `EventSink` that counts, on a registry of its own."""

    def __init__(self, known: LabelUniverse, version: str, exemplar: Exemplar = untraced) -> None:
        self._exemplar = exemplar
        self.registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=self.registry)
        build = {"version": version, "python": platform.python_version()}
        prometheus.Info("assay_build", "The running version.", registry=self.registry).info(build)
        self._gauges = ScrapedGaugeCollector()
        self.registry.register(self._gauges)
        self._moves: dict[type, tuple[Callable[[Any], None], ...]] = {}
        models = {model.id: (model.provider, model.id) for model in known.models}
        self._model = Labels(("provider", "model"), models).with_other()
        self._outcome = one_of("outcome", sorted(model_outcomes()))
        self._count_requests()
        self._count_criteria(known.criteria)
        self._count_attempts(known.fallbacks)
        self._count_breakers(models)
        self._count_waits()
        self._count_batches()
        self._count_process()
        count_evaluators(self)
        count_live(self)

    def emit(self, event: events.Event) -> None:
        """Count the event; an event without a metric is ignored."""
        for move in self._moves.get(type(event), ()):
            move(event)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The exposition and its content type, in the format that an Accept header prefers."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def watch(self, read: Callable[[], ScrapedGauges]) -> None:
        """Export what `read` returns at each scrape; `scraped_gauges.GAUGES` lists the names."""
        self._gauges.read = read

    def add_routes(self, routes: Iterable[tuple[str, str]]) -> None:
        """Export the series of routes, given as (method, template); others count as `other`."""
        for method, route in routes:
            self._routes[route] = (route,)
            self._request_seconds(route)
            self._request_body_bytes(route)
            for status in STATUSES:
                self._requests(route, method, status)

    def _count_requests(self) -> None:
        self._routes, exemplar = Labels(("route",), {}), self._exemplar
        method = one_of("method", METHODS)
        status = Labels(("status",), {status: (str(status),) for status in range(100, 600)})
        self._requests = self.counter(
            "assay_requests_total", "HTTP requests answered.", self._routes, method, status
        )
        self._request_seconds = self.histogram(
            "assay_request_seconds", "Time to answer a request.", self._routes
        )
        self._request_body_bytes = self.histogram(
            "assay_request_body_bytes", "Size of request bodies.", self._routes, buckets=BODY_BYTES
        )
        self.add_routes([(OTHER, OTHER)])
        self.on(
            events.RequestFinished,
            lambda event: self._requests(event.route, event.method, event.status).inc(),
            lambda event: self._request_seconds(event.route).observe(event.seconds, exemplar()),
            lambda event: self._request_body_bytes(event.route).observe(event.body_bytes),
        )
        shed = self.counter(
            "assay_shed_total",
            "Requests refused because the process is full or about to exit.",
            one_of("reason", get_args(events.ShedReason)),
        )
        self.on(events.RequestShed, lambda event: shed(event.reason).inc())
        faults = self.counter(
            "assay_keys_file_faults_total",
            "Lines of the keys file that allow nothing, or its absence, each time it is loaded.",
        )
        self.on(events.KeysFileFaulty, lambda event: faults().inc(event.faults))
        keys = self.gauge("assay_api_keys", "API keys that the keys file allows.")
        self.on(events.KeysLoaded, lambda event: keys().set(len(event.keys)))
        actions = self.counter(
            "assay_audited_actions_total",
            "Actions for the audit log.",
            one_of("result", ("done", "refused", "uncertain")),
        )
        self.on(events.ActionTaken, lambda event: actions(event.action.result).inc())

    def _count_criteria(self, types: Iterable[str]) -> None:
        reasons = get_args(Reason)
        pairs = product(("scored", "unscored", "skipped"), (NO_REASON, *reasons))
        usual = [("scored", NO_REASON), *(("skipped", reason) for reason in SKIP_REASONS)]
        usual += [("unscored", reason) for reason in reasons if reason not in SKIP_REASONS]
        finding = Labels(("status", "reason"), {pair: pair for pair in pairs}, usual)
        # An installation uses a few of a hundred types, and each appears when it is first used.
        kind = Labels(("type",), {name: (name,) for name in types}, ()).with_other()
        criteria = self.counter("assay_criteria_total", "Criteria evaluated.", kind, finding)
        seconds = self.histogram(
            "assay_criterion_seconds", "Time for one criterion.", kind, buckets=CRITERION_SECONDS
        )
        self.on(
            events.CriterionFinished,
            lambda event: criteria(event.type, (event.status, event.reason or NO_REASON)).inc(),
            lambda event: seconds(event.type).observe(event.seconds, self._exemplar()),
        )
        reached = {None: ("none",)} | {tier: (str(tier),) for tier in range(TIERS_MAX)}
        cascades = self.counter(
            "assay_cascade_verdicts_total",
            "Criteria judged by a cascade with thresholds.",
            Labels(("tier",), reached),
        )
        self.on(events.CascadeFinished, lambda event: cascades(event.tier).inc())
        compared = one_of("outcome", ("consistent", "flipped", "unscored"))
        comparisons = self.counter(
            "assay_comparisons_total", "Pairs judged in both orders.", self._model, compared
        )
        self.on(
            events.ComparisonFinished, lambda event: comparisons(event.model, event.outcome).inc()
        )
        suspects = self.counter(
            "assay_injection_suspects_total",
            "Cases that show a sign of prompt injection.",
            one_of("sign", get_args(Sign)),
            one_of("policy", ("flag", "quarantine", "verify")),
        )
        self.on(events.InjectionSuspected, lambda event: suspects(event.sign, event.policy).inc())

    def _count_attempts(self, fallbacks: Iterable[tuple[str, str]]) -> None:
        model, outcome = self._model, self._outcome
        attempts = self.counter("assay_provider_attempts_total", "Upstream calls.", model, outcome)
        seconds = self.histogram(
            "assay_provider_attempt_seconds", "Time of an upstream call.", model
        )
        first_byte = self.histogram(
            "assay_provider_first_byte_seconds", "Time to the first byte of a response.", model
        )
        kind = one_of("kind", ("input", "output"))
        tokens = self.counter(
            "assay_tokens_total", "Tokens as providers counted them.", model, kind
        )
        cost = self.counter("assay_cost_usd_total", "Cost of upstream calls in US dollars.", model)

        def finish(event: events.AttemptFinished) -> None:
            attempts(event.model, event.outcome).inc()
            if event.timed:
                seconds(event.model).observe(event.seconds, self._exemplar())
            if event.first_byte_seconds is not None:
                first_byte(event.model).observe(event.first_byte_seconds, self._exemplar())
            tokens(event.model, "input").inc(event.usage.input_tokens)
            tokens(event.model, "output").inc(event.usage.output_tokens)
            cost(event.model).inc(event.cost_usd)

        self.on(events.AttemptFinished, finish)
        pair = Labels(("from_model", "to_model"), {ids: ids for ids in fallbacks}).with_other()
        taken = self.counter(
            "assay_fallbacks_total", "Fallbacks from one model to the next.", pair, outcome
        )
        self.on(
            events.FallbackTaken,
            lambda event: taken((event.from_model, event.to_model), event.outcome).inc(),
        )
        hedges = self.counter(
            "assay_hedges_total",
            "Second calls sent because one to the model was late.",
            model,
            one_of("outcome", get_args(events.HedgeOutcome)),
        )
        self.on(events.HedgeFinished, lambda event: hedges(event.model, event.outcome).inc())
        keys = self.counter(
            "assay_keys_set_aside_total", "Times a provider rejected its API key.", model
        )
        self.on(events.KeyQuarantined, lambda event: keys(event.model).inc())
        refused = self.counter(
            "assay_parameters_refused_total", "Parameters that a model's API refused.", model
        )
        self.on(events.ParameterRefused, lambda event: refused(event.model).inc())

    def _count_breakers(self, models: Mapping[str, Values]) -> None:
        transitions = self.counter(
            "assay_breaker_transitions_total",
            "State changes of circuit breakers.",
            self._model,
            one_of("to_state", BREAKER_STATES),
        )
        states = self.gauge(
            "assay_breaker_state",
            "1 for the current state of a model's circuit breaker, else 0.",
            Labels(("provider", "model"), models),
            one_of("state", BREAKER_STATES),
        )

        def enter(model: str, current: str) -> None:
            for state in BREAKER_STATES if model in models else ():
                states(model, state).set(state == current)

        for model in models:
            enter(model, "closed")
        self.on(
            events.BreakerChanged,
            lambda event: transitions(event.model, event.to_state).inc(),
            lambda event: enter(event.model, event.to_state),
        )

    def _count_waits(self) -> None:
        model, reason = self._model, one_of("reason", ("local_slot", "provider_quota", "breaker"))
        waits = self.histogram(
            "assay_wait_seconds", "Time a call waited for its turn.", model, reason
        )
        reserved = self.counter(
            "assay_quota_reservations_total",
            "Calls that reserved quota, by the bucket they waited for.",
            model,
            one_of("bucket", ("none", "requests", "tokens", "provider")),
        )
        refused = self.counter(
            "assay_queue_refused_total",
            "Calls that a full queue or a deadline kept from waiting.",
            model,
            reason,
            one_of("refusal", ("full_count", "full_bytes", "deadline", "pushed_out")),
        )

        def finish(event: events.WaitFinished) -> None:
            # `QuotaWaited` has the whole wait for quota, sleep included.
            if event.reason != "provider_quota":
                waits(event.model, event.reason).observe(event.seconds)

        self.on(events.WaitFinished, finish)
        self.on(
            events.QuotaWaited,
            lambda event: waits(event.model, "provider_quota").observe(event.seconds),
            lambda event: reserved(event.model, event.bucket or "none").inc(),
        )
        self.on(
            events.QueueRefused,
            lambda event: refused(event.model, event.waiting_for, event.reason).inc(),
        )

    def _count_batches(self) -> None:
        status = one_of("status", ROW_STATUSES)
        rows = self.counter(
            "assay_batch_rows_total", "Rows of batches that this process finished.", status
        )
        seconds = self.histogram(
            "assay_batch_row_seconds", "Time that a worker held a row.", buckets=ROW_SECONDS
        )
        self.on(
            events.BatchRowFinished,
            lambda event: rows(event.status).inc(),
            lambda event: seconds().observe(event.seconds),
        )
        returned = self.counter(
            "assay_batch_rows_returned_total",
            "Rows that went back to the queue, or were taken over from a dead worker.",
            one_of("reason", ("retry", "shutdown", "taken_over")),
        )
        self.on(events.BatchRowReturned, lambda event: returned(event.reason).inc())
        state = one_of("state", events.JOB_STATES)
        jobs = self.counter(
            "assay_provider_jobs_total", "Jobs, by what became of them.", self._model, state
        )
        self.on(events.ProviderJobChanged, lambda event: jobs(event.model, event.state).inc())
        end = one_of("status", sorted(ENDED))
        batches = self.counter("assay_batches_total", "Batches whose end this process saw.", end)
        self.on(events.BatchEnded, lambda event: batches(event.status).inc())
        outcome = one_of("outcome", ("delivered", "failed", "refused"))
        webhooks = self.counter("assay_webhooks_total", "Webhook deliveries attempted.", outcome)
        self.on(events.WebhookAttempted, lambda event: webhooks(event.outcome).inc())

    def _count_process(self) -> None:
        faults = self.counter(
            "assay_internal_faults_total",
            "Unexpected errors inside Assay, by the place that caught them.",
            one_of("where", FAULT_PLACES).with_other(),
        )
        self.on(events.InternalFault, lambda event: faults(event.where).inc())
        lag = self.histogram(
            "assay_event_loop_lag_seconds",
            "How late the event loop resumed a sleeping task.",
            buckets=LAG_SECONDS,
        )
        self.on(events.LoopLagged, lambda event: lag().observe(event.seconds))
        stalls = self.counter(
            "assay_event_loop_stalls_total", "Times that the event loop stood still for seconds."
        )
        self.on(events.LoopStalled, lambda _: stalls().inc())
        lost = self.counter(
            "assay_usage_lost_calls_total", "Judge calls that `GET /v1/usage` does not count."
        )
        self.on(events.UsageLost, lambda event: lost().inc(event.calls))
        store = self.gauge("assay_store_available", "1 while Redis answers, else 0.")
        store().set(1)
        self.on(events.StoreDegraded, lambda event: store().set(event.available))
        records = self.gauge(
            "assay_records_available",
            "1 until the database of records fails, then 0 until it works.",
        )
        records().set(1)
        self.on(events.RecordsDegraded, lambda event: records().set(event.available))

    def on(self, event: type[E], *moves: Callable[[E], None]) -> None:
        """Make these moves at each such event."""
        self._moves[event] = moves

    def counter(self, name: str, text: str, *labels: Labels) -> Family[Counter]:
        """A new counter with these labels."""
        return Family(Counter(name, text, _names(labels), registry=self.registry), labels)

    def gauge(self, name: str, text: str, *labels: Labels) -> Family[Gauge]:
        """A new gauge with these labels."""
        return Family(Gauge(name, text, _names(labels), registry=self.registry), labels)

    def histogram(
        self, name: str, text: str, *labels: Labels, buckets: Sequence[float] = SECONDS
    ) -> Family[Histogram]:
        """A new histogram with these labels."""
        metric = Histogram(name, text, _names(labels), buckets=buckets, registry=self.registry)
        return Family(metric, labels)


def model_outcomes() -> frozenset[str]:
    """Every outcome of an attempt: `ok`, `superseded`, and one for each class of the error tree."""
    return frozenset({"ok", SUPERSEDED, *(cls.outcome for cls in error_classes())})


def _names(labels: Iterable[Labels]) -> Values:
    return tuple(chain.from_iterable(part.names for part in labels))
