"""Spans as public instrumentations write them, and what is read from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assay.domain.traces import Observation
from assay.otlp.decoding import JSON, PROTOBUF, decode
from assay.otlp.mapping import NO_CONTENT, UNKNOWN_FORM, not_understood, observe
from assay.otlp.messages import ROLES
from fakes.spans import export, span

TRACES = Path(__file__).parents[2] / "cases" / "traces"
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "find_order", "arguments": '{"id": "A17"}'},
}
ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is A17?"}]
ANSWERED = [{"role": "assistant", "content": "It arrives on Friday."}]


def observed(attributes: dict[str, Any], **others: Any) -> Observation | None:
    (found,) = decode(export(span(1, attributes=attributes, **others)), PROTOBUF)
    return observe(found, found.attributes())


@pytest.mark.parametrize("flavour", ["otel", "openinference", "traceloop"])
def test_what_public_instrumentations_export_becomes_the_same_case(flavour: str) -> None:
    """The recorded requests: a call of a tool, and the answer after its result."""
    spans = list(decode((TRACES / f"{flavour}.bin").read_bytes(), PROTOBUF))
    calls, answer, root = (observe(one, one.attributes()) for one in spans)
    assert root is None
    assert calls is not None
    assert answer is not None
    assert calls.is_model
    assert [*calls.input] == ASKED
    assert [*calls.output] == [{"role": "assistant", "content": "", "tool_calls": [CALL]}]
    assert [one["role"] for one in answer.input] == ["system", "user", "assistant", "tool"]
    assert answer.input[-1]["content"] == '{"status": "sent"}'
    assert [*answer.output] == ANSWERED
    if flavour != "otel":
        assert answer.tools[0]["function"]["name"] == "find_order"
    if flavour != "openinference":
        assert answer.response_id == "chatcmpl-1"


@pytest.mark.parametrize(
    ("attributes", "is_model"),
    [
        ({"gen_ai.operation.name": "chat"}, True),
        ({"gen_ai.request.model": "small"}, True),
        ({"llm.model_name": "small"}, True),
        ({"gen_ai.operation.name": "execute_tool"}, False),
    ],
)
def test_a_call_of_a_model_names_its_model_or_says_so_by_its_operation(
    attributes: dict[str, Any], is_model: bool
) -> None:
    """A model's name is optional; without a condition, only such spans are cases."""
    said = json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "Yes."}]}])
    found = observed(attributes | {"gen_ai.output.messages": said})
    assert found is not None
    assert found.is_model == is_model


def test_spans_without_content_say_how_it_is_recorded() -> None:
    """Recorded too: an instrumentation that was not told to record messages."""
    spans = list(decode((TRACES / "otel_old.bin").read_bytes(), PROTOBUF))
    attributes = spans[0].attributes()
    assert observe(spans[0], attributes) is None
    why = not_understood(spans[0], attributes)
    assert why is not None
    assert why["reason"] == NO_CONTENT
    assert why["scope"] == "opentelemetry.util.genai.handler"
    assert "gen_ai.request.model" in why["attributes"]
    assert not_understood(spans[2], spans[2].attributes()) is None


MESSAGES = json.dumps([{"role": "user", "content": "Hi"}])


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "Hi",
          "gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "Yes"}, "Yes"),
        ({"langfuse.observation.input": MESSAGES, "langfuse.observation.output": '"Yes"'}, '"Yes"'),
        ({"langfuse.trace.input": MESSAGES,
          "langfuse.trace.output": json.dumps({"role": "assistant", "content": "Yes"})}, "Yes"),
        ({"request_data": json.dumps({"messages": [{"role": "user", "content": "Hi"}]}),
          "response_data": json.dumps({"message": {"role": "assistant", "content": "Yes"}})},
         "Yes"),
        ({"prompt": "Hi", "final_result": "Yes"}, "Yes"),
        ({"ai.prompt.messages": MESSAGES, "ai.response.text": "Yes"}, "Yes"),
        ({"input.value": "Hi", "output.value": "Yes"}, "Yes"),
        ({"input.value": "Hi", "output.value": '{"status": "sent"}'}, '{"status": "sent"}'),
        ({"traceloop.entity.input": "Hi", "traceloop.entity.output": "Yes"}, "Yes"),
        ({"gen_ai.input.messages": MESSAGES,
          "gen_ai.output.messages": json.dumps([{"role": "model", "parts": ["Yes"]}])}, "Yes"),
        ({"llm.input_messages.0.message.role": "user",
          "llm.input_messages.0.message.contents.0.message_content.text": "Hi",
          "llm.input_messages.0.message.contents.0.message_content.type": "text",
          "llm.output_messages.0.message.role": "assistant",
          "llm.output_messages.0.message.content": "Yes"}, "Yes"),
    ],
)  # fmt: skip
def test_each_vendor_s_attributes_are_understood(attributes: dict[str, Any], said: str) -> None:
    """The table has a line for each."""
    found = observed(attributes)
    assert found is not None
    assert [*found.input] == [{"role": "user", "content": "Hi"}]
    assert [*found.output] == [{"role": "assistant", "content": said}]


def test_events_of_earlier_conventions_are_understood() -> None:
    """Messages as events of a span, and as a list of events in an attribute."""
    events = {
        "gen_ai.system.message": {"content": "Be brief."},
        "gen_ai.user.message": {"content": "Hi"},
        "gen_ai.choice": {"index": 0, "message": '{"role": "assistant", "content": "Yes"}'},
    }
    found = observed({"gen_ai.system": "openai"}, events=events)
    assert found is not None
    assert [one["role"] for one in found.input] == ["system", "user"]
    assert [*found.output] == [{"role": "assistant", "content": "Yes"}]
    listed = [{"event.name": "gen_ai.user.message", "content": "Hi", "role": "user"}]
    found = observed({"events": json.dumps(listed)})
    assert found is not None
    assert [*found.input] == [{"role": "user", "content": "Hi"}]
    details = {"gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": ["Yes"]}])}
    found = observed({}, events={"gen_ai.client.inference.operation.details": details})
    assert found is not None


def test_documents_sessions_and_users_are_read() -> None:
    """A retrieval has no output, and is the context of its trace."""
    found = observed(
        {
            "retrieval.documents.0.document.content": "first",
            "retrieval.documents.1.document.content": "second",
            "session.id": "s1",
            "user.id": "u1",
        }
    )
    assert found is not None
    assert [*found.context] == ["first", "second"]
    assert (found.session, found.user, found.output) == ("s1", "u1", ())


def test_an_unknown_form_is_told_with_the_names_of_attributes_alone() -> None:
    """No text of the application is shown."""
    (found,) = decode(export(span(1, attributes={"llm.odd_messages": "secret"})), PROTOBUF)
    why = not_understood(found, found.attributes())
    assert why is not None
    assert why["reason"] == UNKNOWN_FORM
    assert "secret" not in json.dumps(why)


@pytest.mark.parametrize(
    "value",
    ["[" * 5_000, "{}", "[]", "[1, 2]", "null", '[{"role": 5}]', '[{"parts": {"a": 1}}]', "\0",
     '[{"role": "user", "tool_calls": [1, {"function": 5}, {"function": {"name": 3}}]}]',
     '{"messages": {"messages": {"messages": 1}}}', "x" * 1_000_000],
)  # fmt: skip
def test_no_value_breaks_the_mapping(value: str) -> None:
    """Attributes are the application's own: of any form and length."""
    names = ("gen_ai.input.messages", "gen_ai.output.messages", "llm.tools.0.tool.json_schema")
    earlier = {f"gen_ai.prompt.{name}": value for name in ("0", "0.content", "x")}
    for found in (observed(dict.fromkeys(names, value)), observed(earlier)):
        said = () if found is None else (*found.input, *found.output)
        assert all(isinstance(message["content"], str) for message in said)
        assert all(message["role"] in ROLES.values() for message in said)


def test_attributes_are_nested_as_deep_in_json_as_in_protobuf() -> None:
    """What one encoding takes, the other takes as well."""
    nested: dict[str, Any] = {"stringValue": "end"}
    for _ in range(25):
        nested = {"kvlistValue": {"values": [{"key": "k", "value": nested}]}}
    one = {"traceId": "1" * 32, "spanId": "2" * 16, "attributes": [{"key": "a", "value": nested}]}
    document = {"resourceSpans": [{"scopeSpans": [{"spans": [one]}]}]}
    (found,) = decode(json.dumps(document).encode(), JSON)
    assert json.dumps(found.attributes()["a"]).count("{") == 25
