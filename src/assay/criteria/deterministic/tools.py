"""Checks of what an agent did: its tool calls, their order and their number.

The calls are read from the case's output, see tool_calls.py. `compare` says when two calls are
the same: `arguments` (name and arguments, as JSON values) or `name`. An expected call without
arguments accepts any.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import jsonschema_rs
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from assay.criteria.base import Check, Finding, Need
from assay.criteria.deterministic.tool_calls import (
    ToolCall,
    Unreadable,
    calls_of,
    expected_of,
    messages_of,
    same,
    schemas_of,
)
from assay.criteria.registry import criterion
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case

FAULTS_SHOWN_MAX = 5
MESSAGE_CHARS_MAX = 200
CALLS_MAX = 1_000
"""Longest list of calls, said or expected; matching two lists costs their product."""

Compare = Literal["arguments", "name"]

WEATHER_TOOL: Mapping[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def weather_call(city: str) -> Mapping[str, Any]:
    """An assistant message that calls the tool of the examples."""
    arguments = f'{{"city": "{city}"}}'
    call = {"type": "function", "function": {"name": "weather", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


class _Tools(Check):
    family: ClassVar[str] = "tools"
    inline_chars_max: ClassVar[int] = 20_000


@criterion
class ToolCallValid(_Tools):
    """The share of the output's tool calls that name an offered tool and fit its schema, 0 to 1.

    The tools are the case's `tools`, each with a JSON Schema of its parameters that must not
    refer outside of itself. `value` has the counts `calls` and `valid`. An output without a call
    scores 0. Source: https://json-schema.org/draft/2020-12.
    """

    needs: ClassVar[tuple[Need, ...]] = ("tools",)
    example: ClassVar = {
        "output": [weather_call("Paris")],
        "tools": [WEATHER_TOOL],
        "criteria": [{"type": "tool_call_valid"}],
    }
    example_result: ClassVar = {"score": 1.0, "passed": True}

    type: Literal["tool_call_valid"]

    def check(self, case: Case) -> Finding:
        if not case.tools:
            raise NotApplicable("context_missing", "the case has no tools")
        calls = _countable(calls_of(case))
        validators = {name: _validator(name, schema) for name, schema in schemas_of(case).items()}
        faults = [fault for call in calls if (fault := _fault(call, validators)) is not None]
        valid = len(calls) - len(faults)
        return Finding(
            valid / len(calls) if calls else 0.0,
            value={"calls": len(calls), "valid": valid},
            explanation="; ".join(faults[:FAULTS_SHOWN_MAX])
            or (f"{valid} valid calls" if calls else "the output calls no tool"),
        )


class _Expecting(_Tools):
    """Compares the calls with the case's `expected_tools`."""

    needs: ClassVar[tuple[Need, ...]] = ("expected_tools",)
    inline_chars_max: ClassVar[int] = 2_000  # matching costs the product of the two lists

    compare: Compare = Field(default="arguments", description="What makes two calls the same.")

    def check(self, case: Case) -> Finding:
        expected = _countable(expected_of(case))
        if not expected:
            raise NotApplicable("reference_missing", "the case expects no tools")
        return self.compared(_countable(calls_of(case)), expected)

    @abstractmethod
    def compared(self, calls: Sequence[ToolCall], expected: Sequence[ToolCall]) -> Finding:
        """The finding over the calls and those expected, of which there is at least one."""

    def matches(self, calls: Sequence[ToolCall], expected: Sequence[ToolCall]) -> int:
        """How many calls can be paired with an expected one, each used once."""
        left = list(calls)
        # Those that accept any arguments choose last, so that they take nobody's only match.
        for wanted in sorted(expected, key=lambda each: each.arguments is None):
            for place, call in enumerate(left):
                if same(call, wanted, arguments=self.compare == "arguments"):
                    del left[place]
                    break
        return len(calls) - len(left)


@criterion
class ToolCallF1(_Expecting):
    """The harmonic mean of precision and recall over the expected tool calls, 0 to 1.

    Order is nothing; a call made twice must be expected twice. `value` has `precision` and
    `recall`. Source: Manning et al., "Introduction to Information Retrieval", 2008, section 8.3.
    """

    default_threshold: ClassVar[float] = 0.5
    example: ClassVar = {
        "output": [weather_call("Paris"), weather_call("Rome")],
        "expected_tools": [{"name": "weather", "arguments": {"city": "Paris"}}],
        "criteria": [{"type": "tool_call_f1"}],
    }
    example_result: ClassVar = {"score": 2 / 3, "passed": True}

    type: Literal["tool_call_f1"]

    def compared(self, calls: Sequence[ToolCall], expected: Sequence[ToolCall]) -> Finding:
        matched = self.matches(calls, expected)
        return Finding(
            2 * matched / (len(calls) + len(expected)),
            value={
                "precision": matched / len(calls) if calls else 0.0,
                "recall": matched / len(expected),
            },
            explanation=f"{matched} of {len(calls)} calls are among the {len(expected)} expected",
        )


@criterion
class Trajectory(_Expecting):
    """1 where the tool calls are those expected, else 0.

    `mode`: `strict` the same calls in the same order; `unordered` the same in any order;
    `subset` no call that is not expected; `superset` every expected call, and perhaps others.
    """

    scale: ClassVar[str] = "0 or 1"
    example: ClassVar = {
        "output": [weather_call("Rome"), weather_call("Paris")],
        "expected_tools": [
            {"name": "weather", "arguments": {"city": "Paris"}},
            {"name": "weather", "arguments": {"city": "Rome"}},
        ],
        "criteria": [{"type": "trajectory", "mode": "unordered"}],
    }
    example_result: ClassVar = {"score": 1.0, "passed": True}

    type: Literal["trajectory"]
    mode: Literal["strict", "unordered", "subset", "superset"] = "strict"

    def compared(self, calls: Sequence[ToolCall], expected: Sequence[ToolCall]) -> Finding:
        matched = self.matches(calls, expected)
        surplus, missing = len(calls) - matched, len(expected) - matched
        holds = {
            "strict": surplus == missing == 0 and self._in_order(calls, expected),
            "unordered": surplus == missing == 0,
            "subset": surplus == 0,
            "superset": missing == 0,
        }[self.mode]
        explanation = f"{surplus} calls not expected, {missing} expected calls missing"
        if self.mode == "strict" and not holds and surplus == missing == 0:
            explanation = "the expected calls, in another order"
        return Finding(float(holds), value=holds, explanation=explanation)

    def _in_order(self, calls: Sequence[ToolCall], expected: Sequence[ToolCall]) -> bool:
        compared = zip(calls, expected, strict=True)
        return all(same(*pair, arguments=self.compare == "arguments") for pair in compared)


@criterion
class StepCount(_Tools):
    """1 where the agent took from `min` to `max` steps, else 0; `value` is their number.

    A step is a tool call, or with `count` `messages` a message of the assistant.
    """

    scale: ClassVar[str] = "0 or 1"
    example: ClassVar = {
        "output": [weather_call("Paris"), {"role": "assistant", "content": "It is sunny."}],
        "criteria": [{"type": "step_count", "max": 3}],
    }
    example_result: ClassVar = {"score": 1.0, "passed": True}

    type: Literal["step_count"]
    count: Literal["tool_calls", "messages"] = "tool_calls"
    min: int | None = Field(default=None, ge=0)
    max: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.min is None and self.max is None:
            raise PydanticCustomError("no_bound", "give min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise PydanticCustomError("bounds_crossed", "min is greater than max")
        return self

    def check(self, case: Case) -> Finding:
        if self.count == "tool_calls":
            steps = len(calls_of(case))
        else:
            steps = sum(_assistants(message) for message in messages_of(case))
        enough = self.min is None or steps >= self.min
        holds = enough and (self.max is None or steps <= self.max)
        return Finding(float(holds), value=steps, explanation=f"{steps} {self.count}")


def _assistants(message: Any) -> bool:
    return isinstance(message, Mapping) and message.get("role") == "assistant"


def _countable(calls: tuple[ToolCall, ...]) -> tuple[ToolCall, ...]:
    if len(calls) > CALLS_MAX:
        raise NotApplicable("input_too_long", f"more than {CALLS_MAX} tool calls")
    return calls


def _validator(name: str, schema: Any) -> Any:
    try:
        return jsonschema_rs.validator_for(
            True if schema is None else schema,
            retriever=_no_retrieval,
            # The default engine backtracks; a schema of the caller's must not stall a worker.
            pattern_options=jsonschema_rs.RegexOptions(),
        )
    except (ValueError, jsonschema_rs.ReferencingError):
        raise NotApplicable(
            "check_error", f"the schema of tool {name[:100]!r} is not valid"
        ) from None


def _no_retrieval(uri: str) -> Any:
    raise ValueError(f"{uri} is outside of the schema")


def _fault(call: ToolCall, validators: Mapping[str, Any]) -> str | None:
    shown = call.name[:100]
    if call.name not in validators:
        return f"{shown} is not among the tools"
    if isinstance(call.arguments, Unreadable):
        return f"{shown}: the arguments are not JSON"
    arguments = {} if call.arguments is None else call.arguments
    error = next(validators[call.name].iter_errors(arguments), None)
    return None if error is None else f"{shown}: {error.message[:MESSAGE_CHARS_MAX]}"
