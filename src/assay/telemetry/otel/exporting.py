"""Exports to a collector, from threads of their own: a collector in trouble costs data, no request.

Queues are bounded. What they drop, and what the collector does not take, is counted.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, cast

import requests
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider, LogRecordLimits, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Sampler, SamplingResult
from opentelemetry.trace import TraceState
from prometheus_client import CollectorRegistry, Counter

from assay.domain.trace_context import as_judge

Signal = Literal["traces", "logs", "metrics"]

QUEUE_MAX = 2_048
"""Spans, and events, that wait to be exported; of a full queue, the oldest is dropped."""
VALUE_CHARS_MAX = 4_096
"""Longest attribute; names of criteria and explanations may be of any length."""
ANSWER_BYTES_MAX = 65_536
"""How much of a collector's answer is read."""
SHUTDOWN_S, POLL_S = 5.0, 0.02
"""How long a process that stops exports what still waits."""


class ChosenIds(RandomIdGenerator):
    """Random ids, except where those of the next span are chosen already."""

    trace_id: int | None = None
    span_id: int | None = None

    def generate_trace_id(self) -> int:
        chosen, self.trace_id = self.trace_id, None
        return chosen or super().generate_trace_id()

    def generate_span_id(self) -> int:
        chosen, self.span_id = self.span_id, None
        return chosen or super().generate_span_id()


class JudgeSampler(Sampler):
    """Samples as another does, and marks each span as a judge's.

    A collector may bring our own spans back to us: they are no live traffic to judge.
    """

    def __init__(self, inner: Sampler) -> None:
        self._inner = inner

    def should_sample(self, *args: Any, **options: Any) -> SamplingResult:
        result = self._inner.should_sample(*args, **options)
        state = result.trace_state.to_header() if result.trace_state else ""
        result.trace_state = TraceState.from_header([as_judge(state)])
        return result

    def get_description(self) -> str:
        return self._inner.get_description()


class Counted:
    """An exporter that counts what is lost, in its full queue or at the collector."""

    def __init__(self, exporter: Any, lost: Counter, signal: Signal, capacity: int) -> None:
        self._exporter = exporter
        self._full = lost.labels(signal, "queue_full")
        self._failed = lost.labels(signal, "export_failed")
        self._capacity = capacity
        self._lock = threading.Lock()
        self._waiting = 0
        self.shutdown, self.force_flush = exporter.shutdown, exporter.force_flush

    def add(self) -> None:
        """One more waits, or takes the place of the oldest."""
        with self._lock:
            is_full = self._waiting >= self._capacity
            self._waiting += not is_full
        if is_full:
            self._full.inc()

    def export(self, batch: Sequence[Any]) -> Any:
        """See the SDK's exporters."""
        with self._lock:
            self._waiting = max(0, self._waiting - len(batch))
        result = None
        try:
            result = self._exporter.export(batch)
        finally:
            if result is None or result.name != "SUCCESS":
                self._failed.inc(len(batch))
        return result


class CountedSpans(BatchSpanProcessor):
    """Hands spans to a `Counted` exporter."""

    def __init__(self, exporter: Counted, capacity: int) -> None:
        super().__init__(cast("SpanExporter", exporter), capacity)
        self._counted = exporter

    def on_end(self, span: ReadableSpan) -> None:
        if span.context and span.context.trace_flags.sampled:
            self._counted.add()
        super().on_end(span)


class CountedLogs(BatchLogRecordProcessor):
    """Hands log records to a `Counted` exporter."""

    def __init__(self, exporter: Counted, capacity: int) -> None:
        super().__init__(cast("LogRecordExporter", exporter), max_queue_size=capacity)
        self._counted = exporter

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        self._counted.add()
        super().on_emit(log_record)


class BoundedSession(requests.Session):
    """Reads no more of an answer than a collector has to say."""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        response = super().send(request, **{**options, "stream": True})
        response._content = response.raw.read(ANSWER_BYTES_MAX, decode_content=True)  # noqa: SLF001  # requests has no bound of its own
        response.close()
        return response


@dataclass(frozen=True, slots=True)
class Pipelines:
    """Where spans, events and metrics go; None for a signal that is off."""

    tracers: TracerProvider
    ids: ChosenIds
    loggers: LoggerProvider | None
    meters: MeterProvider | None

    async def aclose(self) -> None:
        """Export what still waits, for a few seconds, and leave the rest."""
        providers = (self.tracers, self.loggers, self.meters)
        threads = [_started(provider.shutdown) for provider in providers if provider is not None]
        with suppress(TimeoutError):
            async with asyncio.timeout(SHUTDOWN_S):
                # A thread wakes no event loop.
                while any(thread.is_alive() for thread in threads):  # noqa: ASYNC110
                    await asyncio.sleep(POLL_S)


def open_pipelines(
    endpoints: Mapping[Signal, str | None], version: str, registry: CollectorRegistry
) -> Pipelines:
    """Where each signal of `endpoints` goes: to a URL, or to where the environment says.

    What is lost is counted on `registry`.
    """
    lost = Counter(
        "assay_otel_lost_total",
        "Spans and events that did not reach the OpenTelemetry collector.",
        ("signal", "reason"),
        registry=registry,
    )
    resource, ids = _resource(version), ChosenIds()
    chars_max = _number("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", VALUE_CHARS_MAX)
    tracers = TracerProvider(
        resource=resource,
        shutdown_on_exit=False,
        id_generator=ids,
        span_limits=SpanLimits(max_attribute_length=chars_max),
    )
    tracers.sampler = JudgeSampler(tracers.sampler)
    loggers = meters = None
    if "traces" in endpoints:
        capacity = _number("OTEL_BSP_MAX_QUEUE_SIZE", QUEUE_MAX)
        spans = OTLPSpanExporter(endpoints["traces"], session=BoundedSession())
        tracers.add_span_processor(CountedSpans(Counted(spans, lost, "traces", capacity), capacity))
    if "logs" in endpoints:
        capacity = _number("OTEL_BLRP_MAX_QUEUE_SIZE", QUEUE_MAX)
        logs = OTLPLogExporter(endpoints["logs"], session=BoundedSession())
        loggers = LoggerProvider(
            resource,
            shutdown_on_exit=False,
            log_record_limits=LogRecordLimits(max_attribute_length=chars_max),
        )
        loggers.add_log_record_processor(
            CountedLogs(Counted(logs, lost, "logs", capacity), capacity)
        )
    if "metrics" in endpoints:
        exporter = OTLPMetricExporter(endpoints["metrics"], session=BoundedSession())
        reader = PeriodicExportingMetricReader(exporter)
        meters = MeterProvider([reader], resource, shutdown_on_exit=False)
    return Pipelines(tracers, ids, loggers, meters)


def _resource(version: str) -> Resource:
    """This process, as OpenTelemetry names it; the environment can name it otherwise."""
    own = {
        SERVICE_NAME: "assay",
        "service.version": version,
        "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
    }
    return Resource.create({**own, **OTELResourceDetector().detect().attributes})


def _number(variable: str, default: int) -> int:
    """A standard limit; what is no positive number leaves the default."""
    text = os.environ.get(variable, "").strip()
    return int(text) if text.isdecimal() and int(text) > 0 else default


def _started(work: Callable[[], Any]) -> threading.Thread:
    """A thread that no process waits for at its end."""
    thread = threading.Thread(target=work, daemon=True, name="otel-shutdown")
    thread.start()
    return thread
