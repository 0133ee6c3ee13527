"""Reads the tool calls in an agent's output.

The shapes are OpenAI's chat messages (`tool_calls`, and `function_call` of old), OpenAI's Responses
items (`function_call`, `custom_tool_call`, built-in calls such as `web_search_call`), Anthropic's
content blocks (`tool_use`), Gemini's parts (`functionCall`), Bedrock's blocks (`toolUse`), whole
responses with any of them, and plain `{"name": …, "arguments": …}`. Arguments are JSON text or an
object. An output that is a text is parsed as JSON of any of these, in a ``` block or bare. What
looks like a call of another shape raises `NotApplicable`: it must not pass for an output without
calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from assay.criteria.deterministic.normalization import parse_json, without_fence
from assay.domain.case_text import content_text
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case

CALL_TYPES = frozenset(
    {"function", "tool_use", "server_tool_use", "mcp_tool_use", "tool-call", "custom"}
)
"""The types of calls that do not end in `_call`."""
CALL_FIELDS = frozenset(
    {"tool_calls", "toolCalls", "tool_call", "toolCall", "function_call", "functionCall"}
    | {"tool_use", "toolUse"}
)
RESPONSE_FIELDS = ("messages", "message", "choices", "candidates", "output")
"""What holds the messages of a whole response."""
CALLS_NOTHING = ("user", "system", "developer", "tool", "function")
"""The roles whose messages call no tool."""
CONTENT_FIELDS = ("content", "parts")
NAME_FIELDS = ("name", "toolName", "tool_name")
ARGUMENT_FIELDS = ("arguments", "input", "args", "parameters", "action")
IDENTIFIER_FIELDS = ("id", "call_id", "toolUseId", "toolCallId")
CALL_ONLY_FIELDS = frozenset({*NAME_FIELDS, *IDENTIFIER_FIELDS, "type", "index", "status"})

MARKUP = re.compile(r"<\|?(?:tool_call|function_call|tool_use|function=|invoke )|\[TOOL_CALLS\]")
"""How calls begin in the raw text of models whose server did not parse them."""
NAME_WORD = re.compile(r"[A-Z]?[a-z]+")
CALLING_WORDS = frozenset({"tool", "function", "call", "calls", "action", "actions"})
ASIDE_WORDS = frozenset({"id", "ids", "choice", "config", "reason", "result", "results"})
ASIDE_WORDS |= {"response", "responses", "output", "outputs"}
"""Words in names of what only belongs to calls, such as the results of tools."""
_ABSENT: Final = object()


class UnreadableArguments:
    """Arguments that are not JSON; equal only to themselves."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call; `arguments` is a JSON value, `UnreadableArguments`, or None where absent."""

    name: str
    arguments: Any = None


def output_calls(case: Case) -> tuple[ToolCall, ...]:
    """All calls in the case's output, in order; raises `NotApplicable` for an unknown shape."""
    return tuple(call for message in output_messages(case) for call in _calls_in(message))


def output_messages(case: Case) -> Sequence[Any]:
    """The output as messages; a text that is not JSON is one assistant message."""
    if not isinstance(case.output, str):
        return case.output
    try:
        value = parse_json(without_fence(case.output))
    except ValueError:
        value = None
    if isinstance(value, Mapping):
        return (value,)
    return value if isinstance(value, list) else ({"role": "assistant", "content": case.output},)


def expected_calls(case: Case) -> tuple[ToolCall, ...]:
    """The calls that the case expects; one without arguments accepts any arguments."""
    return tuple(call for tool in case.expected_tools for call in _calls_in(tool))


def is_expected_call(call: ToolCall, expected: ToolCall, *, compare_arguments: bool) -> bool:
    """Whether name and, with `compare_arguments`, the arguments are those of the expected call."""
    if call.name != expected.name:
        return False
    if not compare_arguments or expected.arguments is None:
        return True
    return json_equal({} if call.arguments is None else call.arguments, expected.arguments)


def json_equal(one: Any, other: Any) -> bool:
    """Equality of JSON values: 1 equals 1.0, true is not 1, and the order of keys is ignored."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(json_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(json_equal, one, other))
    return bool(one == other)


def parameter_schemas(case: Case) -> dict[str, Any]:
    """The JSON Schema of the parameters of each tool that the case offers; None where absent."""
    schemas: dict[str, Any] = {}
    for tool in case.tools:
        function = tool.get("function")
        described = function if isinstance(function, Mapping) else tool
        schema = _first(described, "parameters", "input_schema", "inputSchema")
        schemas[str(described.get("name"))] = None if schema is _ABSENT else schema
    return schemas


def _calls_in(item: Any) -> Iterator[ToolCall]:
    """The calls in a message, an item or a whole response."""
    if not isinstance(item, Mapping) or item.get("role") in CALLS_NOTHING:
        return
    if "role" not in item and _is_call(item):
        yield _call(item)
        return
    messages = [inner for field in RESPONSE_FIELDS for inner in _listed(item.get(field))]
    for message in messages:
        yield from _calls_in(message)
    seen: set[str] = set()
    for call in _own_calls(item):
        # Some libraries list the calls in a message's content a second time.
        identifier = _first(call, *IDENTIFIER_FIELDS)
        if not isinstance(identifier, str) or identifier not in seen:
            yield _call(call)
        if isinstance(identifier, str):
            seen.add(identifier)
    if item.keys().isdisjoint(("role", "type", *RESPONSE_FIELDS, *CONTENT_FIELDS, *CALL_FIELDS)):
        raise _unknown_shape()


def _own_calls(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The calls in a message's content and beside it, as they were written."""
    for field in CONTENT_FIELDS:
        for block in _listed(message.get(field)):
            if _has_call_type(block):
                yield block
            else:
                yield from _own_calls(block)
        if MARKUP.search(content_text(message.get(field))):
            raise _unknown_shape()
    for field, value in message.items():
        if field in CALL_FIELDS and (calls := _listed(value)):
            yield from calls
        elif _is_calling(field) and isinstance(value, Mapping | list | tuple) and value:
            raise _unknown_shape()
    if _is_calling(str(message.get("type", ""))):
        raise _unknown_shape()


def _is_call(item: Mapping[str, Any]) -> bool:
    """Whether an item without a role is itself a call; a tool's result may have its name too."""
    if _has_call_type(item) or isinstance(item.get("function"), Mapping):
        return True
    is_result = str(item.get("type", "")).endswith(("_output", "_result"))
    is_named = not item.keys().isdisjoint(NAME_FIELDS) and not is_result
    return is_named and (
        item.keys() <= CALL_ONLY_FIELDS or not item.keys().isdisjoint(ARGUMENT_FIELDS)
    )


def _has_call_type(block: Mapping[str, Any]) -> bool:
    type_ = str(block.get("type", ""))
    return type_ in CALL_TYPES or type_.endswith("_call")


def _is_calling(name: str) -> bool:
    """Whether a field or type of this name may hold calls."""
    words = {word.lower() for word in NAME_WORD.findall(name)}
    return not words.isdisjoint(CALLING_WORDS) and words.isdisjoint(ASIDE_WORDS)


def _call(call: Mapping[str, Any]) -> ToolCall:
    type_ = str(call.get("type", ""))
    inner = _first(call, "function", "custom")
    named = inner if isinstance(inner, Mapping) else call
    name = _first(named, *NAME_FIELDS)
    if name is _ABSENT and type_.endswith("_call"):
        name = type_.removesuffix("_call")  # a built-in tool
    if not isinstance(name, str) or not name:
        raise _unknown_shape()
    arguments = _first(named, *ARGUMENT_FIELDS)
    if arguments is not _ABSENT and arguments is named.get("parameters") and _is_schema(arguments):
        arguments = _ABSENT  # the tool's definition stands for any call of it
    is_free_text = type_.startswith("custom")
    return ToolCall(name, arguments if is_free_text else _parsed_arguments(arguments))


def _is_schema(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("type") == "object" and "properties" in value


def _listed(value: Any) -> list[Mapping[str, Any]]:
    """The objects in a value that is one, or a list of them."""
    values = value if isinstance(value, list | tuple) else (value,)
    return [item for item in values if isinstance(item, Mapping)]


def _first(fields: Mapping[str, Any], *names: str) -> Any:
    """The first of the named fields that there is, or `_ABSENT`."""
    return next((fields[name] for name in names if name in fields), _ABSENT)


def _parsed_arguments(arguments: Any) -> Any:
    if arguments is _ABSENT:
        return None
    if not isinstance(arguments, str):
        return {} if arguments is None else arguments
    try:
        # Agents write an empty text where there are no arguments.
        return parse_json(arguments) if arguments.strip() else {}
    except ValueError:
        return UnreadableArguments()


def _unknown_shape() -> NotApplicable:
    return NotApplicable("check_error", "the case has a tool call of a shape that is not known")
