"""Spans, evaluation events and metrics of calls, from domain events and mostly after the fact.

Only what others are part of, a request or a row of a batch, has a span from its start: the one that
everything in its task belongs to, and that decides what is sampled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from hashlib import blake2b
from typing import Any

from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    format_span_id,
    format_trace_id,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Receive, Scope, Send

from assay.domain import events
from assay.domain.ids import id_time_ms
from assay.domain.trace_context import CURRENT, SENT_SPAN_ID, Subject, TraceContext
from assay.telemetry.otel.conventions import (
    EVALUATION_RESULT,
    OK,
    SERVER_ERROR,
    Attributes,
    Upstream,
    attempt_attributes,
    call_attributes,
    evaluation_attributes,
    request_attributes,
)
from assay.telemetry.otel.exporting import Pipelines
from assay.telemetry.otel.metrics import CallMetrics

SCOPE = "assay"
WAIT_S_MIN = 0.001
"""A shorter wait has no span."""
PROPAGATOR = TraceContextTextMapPropagator()


class Spans:
    """An `EventSink` that describes what happened to OpenTelemetry.

    `upstreams` are the models by their ids. With `explains`, evaluation events have explanations.
    """

    def __init__(
        self,
        pipelines: Pipelines,
        upstreams: Mapping[str, Upstream],
        version: str,
        *,
        explains: bool = False,
    ) -> None:
        self._tracer = pipelines.tracers.get_tracer(SCOPE, version)
        self._ids = pipelines.ids
        loggers, meters = pipelines.loggers, pipelines.meters
        self._logger = loggers.get_logger(SCOPE, version) if loggers else None
        self._metrics = CallMetrics(meters.get_meter(SCOPE, version)) if meters else None
        self._upstreams = upstreams
        self._explains = explains
        self._handlers: dict[type, Callable[[Any], None]] = {
            events.RequestFinished: _describe_request,
            events.AttemptFinished: self._attempt,
            events.QuotaWaited: self._quota_waited,
            events.WaitFinished: self._waited,
            events.CriterionFinished: self._checked,
            events.CaseJudged: self._judged,
            events.BatchEnded: self._batch_ended,
        }

    def emit(self, event: events.Event) -> None:
        """Describe the event, if it is one of those that have a span, an event or a metric."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    @contextmanager
    def request(self, scope: Scope) -> Iterator[None]:
        """The server span of a request, as a part of its caller's trace."""
        parent = PROPAGATOR.extract(_trace_headers(scope), get_current())
        method = {"http.request.method": scope["method"], "url.scheme": scope["scheme"]}
        span = self._tracer.start_span(scope["method"], parent, SpanKind.SERVER, method)
        with _working_in(span, get_current_span(parent).get_span_context()):
            try:
                yield
            finally:
                if "route" in scope:  # any other path is a text of the caller's
                    span.set_attribute("url.path", scope["path"])

    @contextmanager
    def row(self, batch_id: str, trace_id: str) -> Iterator[Callable[[str], None]]:
        """The span of one attempt at a row: in a trace of its own, linked to that of the batch."""
        self._ids.trace_id = int(trace_id, 16) if trace_id else None
        links = [Link(_batch_span(batch_id))]
        attributes = {"assay.batch.id": batch_id}
        span = self._tracer.start_span("batch row", Context(), attributes=attributes, links=links)
        with _working_in(span):
            yield partial(span.set_attribute, "assay.batch.row.status")

    def _attempt(self, event: events.AttemptFinished) -> None:
        sent_id = SENT_SPAN_ID.get()
        SENT_SPAN_ID.set("")
        upstream = self._upstreams.get(event.model)
        if upstream is None:
            return
        attributes = call_attributes(upstream)
        name = f"{attributes['gen_ai.operation.name']} {upstream.model.name}"
        # The provider was told this id before there was a span.
        self._ids.span_id = int(sent_id, 16) if sent_id else None
        span = self._start(name, event.seconds, attributes, SpanKind.CLIENT)
        span.set_attributes(attempt_attributes(event, upstream))
        if event.outcome != OK:
            span.set_status(StatusCode.ERROR)
        span.end()
        if self._metrics is not None:
            self._metrics.measure(event, upstream)

    def _quota_waited(self, event: events.QuotaWaited) -> None:
        self._wait(event.model, "provider_quota", event.seconds, event.bucket)

    def _waited(self, event: events.WaitFinished) -> None:
        if event.reason != "provider_quota":  # `QuotaWaited` has the whole of it
            self._wait(event.model, event.reason, event.seconds)

    def _wait(self, model: str, reason: str, seconds: float, bucket: str = "") -> None:
        if seconds < WAIT_S_MIN:
            return
        attributes: Attributes = {"assay.model.id": model, "assay.wait.reason": reason}
        if bucket:
            attributes["assay.quota.bucket"] = bucket
        self._start(f"wait {reason}", seconds, attributes).end()

    def _checked(self, event: events.CriterionFinished) -> None:
        if not event.away:
            return
        attributes: Attributes = {"assay.criterion.type": event.type}
        if event.reason is not None:
            attributes["error.type"] = event.reason
        self._start(f"check {event.type}", event.seconds, attributes).end()

    def _batch_ended(self, event: events.BatchEnded) -> None:
        ids = _batch_span(event.batch_id)
        self._ids.trace_id, self._ids.span_id = ids.trace_id, ids.span_id
        self._tracer.start_span(
            "batch",
            Context(),
            attributes={"assay.batch.id": event.batch_id, "assay.batch.status": event.status},
            start_time=id_time_ms(event.batch_id) * 1_000_000,
        ).end()

    def _judged(self, event: events.CaseJudged) -> None:
        judged = _judged_span(event.subject)
        if judged is not None:
            get_current_span().add_link(judged)
        if self._logger is None:
            return
        context = set_span_in_context(NonRecordingSpan(judged or _caller_span()))
        evaluation, now_ns = event.evaluation, time.time_ns()
        for result in evaluation.results:
            self._logger.emit(
                event_name=EVALUATION_RESULT,
                timestamp=now_ns,
                observed_timestamp=now_ns,
                context=context,
                attributes=evaluation_attributes(
                    result, evaluation.evaluator, event.subject, explains=self._explains
                ),
            )

    def _start(
        self,
        name: str,
        seconds: float,
        attributes: Attributes,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> Span:
        """A span in the current one that began `seconds` ago."""
        start_ns = time.time_ns() - int(seconds * 1_000_000_000)
        return self._tracer.start_span(name, kind=kind, attributes=attributes, start_time=start_ns)


class TracedRequests:
    """The middleware around everything else of an application."""

    def __init__(self, app: ASGIApp, spans: Spans) -> None:
        self._app = app
        self._spans = spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._spans.request(scope):
            await self._app(scope, receive, send)


@contextmanager
def _working_in(span: Span, caller: SpanContext | None = None) -> Iterator[None]:
    """What happens in here, in this task and in those that it starts, is a part of the span."""
    ids = span.get_span_context()
    caller_id = format_span_id(caller.span_id) if caller is not None and caller.is_remote else ""
    current = CURRENT.set(
        TraceContext(
            format_trace_id(ids.trace_id),
            format_span_id(ids.span_id),
            ids.trace_flags.sampled,
            ids.trace_state.to_header(),
            caller_id,
        )
    )
    token = attach(set_span_in_context(span))
    try:
        yield
    finally:
        detach(token)
        CURRENT.reset(current)
        span.end()


def _trace_headers(scope: Scope) -> dict[str, list[str]]:
    """The headers of W3C Trace Context; two parents are none."""
    found: dict[str, list[str]] = {"traceparent": [], "tracestate": []}
    for name, value in scope["headers"]:
        if name in (b"traceparent", b"tracestate"):
            found[name.decode()].append(value.decode("latin-1"))
    return found if len(found["traceparent"]) == 1 else {}


def _describe_request(event: events.RequestFinished) -> None:
    span = get_current_span()
    matched = event.route.startswith("/")
    span.update_name(f"{event.method} {event.route}" if matched else event.method)
    span.set_attributes(request_attributes(event))
    if matched:
        span.set_attribute("http.route", event.route)
    if event.status >= SERVER_ERROR:
        span.set_status(StatusCode.ERROR)


def _batch_span(batch_id: str) -> SpanContext:
    """The span of a batch, whose ids follow from its own: every process knows them."""
    digest = blake2b(batch_id.encode(), digest_size=24).digest()
    trace_id, span_id = int.from_bytes(digest[:16]), int.from_bytes(digest[16:])
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(1))


def _judged_span(subject: Subject | None) -> SpanContext | None:
    """The span that the request names as the judged one."""
    if subject is None or subject.trace_id is None or subject.span_id is None:
        return None
    trace_id, span_id = int(subject.trace_id, 16), int(subject.span_id, 16)
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(1))


def _caller_span() -> SpanContext:
    """The caller's span; where it named none, our own."""
    own, trace = get_current_span().get_span_context(), CURRENT.get()
    if trace is None or not trace.caller_span_id:
        return own
    return SpanContext(
        own.trace_id,
        int(trace.caller_span_id, 16),
        is_remote=True,
        trace_flags=own.trace_flags,
        trace_state=own.trace_state,
    )
