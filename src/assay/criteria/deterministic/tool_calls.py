"""Reads the tool calls in an agent's output.

The shapes are OpenAI's chat messages (`tool_calls`, arguments as JSON text or object), OpenAI's
Responses items (`function_call`), Anthropic's content blocks (`tool_use`) and plain
`{"name": …, "arguments": …}`. An output that is a text is parsed as JSON of any of these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from assay.domain.evaluation import Case

_ABSENT: Final = object()


class UnreadableArguments:
    """Arguments that are not JSON; equal only to themselves."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call; `arguments` is a JSON value, `UnreadableArguments`, or None where absent."""

    name: str
    arguments: Any = None


def output_calls(case: Case) -> tuple[ToolCall, ...]:
    """All calls in the case's output, in order."""
    return tuple(call for message in output_messages(case) for call in _calls_in(message))


def output_messages(case: Case) -> Sequence[Any]:
    """The output as messages; a text that is not JSON is one assistant message."""
    if not isinstance(case.output, str):
        return case.output
    try:
        value = orjson.loads(case.output)
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
    return json_equal(call.arguments, expected.arguments)


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


def _calls_in(message: Any) -> Iterator[ToolCall]:
    if not isinstance(message, Mapping):
        return
    calls = message.get("tool_calls")
    if isinstance(calls, list | tuple):
        yield from (_call(call) for call in calls if isinstance(call, Mapping))
    content = message.get("content")
    if isinstance(content, list | tuple):
        blocks = (block for block in content if isinstance(block, Mapping))
        yield from (_call(block) for block in blocks if block.get("type") == "tool_use")
    # The result of a tool may carry the name of the tool, and is no call.
    is_result = "role" in message or str(message.get("type", "")).endswith(("_output", "_result"))
    if not is_result and ("name" in message or "function" in message):
        yield _call(message)


def _call(call: Mapping[str, Any]) -> ToolCall:
    function = call.get("function")
    named = function if isinstance(function, Mapping) else call
    arguments = _first(named, "arguments", "input", "args")
    return ToolCall(str(named.get("name")), _parsed_arguments(arguments))


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
        return orjson.loads(arguments) if arguments.strip() else {}
    except ValueError:
        return UnreadableArguments()
