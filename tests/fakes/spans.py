"""Spans as an application exports them."""

from __future__ import annotations

import json
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


def any_value(value: Any) -> AnyValue:
    """A value as OTLP has it."""
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case list():
            made = AnyValue()
            made.array_value.values.extend(map(any_value, value))
            return made
        case _:
            return AnyValue(string_value=value)


def span(
    trace: int,
    number: int = 1,
    attributes: dict[str, Any] | None = None,
    *,
    parent: int = 0,
    state: str = "",
    events: dict[str, dict[str, Any]] | None = None,
    at_s: int = 0,
) -> Span:
    """A span by small numbers in place of ids."""
    made = Span(
        trace_id=trace.to_bytes(16),
        span_id=(trace * 1_000 + number).to_bytes(8),
        parent_span_id=(trace * 1_000 + parent).to_bytes(8) if parent else b"",
        name="chat small",
        trace_state=state,
        start_time_unix_nano=(1_700_000_000 + at_s) * 10**9,
        end_time_unix_nano=(1_700_000_001 + at_s) * 10**9,
    )
    for key, value in (attributes or {}).items():
        made.attributes.append(KeyValue(key=key, value=any_value(value)))
    for name, body in (events or {}).items():
        event = made.events.add(name=name)
        event.attributes.extend(KeyValue(key=k, value=any_value(v)) for k, v in body.items())
    return made


def chat(asked: str, answered: str, **others: Any) -> dict[str, Any]:
    """The attributes of a model's span."""

    def said(role: str, text: str) -> str:
        return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])

    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "small",
        "gen_ai.input.messages": said("user", asked),
        "gen_ai.output.messages": said("assistant", answered),
        **others,
    }


def export(*spans: Span, service: str = "shop") -> bytes:
    """The body of an export."""
    request = ExportTraceServiceRequest()
    of_resource = request.resource_spans.add()
    of_resource.resource.attributes.append(
        KeyValue(key="service.name", value=AnyValue(string_value=service))
    )
    of_resource.scope_spans.add().spans.extend(spans)
    return request.SerializeToString()
