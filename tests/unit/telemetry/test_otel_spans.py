"""Spans, events and metrics from domain events, as the SDK's own exporters in memory have them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from assay.domain.completion import NO_USAGE, Caller, Usage
from assay.domain.events import (
    AttemptFinished,
    BatchEnded,
    CriterionFinished,
    LoopLagged,
    QuotaWaited,
    WaitFinished,
)
from assay.domain.ids import id_at
from assay.domain.models import Model
from assay.telemetry.otel.conventions import Upstream
from assay.telemetry.otel.exporting import ChosenIds, Pipelines
from assay.telemetry.otel.spans import Spans

CALLER = Caller("acme", "req_1")
MODEL = Model("vendor/judge", "vendor", "judge-1", host="api.vendor.example")


class Recorded:
    """What `Spans` made of events."""

    def __init__(self) -> None:
        ids = ChosenIds()
        self._spans, self._logs = InMemorySpanExporter(), InMemoryLogRecordExporter()
        self._reader = InMemoryMetricReader()
        tracers = TracerProvider(id_generator=ids, shutdown_on_exit=False)
        tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        loggers = LoggerProvider(shutdown_on_exit=False)
        loggers.add_log_record_processor(SimpleLogRecordProcessor(self._logs))
        meters = MeterProvider([self._reader], shutdown_on_exit=False)
        upstreams = {MODEL.id: Upstream(MODEL, "openai", 443)}
        self.sink = Spans(Pipelines(tracers, ids, loggers, meters), upstreams, "1")

    def spans(self, *events: Any) -> list[Any]:
        """The spans of these events."""
        for event in events:
            self.sink.emit(event)
        return list(self._spans.get_finished_spans())

    def metrics(self) -> dict[str, list[Any]]:
        """The points of each metric."""
        data: Any = self._reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    return Recorded()


def attempt(outcome: str = "ok", usage: Usage = NO_USAGE, **fields: Any) -> AttemptFinished:
    given = {"served_by": "judge-1-2026", **fields}
    model = given.pop("model", MODEL.id)
    return AttemptFinished(CALLER, "vendor", model, outcome, 2.0, 0.5, usage, 0.1, **given)


def test_a_check_away_from_the_event_loop_has_a_span(recorded):
    """Of the time that it took; one on the loop has none, since it takes no time worth one."""
    on_loop = CriterionFinished(CALLER, "contains", "scored", None, 0.1)
    away = CriterionFinished(CALLER, "python", "unscored", "check_error", 1.5, away=True)
    (span,) = recorded.spans(on_loop, away)
    assert span.name == "check python"
    assert dict(span.attributes) == {
        "assay.criterion.type": "python",
        "error.type": "check_error",
    }
    assert span.end_time - span.start_time >= 1_500_000_000


def test_only_what_waited_has_a_span(recorded):
    """One for each wait, whatever it was for."""
    spans = recorded.spans(
        QuotaWaited(CALLER, MODEL.id, 0.0, ""),
        QuotaWaited(CALLER, MODEL.id, 1.0, "tokens"),
        WaitFinished(CALLER, MODEL.id, "provider_quota", 1.0),
        WaitFinished(CALLER, MODEL.id, "local_slot", 2.0),
    )
    assert [span.name for span in spans] == ["wait provider_quota", "wait local_slot"]
    assert spans[0].attributes["assay.quota.bucket"] == "tokens"


def test_a_batch_lasts_from_its_creation(recorded):
    """Its ids follow from its own: another process makes the same."""
    batch_id = id_at("batch", 1_700_000_000_000)
    (span,) = recorded.spans(BatchEnded(batch_id, "completed"))
    (other,) = Recorded().spans(BatchEnded(batch_id, "completed"))
    assert span.start_time == 1_700_000_000_000 * 1_000_000
    assert span.context.span_id == other.context.span_id
    assert span.context.trace_id == other.context.trace_id
    after = recorded.spans(attempt())[-1]
    assert after.context.trace_id != span.context.trace_id


def test_a_failed_call_counts_and_one_that_was_not_sent_does_not(recorded):
    """Durations with the error; tokens only where the provider counted some."""
    spans = recorded.spans(
        attempt(usage=Usage(100, 20, 5, 40)),
        attempt("provider_silent", served_by=""),
        attempt("quota_exhausted", served_by=""),
        attempt(model="unknown/model"),
        LoopLagged(1.0),
    )
    assert [span.name for span in spans] == ["chat judge-1"] * 3
    found = recorded.metrics()
    durations = found["gen_ai.client.operation.duration"]
    assert sorted(point.attributes.get("error.type", "") for point in durations) == [
        "", "provider_silent"
    ]  # fmt: skip
    sums = {
        point.attributes["gen_ai.token.type"]: point.sum
        for point in found["gen_ai.client.token.usage"]
    }
    assert sums == {"input": 100, "output": 20}


def test_the_metrics_have_their_new_names_where_the_standard_variable_asks(monkeypatch):
    """Counters of tokens in place of a histogram, with the parts that are cached and reasoning."""
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http, gen_ai_latest_experimental")
    recorded = Recorded()
    recorded.spans(attempt(usage=Usage(100, 20, 5, 40)))
    found = recorded.metrics()
    assert set(found) == {
        "gen_ai.client.inference.duration",
        "gen_ai.client.inference.time_to_first_chunk",
        "gen_ai.client.inference.usage.input_tokens",
        "gen_ai.client.inference.usage.output_tokens",
        "gen_ai.client.inference.usage.cache_read.input_tokens",
        "gen_ai.client.inference.usage.reasoning.output_tokens",
    }
    (tokens,) = found["gen_ai.client.inference.usage.cache_read.input_tokens"]
    assert tokens.value == 40
    assert tokens.attributes["gen_ai.token.modality"] == "text"


def test_a_span_ends_when_its_event_is_told(recorded):
    """It began as long before as the event says."""
    before_ns = time.time_ns()
    (span,) = recorded.spans(attempt())
    assert before_ns <= span.end_time <= time.time_ns()
    assert abs(span.end_time - span.start_time - 2_000_000_000) < 1_000_000_000
