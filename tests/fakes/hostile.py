"""Requests of a few kilobytes that once stopped the event loop for seconds, or for ever."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Fields = Mapping[str, Any]

DOUBLING = {
    "$defs": {
        **{f"a{i}": {"allOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(40)},
        "a40": {"type": "object"},
    },
    "$ref": "#/$defs/a0",
}
"""Forty references, each of which doubles the work of the one before it."""


def _unevaluated(depth: int) -> Fields:
    """Each level asks all levels below it again which properties they have seen."""
    schema: Fields = {"properties": {"a": True}}
    for _ in range(depth):
        schema = {"anyOf": [schema], "unevaluatedProperties": False}
    return schema


def _check(output: Any, *criteria: Fields, **case: Any) -> Fields:
    return {"output": output, "criteria": list(criteria), **case}


def _call(arguments: str) -> Fields:
    call = {"type": "function", "function": {"name": "f", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _tool(parameters: Any) -> Fields:
    return {"type": "function", "function": {"name": "f", "parameters": parameters}}


def _slow_to_compile(number: int) -> Fields:
    classes = "".join(rf"\p{{L}}{{0,{9 + number % 3}}}[^\x{{{number + 65:x}}}]" for _ in range(12))
    return {"type": "regex", "name": str(number), "pattern": classes}


MEMBERS: Fields = {f"k{i}": "x" * 15_000 for i in range(100)}
PATHS = " ".join(f"{{{{sample.output_json.k{i}}}}}" for i in range(100))

REQUESTS: Mapping[str, Fields] = {
    "tool_schema_doubles": _check(
        [_call("{}")], {"type": "tool_call_valid"}, tools=[_tool(DOUBLING)]
    ),
    "schema_unevaluated": _check('{"a": 1}', {"type": "json_schema", "schema": _unevaluated(28)}),
    "schema_doubles": _check("{}", {"type": "json_schema", "schema": DOUBLING}),
    "regex_counted": _check("a" * 40_000, {"type": "regex", "pattern": "(a?)" * 400 + "a{900}b"}),
    "regexes_slow_to_compile": _check("a", *(_slow_to_compile(number) for number in range(10))),
    "numeric_any": _check(
        " ".join(str(n) for n in range(1_000)),
        {"type": "numeric", "which": "any"},
        reference=[str(-n) for n in range(300)],
    ),
    "numeric_exponents": _check(" 1.7e-999" * 550, {"type": "numeric", "value": 1}),
    "sentence_dots": _check("." * 49_000 + "a", {"type": "sentence_count", "max": 3}),
    "readability_dots": _check("." * 4_900 + "a", {"type": "readability"}),
    "readability_words": _check("a-" * 2_400, {"type": "readability"}),
    "combining_marks": _check("a" + "\u0301\u0327" * 10_000, {"type": "equals", "value": "a"}),
    "grades_of_text": _check(
        "a",
        *(
            {"type": "mrr", "name": str(n), "relevant": {f"{i:x}": "x" for i in range(1_900)}}
            for n in range(64)
        ),
    ),
    "brackets": _check("a", {"type": "equals", "value": "a"}, tools=[{"a": [[]] * 500_000}]),
    "brackets_in_schema": _check("1", {"type": "json_schema", "schema": {"enum": [[]] * 500_000}}),
    "grader_paths": _check(
        json.dumps(MEMBERS),
        *(
            {
                "type": "label_model",
                "name": str(n),
                "model": "simulated/judge",
                "input": [{"role": "user", "content": PATHS}],
                "labels": ["a", "b"],
                "passing_labels": ["a"],
            }
            for n in range(16)
        ),
    ),
    "template_paths": _check(
        json.dumps(MEMBERS),
        *(
            {
                "type": "string_check",
                "name": str(n),
                "operation": "eq",
                "input": PATHS,
                "reference": "a",
            }
            for n in range(16)
        ),
    ),
}
"""Bodies of POST /v1/evaluations, each by what it attacks."""
