"""Prometheus metrics, fed by domain events."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import choose_encoder

from assay.domain.completion import Model
from assay.domain.errors import Reason, error_classes
from assay.domain.evaluation import Sign
from assay.domain.events import (
    AttemptFinished,
    BreakerChanged,
    ComparisonFinished,
    CriterionFinished,
    Event,
    FallbackTaken,
    InjectionSuspected,
    KeyQuarantined,
    LoopLagged,
    QueueRefused,
    QuotaWaited,
    RequestFinished,
    RequestShed,
    ShedReason,
    StoreDegraded,
    WaitFinished,
)
from assay.domain.ports import BreakerState
from assay.telemetry.batch_metrics import BatchMetrics
from assay.telemetry.instruments import Instruments
from assay.telemetry.live import ScrapedGaugeCollector, ScrapedGauges

OTHER = "other"
"""The label for whatever is not known at start-up: a caller's text never makes a series."""

NO_REASON = "none"
METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
STATUSES = ("200", "400", "401", "413", "422", "429", "499", "500", "503", "504")
"""Answers whose absence a rate must read as 0; the rarer ones appear when they first happen."""

BREAKER_STATES = get_args(BreakerState)
WAIT_REASONS = ("local_slot", "provider_quota", "breaker")
REFUSALS = ("full_count", "full_bytes", "deadline", "pushed_out")
BUCKETS = ("none", "requests", "tokens", "provider")
"""The bucket that a call waited for; `none` where it could be sent at once."""
SIGNS = get_args(Sign)
POLICIES = ("flag", "quarantine")
COMPARED = ("consistent", "flipped", "unscored")
SKIP_REASON = "required_check_failed"

# A creation time beside every series would double the answer to each scrape, and nobody asks.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left it untyped


@dataclass(frozen=True, slots=True)
class LabelUniverse:
    """What can become a label: routes as (method, template), criterion types, models, fallbacks.

    `fallbacks` are the pairs (from model id, to model id) that the configured judges can take.
    """

    routes: Sequence[tuple[str, str]] = ()
    criteria: Sequence[str] = ()
    models: Sequence[Model] = ()
    fallbacks: Sequence[tuple[str, str]] = ()


class Metrics:
    """An `EventSink` that counts, on a registry of its own.

    To count a new event, write one method and name it in `_handlers`.
    """

    def __init__(self, known: LabelUniverse, version: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._known = known
        self._routes = frozenset(route for _, route in known.routes)
        self._criteria = frozenset(known.criteria)
        self._models = {model.id: (model.provider, model.id) for model in known.models}
        self._outcomes = model_outcomes()
        self._instruments = Instruments(self.registry, version)
        self._live = ScrapedGaugeCollector()
        self.registry.register(self._live)
        self._handlers: Mapping[type, Callable[[Any], None]] = {
            RequestFinished: self._request_finished,
            CriterionFinished: self._criterion_finished,
            ComparisonFinished: self._comparison_finished,
            AttemptFinished: self._attempt_finished,
            FallbackTaken: self._fallback_taken,
            InjectionSuspected: self._injection_suspected,
            BreakerChanged: self._breaker_changed,
            KeyQuarantined: self._key_set_aside,
            WaitFinished: self._wait_finished,
            QueueRefused: self._queue_refused,
            StoreDegraded: self._store_degraded,
            QuotaWaited: self._quota_waited,
            RequestShed: self._request_shed,
            LoopLagged: self._loop_lagged,
            **BatchMetrics(self.registry).handlers,
        }
        self._start_at_zero()

    def emit(self, event: Event) -> None:
        """Count the event; one that nobody counts is passed over."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The exposition and its content type, in the format that an Accept header prefers."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def watch(self, read: Callable[[], ScrapedGauges]) -> None:
        """Export what `read` gives at every scrape, as `live.GAUGES` lists it."""
        self._live.read = read

    def _request_finished(self, event: RequestFinished) -> None:
        route = _one_of(self._routes, event.route)
        method = _one_of(METHODS, event.method)
        self._instruments.requests[route, method, str(event.status)].inc()
        self._instruments.request_seconds[(route,)].observe(event.seconds)
        self._instruments.request_body_bytes[(route,)].observe(event.body_bytes)

    def _criterion_finished(self, event: CriterionFinished) -> None:
        kind = _one_of(self._criteria, event.type)
        reason = event.reason or NO_REASON
        self._instruments.criteria[kind, event.status, reason].inc()
        self._instruments.criterion_seconds[(kind,)].observe(event.seconds)

    def _comparison_finished(self, event: ComparisonFinished) -> None:
        outcome = _one_of(COMPARED, event.outcome)
        self._instruments.comparisons[(*self._model(event.model), outcome)].inc()

    def _attempt_finished(self, event: AttemptFinished) -> None:
        labels = self._model(event.model)
        outcome = _one_of(self._outcomes, event.outcome)
        self._instruments.attempts[(*labels, outcome)].inc()
        self._instruments.attempt_seconds[labels].observe(event.seconds)
        if event.first_byte_seconds is not None:
            self._instruments.first_byte_seconds[labels].observe(event.first_byte_seconds)
        self._instruments.tokens[(*labels, "input")].inc(event.usage.input_tokens)
        self._instruments.tokens[(*labels, "output")].inc(event.usage.output_tokens)
        self._instruments.cost_usd[labels].inc(event.cost_usd)

    def _injection_suspected(self, event: InjectionSuspected) -> None:
        sign, policy = _one_of(SIGNS, event.sign), _one_of(POLICIES, event.policy)
        self._instruments.injection_suspects[sign, policy].inc()

    def _fallback_taken(self, event: FallbackTaken) -> None:
        known = event.from_model in self._models and event.to_model in self._models
        pair = (event.from_model, event.to_model) if known else (OTHER, OTHER)
        outcome = _one_of(self._outcomes, event.outcome)
        self._instruments.fallbacks[(*pair, outcome)].inc()

    def _breaker_changed(self, event: BreakerChanged) -> None:
        labels = self._model(event.model)
        to_state = _one_of(BREAKER_STATES, event.to_state)
        self._instruments.breaker_transitions[(*labels, to_state)].inc()
        if event.model in self._models:
            for state in BREAKER_STATES:
                self._instruments.breaker_state[(*labels, state)].set(state == to_state)

    def _key_set_aside(self, event: KeyQuarantined) -> None:
        self._instruments.keys_set_aside[self._model(event.model)].inc()

    def _wait_finished(self, event: WaitFinished) -> None:
        # The whole wait for quota, sleep included, is told by `QuotaWaited`.
        if event.reason == "provider_quota":
            return
        reason = _one_of(WAIT_REASONS, event.reason)
        labels = (*self._model(event.model), reason)
        self._instruments.wait_seconds[labels].observe(event.seconds)

    def _quota_waited(self, event: QuotaWaited) -> None:
        labels = self._model(event.model)
        self._instruments.wait_seconds[(*labels, "provider_quota")].observe(event.seconds)
        bucket = _one_of(BUCKETS, event.bucket or "none")
        self._instruments.quota_reservations[(*labels, bucket)].inc()

    def _request_shed(self, event: RequestShed) -> None:
        self._instruments.shed[(event.reason,)].inc()

    def _loop_lagged(self, event: LoopLagged) -> None:
        self._instruments.loop_lag_seconds.observe(event.seconds)

    def _queue_refused(self, event: QueueRefused) -> None:
        reason = _one_of(WAIT_REASONS, event.waiting_for)
        refusal = _one_of(REFUSALS, event.reason)
        self._instruments.queue_refused[(*self._model(event.model), reason, refusal)].inc()

    def _model(self, model_id: str) -> tuple[str, str]:
        return self._models.get(model_id, (OTHER, OTHER))

    def _store_degraded(self, event: StoreDegraded) -> None:
        self._instruments.store_available.set(event.available)

    def _start_at_zero(self) -> None:
        """Make every series that can be known: a rate over a missing one is no answer at all."""
        made = self._instruments
        made.store_available.set(1)
        made.shed.start((reason,) for reason in get_args(ShedReason))
        for method, route in (*self._known.routes, (OTHER, OTHER)):
            made.requests.start((route, method, status) for status in STATUSES)
            made.request_seconds.start([(route,)])
            made.request_body_bytes.start([(route,)])
        for kind in (*self._known.criteria, OTHER):
            made.criteria.start((kind, status, reason) for status, reason in _findings())
            made.criterion_seconds.start([(kind,)])
        for labels in (*self._models.values(), (OTHER, OTHER)):
            made.attempts.start((*labels, outcome) for outcome in sorted(self._outcomes))
            made.comparisons.start((*labels, outcome) for outcome in COMPARED)
            made.attempt_seconds.start([labels])
            made.first_byte_seconds.start([labels])
            made.tokens.start((*labels, kind) for kind in ("input", "output"))
            made.cost_usd.start([labels])
            made.keys_set_aside.start([labels])
            made.quota_reservations.start((*labels, bucket) for bucket in BUCKETS)
            made.wait_seconds.start((*labels, reason) for reason in WAIT_REASONS)
            made.queue_refused.start(
                (*labels, reason, refusal) for reason in WAIT_REASONS for refusal in REFUSALS
            )
            made.breaker_transitions.start((*labels, state) for state in BREAKER_STATES)
        made.injection_suspects.start((sign, policy) for sign in SIGNS for policy in POLICIES)
        for labels in self._models.values():
            for state in BREAKER_STATES:
                made.breaker_state[(*labels, state)].set(state == "closed")
        for pair in (*self._known.fallbacks, (OTHER, OTHER)):
            made.fallbacks.start((*pair, outcome) for outcome in sorted(self._outcomes))


def model_outcomes() -> frozenset[str]:
    """Every outcome an attempt can have: `ok`, and one for each class of the error tree."""
    return frozenset({"ok", *(cls.outcome for cls in error_classes())})


def _one_of(known: Collection[str], name: str) -> str:
    return name if name in known else OTHER


def _findings() -> list[tuple[str, str]]:
    unscored = [("unscored", reason) for reason in get_args(Reason) if reason != SKIP_REASON]
    return [("scored", NO_REASON), *unscored, ("skipped", SKIP_REASON)]
