"""The tool calls in an agent's output, in the shapes that agents write them.

Understood are OpenAI's chat messages (`tool_calls`, arguments as JSON text or object) and
Responses items (`function_call`), Anthropic's content blocks (`tool_use`), and plain
`{"name": …, "arguments": …}`; an output given as text is read as the JSON of any of these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from assay.domain.evaluation import Case

_ABSENT: Final = object()


class Unreadable:
    """Stands for arguments that are not JSON; equal to nothing but itself."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call; `arguments` is a JSON value, `Unreadable`, or None where none are named."""

    name: str
    arguments: Any = None


def calls_of(case: Case) -> tuple[ToolCall, ...]:
    """All calls in the case's output, in order."""
    return tuple(call for message in messages_of(case) for call in _calls_in(message))


def messages_of(case: Case) -> Sequence[Any]:
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


def expected_of(case: Case) -> tuple[ToolCall, ...]:
    """The calls that the case expects; one without arguments accepts any."""
    return tuple(call for each in case.expected_tools for call in _calls_in(each))


def same(call: ToolCall, expected: ToolCall, *, arguments: bool) -> bool:
    """Whether a call is the expected one: by name, and by arguments where these are compared."""
    if call.name != expected.name:
        return False
    if not arguments or expected.arguments is None:
        return True
    return equal(call.arguments, expected.arguments)


def equal(one: Any, other: Any) -> bool:
    """Equality of JSON values: 1 is 1.0, but true is not 1, and the order of keys is nothing."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def schemas_of(case: Case) -> Mapping[str, Any]:
    """The parameter schema of each tool that the case offers; None where it states none."""
    schemas: dict[str, Any] = {}
    for tool in case.tools:
        function = tool.get("function")
        described = function if isinstance(function, Mapping) else tool
        schema = next(
            (
                described[field]
                for field in ("parameters", "input_schema", "inputSchema")
                if field in described
            ),
            None,
        )
        schemas[str(described.get("name"))] = schema
    return schemas


def _calls_in(message: Any) -> Iterator[ToolCall]:
    if not isinstance(message, Mapping):
        return
    calls = message.get("tool_calls")
    if isinstance(calls, list | tuple):
        yield from (_call(each) for each in calls if isinstance(each, Mapping))
    content = message.get("content")
    if isinstance(content, list | tuple):
        blocks = (each for each in content if isinstance(each, Mapping))
        yield from (_call(block) for block in blocks if block.get("type") == "tool_use")
    # A tool's answer may carry the name of its tool, and is no call.
    answer = "role" in message or str(message.get("type", "")).endswith(("_output", "_result"))
    if not answer and ("name" in message or "function" in message):
        yield _call(message)


def _call(call: Mapping[str, Any]) -> ToolCall:
    function = call.get("function")
    named = function if isinstance(function, Mapping) else call
    arguments = next(
        (named[field] for field in ("arguments", "input", "args") if field in named), _ABSENT
    )
    return ToolCall(str(named.get("name")), _value(arguments))


def _value(arguments: Any) -> Any:
    if arguments is _ABSENT:
        return None
    if not isinstance(arguments, str):
        return {} if arguments is None else arguments
    try:
        # Agents write no arguments as an empty text.
        return orjson.loads(arguments) if arguments.strip() else {}
    except ValueError:
        return Unreadable()
