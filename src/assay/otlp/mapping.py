"""Maps the attributes of spans to what a case has, by a table of the conventions in use.

The first source of a target that gives something wins. To know another vendor's attribute is to add
a line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from assay.domain.traces import Observation
from assay.otlp.decoding import ReceivedSpan
from assay.otlp.messages import in_json, messages, nested, passages, text_of, tool_list

Target = Literal["input", "output", "context", "tools", "session", "user", "response_id"]
Reader = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class AttributeSource:
    """An attribute, or with a final dot all attributes that begin so, and how it is read."""

    target: Target
    attribute: str
    read: Reader


def _said_by(role: str) -> Reader:
    return lambda value: messages(value, role)


_asked, _answered = _said_by("user"), _said_by("assistant")
SOURCES: tuple[AttributeSource, ...] = (
    # OpenTelemetry's conventions for generative AI
    AttributeSource("input", "gen_ai.input.messages", _asked),
    AttributeSource("output", "gen_ai.output.messages", _answered),
    AttributeSource("tools", "gen_ai.tool.definitions", tool_list),
    AttributeSource("context", "gen_ai.retrieval.documents", passages),
    AttributeSource("session", "gen_ai.conversation.id", text_of),
    AttributeSource("response_id", "gen_ai.response.id", text_of),
    AttributeSource("input", "gen_ai.tool.call.arguments", _asked),
    AttributeSource("output", "gen_ai.tool.call.result", _answered),
    # their earlier forms, and Traceloop's
    AttributeSource("input", "gen_ai.prompt.", _asked),
    AttributeSource("output", "gen_ai.completion.", _answered),
    AttributeSource("input", "gen_ai.prompt", _asked),
    AttributeSource("output", "gen_ai.completion", _answered),
    AttributeSource("tools", "llm.request.functions.", tool_list),
    AttributeSource("session", "traceloop.association.properties.session_id", text_of),
    AttributeSource("user", "traceloop.association.properties.user_id", text_of),
    # OpenInference
    AttributeSource("input", "llm.input_messages.", _asked),
    AttributeSource("output", "llm.output_messages.", _answered),
    AttributeSource("tools", "llm.tools.", tool_list),
    AttributeSource("context", "retrieval.documents.", passages),
    AttributeSource("context", "reranker.output_documents.", passages),
    AttributeSource("session", "session.id", text_of),
    AttributeSource("user", "user.id", text_of),
    # Langfuse
    AttributeSource("input", "langfuse.observation.input", _asked),
    AttributeSource("output", "langfuse.observation.output", _answered),
    AttributeSource("input", "langfuse.trace.input", _asked),
    AttributeSource("output", "langfuse.trace.output", _answered),
    AttributeSource("session", "langfuse.session.id", text_of),
    AttributeSource("user", "langfuse.user.id", text_of),
    # Logfire and Pydantic AI
    AttributeSource("input", "request_data", _asked),
    AttributeSource("output", "response_data", _answered),
    AttributeSource("input", "prompt", _asked),
    AttributeSource("output", "final_result", _answered),
    AttributeSource("user", "enduser.id", text_of),
    # Vercel's AI SDK
    AttributeSource("input", "ai.prompt.messages", _asked),
    AttributeSource("input", "ai.prompt", _asked),
    AttributeSource("output", "ai.response.text", _answered),
    AttributeSource("tools", "ai.prompt.tools", tool_list),
    # what chains and workflows say of themselves
    AttributeSource("input", "input.value", _asked),
    AttributeSource("output", "output.value", _answered),
    AttributeSource("input", "traceloop.entity.input", _asked),
    AttributeSource("output", "traceloop.entity.output", _answered),
)
EVENTS: Mapping[str, tuple[Literal["input", "output"], str]] = {
    "gen_ai.system.message": ("input", "system"),
    "gen_ai.user.message": ("input", "user"),
    "gen_ai.assistant.message": ("input", "assistant"),
    "gen_ai.tool.message": ("input", "tool"),
    "gen_ai.choice": ("output", "assistant"),
    "gen_ai.content.prompt": ("input", "user"),
    "gen_ai.content.completion": ("output", "assistant"),
}
"""Events of earlier conventions: what they say, and who says it."""
MERGED_EVENT = "gen_ai.client.inference.operation.details"
"""Has attributes that may also stand on the span."""
EVENT_LISTS = ("events", "all_messages_events")
"""Attributes of Logfire that hold such events as JSON."""
MODEL_MARKS = ("gen_ai.request.model", "llm.model_name", "gen_ai.response.model", "ai.model.id")
MODEL_OPERATIONS = ("chat", "generate_content", "text_completion")
MARKS = re.compile(r"(?:gen_ai|llm|openinference|traceloop|langfuse|ai|input|output|retrieval)\.")
NO_CONTENT = (
    "It has no content. Let the instrumentation record messages on spans, for example with "
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=SPAN_ONLY."
)
UNKNOWN_FORM = "No attribute of it has a known form."
CONTENT = re.compile(r"message|prompt|completion|content|\b(?:input|output)(?:\.value)?$")
COUNTS = re.compile(r"usage|token")
SHOWN_NAMES_MAX = 40
NAME_CHARS_MAX = 100


def observe(span: ReceivedSpan, attributes: dict[str, Any]) -> Observation | None:
    """What a span says, as far as any source of the table gives it; None if it says nothing."""
    events = list(_events(span, attributes))
    found: dict[str, Any] = {}
    for source in SOURCES:
        if source.target not in found and (value := _read(source, attributes)):
            found[source.target] = value
    for target in ("input", "output"):
        said = [message for at, message in events if at == target]
        if said and target not in found:
            found[target] = said
    if system := messages(attributes.get("gen_ai.system_instructions"), "system"):
        found["input"] = [*system[:1], *found.get("input", ())]
    if not (found.keys() & {"input", "output", "context"}):
        return None
    raw = span.raw
    known = Observation(
        span.trace_id, span.span_id, span.parent_id,
        raw.start_time_unix_nano // 1_000_000, raw.end_time_unix_nano // 1_000_000,
        is_model=any(mark in attributes for mark in MODEL_MARKS)
        or attributes.get("gen_ai.operation.name") in MODEL_OPERATIONS,
    )  # fmt: skip
    return replace(known, **found)


def not_understood(span: ReceivedSpan, attributes: Mapping[str, Any]) -> dict[str, Any] | None:
    """Why a span gives no case; None if it is of no model anyway."""
    names = sorted(name for name in attributes if MARKS.match(name))
    if not names:
        return None
    has_content = any(
        CONTENT.search(name) and not COUNTS.search(name) and attributes[name] for name in names
    )
    return {
        "name": span.raw.name[:NAME_CHARS_MAX],
        "scope": span.scope[:NAME_CHARS_MAX],
        "reason": UNKNOWN_FORM if has_content else NO_CONTENT,
        "attributes": [name[:NAME_CHARS_MAX] for name in names[:SHOWN_NAMES_MAX]],
    }


def _read(source: AttributeSource, attributes: Mapping[str, Any]) -> Any:
    if source.attribute.endswith("."):
        return source.read(nested(attributes, source.attribute))
    value = attributes.get(source.attribute)
    return None if value is None else source.read(value)


def _events(
    span: ReceivedSpan, attributes: dict[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The messages in events, each with where it belongs; attributes of others are merged in."""
    listed = span.events()
    for name in EVENT_LISTS:
        value = in_json(attributes.get(name))
        for one in value if isinstance(value, list) else ():
            if isinstance(one, Mapping):
                listed.append((str(one.get("event.name", "")), dict(one)))
    for name, body in listed:
        if name == MERGED_EVENT:
            attributes.update({key: body[key] for key in body.keys() - attributes.keys()})
        elif (known := EVENTS.get(name)) is not None:
            target, role = known
            for message in _of_event(body, role):
                yield target, message


def _of_event(body: Mapping[str, Any], role: str) -> Sequence[Mapping[str, Any]]:
    for name in ("message", "gen_ai.prompt", "gen_ai.completion"):
        if body.get(name):
            return messages(body[name], role)
    return messages([{**body, "role": body.get("role") or role}], role)
