"""Checks of what an agent did: its tool calls, their order and their number.

`tool_calls` reads the calls from the case's output. `compare` decides when two calls are the
same: by `arguments` (name and arguments, as JSON values) or by `name`. An expected call without
arguments accepts any arguments.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from assay.criteria.base import Check, Finding, Need
from assay.criteria.deterministic.bounds import CountCheck
from assay.criteria.deterministic.findings import binary_finding, shortened
from assay.criteria.deterministic.schema_validation import SchemaValidator, is_plain
from assay.criteria.deterministic.tool_calls import (
    ToolCall,
    UnreadableArguments,
    expected_calls,
    is_expected_call,
    output_calls,
    output_messages,
    parameter_schemas,
)
from assay.criteria.registry import criterion
from assay.domain.case_text import ASSISTANT_ROLES
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case

FAULTS_SHOWN_MAX = 5
NAME_CHARS_MAX = 100
CALLS_MAX = 1_000
"""Most calls in an output or expected; matching them takes time in proportion to the product."""

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


@criterion
class ToolCallValid(Check):
    """The share of the output's tool calls that name an offered tool and fit its schema, 0 to 1.

    The tools are the case's `tools`, each with a JSON Schema of its parameters; references must
    stay within the schema. `value` has the counts `calls` and `valid`. An output without a call
    scores 0. Source: https://json-schema.org/draft/2020-12.
    """

    family: ClassVar[str] = "tools"
    inline_work_max: ClassVar[int] = 5_000
    """Half of it is schemas and half calls at the worst, so six million steps of about 1 ns."""

    needs: ClassVar[tuple[Need, ...]] = ("tools",)
    example: ClassVar = {
        "output": [weather_call("Paris")],
        "tools": [WEATHER_TOOL],
        "criteria": [{"type": "tool_call_valid"}],
    }
    example_result: ClassVar = {"score": 1.0, "passed": True}

    type: Literal["tool_call_valid"]

    def work(self, size: int, case: Case) -> float:
        if size > self.inline_work_max:
            return size
        schemas = parameter_schemas(case).values()
        return size if all(schema is None or is_plain(schema) for schema in schemas) else math.inf

    def check(self, case: Case) -> Finding:
        if not case.tools:
            raise NotApplicable("context_missing", "the case has no tools")
        calls = _limited(output_calls(case))
        validators = {
            name: _validator(name, schema) for name, schema in parameter_schemas(case).items()
        }
        faults = [fault for call in calls for fault in _faults(call, validators)]
        valid = len(calls) - len(faults)
        return Finding(
            valid / len(calls) if calls else 0.0,
            value={"calls": len(calls), "valid": valid},
            explanation="; ".join(faults[:FAULTS_SHOWN_MAX])
            or (f"{valid} valid calls" if calls else "the output calls no tool"),
        )


class _ExpectedCallsCheck(Check):
    """Compares the calls with the case's `expected_tools`."""

    family: ClassVar[str] = "tools"
    needs: ClassVar[tuple[Need, ...]] = ("expected_tools",)
    inline_work_max: ClassVar[int] = 2_000  # time grows with the product of the two lists

    compare: Compare = Field(default="arguments", description="What makes two calls the same.")

    def check(self, case: Case) -> Finding:
        expected = _limited(expected_calls(case))
        if not expected:
            raise NotApplicable("reference_missing", "the case expects no tools")
        return self.compared(_limited(output_calls(case)), expected)

    @abstractmethod
    def compared(self, calls: Sequence[ToolCall], expected: Sequence[ToolCall]) -> Finding:
        """The finding for the calls; `expected` has at least one."""

    def pairs(self, calls: Sequence[ToolCall], expected: Sequence[ToolCall]) -> int:
        """How many calls can be paired with an expected one, each used once."""
        unpaired = list(calls)
        # Expected calls that accept any arguments come last: they must not take the only match of
        # another one.
        for wanted in sorted(expected, key=lambda call: call.arguments is None):
            for index, call in enumerate(unpaired):
                if self.matches(call, wanted):
                    del unpaired[index]
                    break
        return len(calls) - len(unpaired)

    def matches(self, call: ToolCall, expected: ToolCall) -> bool:
        """Whether the call is the expected one, as `compare` has it."""
        return is_expected_call(call, expected, compare_arguments=self.compare == "arguments")


@criterion
class ToolCallF1(_ExpectedCallsCheck):
    """The harmonic mean of precision and recall over the expected tool calls, 0 to 1.

    Order is ignored; a call made twice must be expected twice. `value` has `precision` and
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
        matched = self.pairs(calls, expected)
        return Finding(
            2 * matched / (len(calls) + len(expected)),
            value={
                "precision": matched / len(calls) if calls else 0.0,
                "recall": matched / len(expected),
            },
            explanation=f"{matched} of {len(calls)} calls are among the {len(expected)} expected",
        )


@criterion
class Trajectory(_ExpectedCallsCheck):
    """1 where the tool calls are those expected, else 0.

    `mode` is `strict` (the same calls in the same order), `unordered` (the same calls in any
    order), `subset` (no call that is not expected) or `superset` (every expected call, and
    perhaps others).
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
        matched = self.pairs(calls, expected)
        unexpected, missing = len(calls) - matched, len(expected) - matched
        complete = unexpected == missing == 0
        in_order = complete and all(map(self.matches, calls, expected))
        holds = {
            "strict": in_order,
            "unordered": complete,
            "subset": unexpected == 0,
            "superset": missing == 0,
        }[self.mode]
        explanation = f"{unexpected} calls not expected, {missing} expected calls missing"
        if self.mode == "strict" and complete and not in_order:
            explanation = "the expected calls, in another order"
        return binary_finding(holds, explanation)


@criterion
class StepCount(CountCheck):
    """1 where the agent took from `min` to `max` steps, else 0; `value` is their number.

    A step is a tool call, or with `count` set to `messages` a message of the assistant.
    """

    family: ClassVar[str] = "tools"
    inline_work_max: ClassVar[int] = 10_000
    example: ClassVar = {
        "output": [weather_call("Paris"), {"role": "assistant", "content": "It is sunny."}],
        "criteria": [{"type": "step_count", "max": 3}],
    }
    example_result: ClassVar = {"score": 1.0, "passed": True}

    type: Literal["step_count"]
    count: Literal["tool_calls", "messages"] = "tool_calls"

    def count_in(self, case: Case) -> int:
        if self.count == "tool_calls":
            return len(output_calls(case))
        return sum(
            isinstance(message, Mapping) and message.get("role") in ASSISTANT_ROLES
            for message in output_messages(case)
        )


def _limited(calls: tuple[ToolCall, ...]) -> tuple[ToolCall, ...]:
    if len(calls) > CALLS_MAX:
        raise NotApplicable("input_too_long", f"there are more than {CALLS_MAX} tool calls")
    return calls


def _validator(name: str, schema: Any) -> SchemaValidator:
    try:
        return SchemaValidator(True if schema is None else schema)
    except ValueError:
        shown = shortened(name, NAME_CHARS_MAX)
        raise NotApplicable("check_error", f"the schema of tool {shown!r} is not valid") from None


def _faults(call: ToolCall, validators: Mapping[str, SchemaValidator]) -> list[str]:
    """What is wrong with the call, at most one fault."""
    name = shortened(call.name, NAME_CHARS_MAX)
    if call.name not in validators:
        return [f"{name} is not among the tools"]
    if isinstance(call.arguments, UnreadableArguments):
        return [f"{name}: the arguments are not JSON"]
    arguments = {} if call.arguments is None else call.arguments
    return [f"{name}: {fault}" for fault in validators[call.name].faults(arguments)]
