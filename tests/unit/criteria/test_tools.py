"""Tool calls in the shapes that agents write them, and what is checked of them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from assay.criteria.deterministic.tool_calls import ToolCall, json_equal, output_calls
from assay.criteria.deterministic.tools import StepCount, ToolCallF1, ToolCallValid, Trajectory
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}


def said(*calls: tuple[str, object]) -> tuple[dict, ...]:
    """One assistant message with calls in OpenAI's chat shape."""
    return (
        {
            "role": "assistant",
            "tool_calls": [
                {"type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
                for name, arguments in calls
            ],
        },
    )


def expecting(output, *expected) -> Case:
    return Case(output, expected_tools=tuple({"name": n, "arguments": a} for n, a in expected))


PARIS = {"city": "Paris"}
PARIS_TEXT = json.dumps(PARIS)
GEMINI = {"name": "weather", "args": PARIS}
BEDROCK = {"toolUseId": "1", "name": "weather", "input": PARIS}
VERCEL = {"toolCallId": "1", "toolName": "weather", "input": PARIS}
SAID_PARIS = said(("weather", PARIS))[0]
A, B, C = ("a", {"x": 1}), ("b", {}), ("c", {"y": [1, "2"]})


@pytest.mark.parametrize(
    "output",
    [
        said(("weather", {"city": "Paris"})),
        (
            {
                "role": "assistant",
                "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Paris"}}}],
            },
        ),
        (
            {"type": "function_call", "name": "weather", "arguments": '{"city": "Paris"}'},
            {"type": "function_call_output", "call_id": "1", "output": "sunny"},
        ),
        (
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Let me look."},
                    {"type": "tool_use", "id": "1", "name": "weather", "input": {"city": "Paris"}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1"}]},
        ),
        ({"name": "weather", "arguments": {"city": "Paris"}},),
        json.dumps(said(("weather", {"city": "Paris"}))),
        '{"name": "weather", "arguments": {"city": "Paris"}}',
        '```json\n{"name": "weather", "parameters": {"city": "Paris"}}\n```',
        ({"role": "assistant", "function_call": {"name": "weather", "arguments": PARIS_TEXT}},),
        ({"role": "model", "parts": [{"functionCall": {"name": "weather", "args": PARIS}}]},),
        ({"role": "assistant", "content": [{"toolUse": {"name": "weather", "input": PARIS}}]},),
        ({"role": "assistant", "content": [{"type": "tool-call", **VERCEL}]},),
        (
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "1", "name": "weather", "input": PARIS}],
                "tool_calls": [{"id": "1", "name": "weather", "args": PARIS}],
            },
        ),
        json.dumps({"functionCall": {"name": "weather", "args": PARIS}}),
        json.dumps({"choices": [{"finish_reason": "tool_calls", "message": SAID_PARIS}]}),
        json.dumps({"candidates": [{"content": {"parts": [{"functionCall": GEMINI}]}}]}),
        json.dumps(
            {"output": {"message": {"role": "assistant", "content": [{"toolUse": BEDROCK}]}}}
        ),
        json.dumps(
            {
                "output": [
                    {"type": "reasoning", "summary": []},
                    {"type": "function_call", "name": "weather", "arguments": PARIS_TEXT},
                ],
                "tools": [{"type": "function", "name": "weather", "parameters": {}}],
                "parallel_tool_calls": True,
                "tool_choice": "auto",
            }
        ),
        (
            *said(("weather", {"city": "Paris"})),
            {"role": "tool", "name": "weather", "content": "sunny"},
        ),
    ],
)
def test_calls_are_read_in_every_shape(output):
    """OpenAI, Anthropic, Gemini, Bedrock, plain, whole responses, and any of them as JSON text."""
    assert output_calls(Case(output)) == (ToolCall("weather", {"city": "Paris"}),)


@pytest.mark.parametrize(
    "output",
    [
        '{"tool": "weather", "query": "Paris"}',
        '{"action": "weather", "action_input": "Paris"}',
        '{"name": "Ada", "age": 36}',
        "<tool_call>weather(city=Paris)</tool_call>",
        ({"role": "assistant", "tool_calls": ["weather(city=Paris)"]},),
        ({"role": "assistant", "tool_calls": [{"id": "1"}]},),
        ({"role": "assistant", "toolInvocations": [{"weather": PARIS}]},),
        ({"role": "assistant", "content": [{"type": "tool_request", "tool": "weather"}]},),
    ],
)
def test_a_call_of_an_unknown_shape_is_not_a_missing_call(output):
    """It is unscored: neither 0 of the expected calls, nor the right number of none."""
    case = Case(output, tools=(TOOL,), expected_tools=({"name": "weather"},))
    for check in (
        ToolCallValid(type="tool_call_valid"),
        ToolCallF1(type="tool_call_f1"),
        Trajectory(type="trajectory", mode="subset"),
        StepCount(type="step_count", max=3),
    ):
        with pytest.raises(NotApplicable, match="shape") as caught:
            check.check(case)
        assert caught.value.reason == "check_error"


def test_whole_numbers_in_arguments_keep_all_their_digits():
    """Beyond 2^64 as well; a number that is written 1.0 is 1."""
    big = 12345678901234567890123
    call = {"function": {"name": "s", "arguments": f'{{"id": {big}, "n": 1.0}}'}}
    output = ({"role": "assistant", "tool_calls": [call]},)
    for identifier, score in ((big, 1), (big + 1, 0), (float(big), 0)):
        expected = ({"name": "s", "arguments": {"id": identifier, "n": 1}},)
        case = Case(output, expected_tools=expected)
        assert ToolCallF1(type="tool_call_f1").check(case).score == score


def test_parallel_calls_with_equal_arguments_are_two():
    """Only the same call, with the same id, that is listed twice in one message is one."""
    calls = [{"id": str(n), "function": {"name": "s", "arguments": "{}"}} for n in (1, 2)]
    assert len(output_calls(Case(({"role": "assistant", "tool_calls": calls},)))) == 2


@pytest.mark.parametrize(
    ("output", "call"),
    [
        ('{"type": "custom_tool_call", "name": "py", "input": "1+1"}', ToolCall("py", "1+1")),
        (
            '{"type": "web_search_call", "id": "w", "action": {"query": "x"}}',
            ToolCall("web_search", {"query": "x"}),
        ),
        ('{"functionCall": {"name": "now"}}', ToolCall("now")),
        ('{"name": "now", "arguments": ""}', ToolCall("now", {})),
    ],
)
def test_calls_with_free_text_or_without_arguments(output, call):
    """Custom tools take text, built-in tools are named by their type."""
    assert output_calls(Case(output)) == (call,)


@pytest.mark.parametrize("output", ["prose", "[1, null]", (), ({"role": "assistant"},), "{"])
def test_an_output_without_calls_has_none(output):
    """Prose, JSON of another shape and broken JSON contain no calls."""
    assert output_calls(Case(output)) == ()


@pytest.mark.parametrize(
    ("arguments", "score"),
    [
        ({"city": "Paris"}, 1),
        ({"city": "Paris", "days": 2}, 1),
        ({}, 0),
        ({"city": 1}, 0),
        ({"city": "Paris", "nonsense": 1}, 0),
    ],
)
def test_a_call_is_valid_by_its_schema(arguments, score):
    """Required, types and additional properties count."""
    case = Case(said(("weather", arguments)), tools=(TOOL,))
    assert ToolCallValid(type="tool_call_valid").check(case).score == score


@pytest.mark.parametrize(
    "tool",
    [
        TOOL,
        {"name": "weather", "parameters": SCHEMA},
        {"name": "weather", "input_schema": SCHEMA},
        {"name": "weather", "inputSchema": SCHEMA},
        {"name": "weather"},
    ],
)
def test_tools_are_read_in_every_shape(tool):
    """OpenAI's, Anthropic's, MCP's; a tool without a schema accepts any arguments."""
    case = Case(said(("weather", {"city": "Paris"})), tools=(tool,))
    assert ToolCallValid(type="tool_call_valid").check(case).score == 1


def test_the_share_of_valid_calls_is_the_score():
    """A call of an unknown tool is invalid, and so is one whose arguments are not JSON."""
    broken = {"function": {"name": "weather", "arguments": '{"city": '}}
    calls = [*said(("weather", {"city": "Rome"}), ("other", {}))[0]["tool_calls"], broken]
    case = Case(({"role": "assistant", "tool_calls": calls},), tools=(TOOL,))
    finding = ToolCallValid(type="tool_call_valid").check(case)
    assert finding.score == pytest.approx(1 / 3)
    assert finding.value == {"calls": 3, "valid": 1}
    assert "other is not among the tools" in finding.explanation
    assert "not JSON" in finding.explanation


def test_no_call_is_not_a_valid_call():
    """An agent that only talks has not called its tool."""
    assert ToolCallValid(type="tool_call_valid").check(Case("hm", tools=(TOOL,))).score == 0


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "no such type"},
        {"$ref": "http://127.0.0.1:9/schema"},
        {"$ref": "file:///etc/passwd"},
    ],
)
def test_a_schema_that_is_broken_or_leaves_itself_is_an_error(schema):
    """Nothing is fetched, and the agent is not blamed."""
    case = Case(said(("weather", {})), tools=({"name": "weather", "parameters": schema},))
    with pytest.raises(NotApplicable) as caught:
        ToolCallValid(type="tool_call_valid").check(case)
    assert caught.value.reason == "check_error"


@pytest.mark.parametrize("pattern", ["(?=look)ahead", "((a{100}){100}){100}"])
def test_patterns_of_a_schema_are_bounded(pattern):
    """A pattern that needs backtracking or too much memory is refused, as in `json_schema`."""
    schema = {"properties": {"city": {"type": "string", "pattern": pattern}}}
    case = Case(
        said(("weather", {"city": "a"})), tools=({"name": "weather", "parameters": schema},)
    )
    with pytest.raises(NotApplicable, match="schema of tool 'weather' is not valid"):
        ToolCallValid(type="tool_call_valid").check(case)


def test_arguments_nested_too_deeply_are_not_judged():
    """The limit of depth is ours: it says nothing about the call."""
    deep = "[" * 900 + "]" * 900
    call = {"function": {"name": "weather", "arguments": f'{{"city": {deep}}}'}}
    case = Case(({"role": "assistant", "tool_calls": [call]},), tools=(TOOL,))
    with pytest.raises(NotApplicable, match="nested too deeply"):
        ToolCallValid(type="tool_call_valid").check(case)


def test_a_schema_with_references_is_not_checked_on_the_event_loop():
    """References may double the work at each step, and only a worker process can be stopped."""
    check = ToolCallValid(type="tool_call_valid")
    referring = {"name": "f", "parameters": {"$defs": {"a": {}}, "$ref": "#/$defs/a"}}
    assert check.work(100, Case("", tools=(TOOL,))) == 100
    assert check.work(100, Case("", tools=(TOOL, referring))) == float("inf")


def test_without_tools_or_expectations_nothing_is_scored():
    """The reason names what is missing."""
    with pytest.raises(NotApplicable) as no_tools:
        ToolCallValid(type="tool_call_valid").check(Case(said(A)))
    assert no_tools.value.reason == "context_missing"
    for check in (ToolCallF1(type="tool_call_f1"), Trajectory(type="trajectory")):
        with pytest.raises(NotApplicable) as nothing_expected:
            check.check(Case(said(A)))
        assert nothing_expected.value.reason == "reference_missing"


@pytest.mark.parametrize(
    ("calls", "expected", "f1"),
    [
        ((A, B), (B, A), 1),
        ((A,), (A, B), 2 / 3),
        ((A, A), (A,), 2 / 3),
        ((A, B, C), (A, ("b", {"other": 1}), C), 2 / 3),
        ((B,), (A,), 0),
        ((), (A,), 0),
    ],
)
def test_f1_over_calls(calls, expected, f1):
    """Calls are a multiset: repetition matters, order does not."""
    finding = ToolCallF1(type="tool_call_f1").check(expecting(said(*calls), *expected))
    assert finding.score == pytest.approx(f1)


def test_only_names_are_compared_where_asked():
    """`compare: name` ignores arguments, and so does an expected call that names none."""
    case = expecting(said(("a", {"x": 1})), ("a", {"x": 2}))
    assert ToolCallF1(type="tool_call_f1").check(case).score == 0
    assert ToolCallF1(type="tool_call_f1", compare="name").check(case).score == 1
    anything = Case(said(("a", {"x": 1})), expected_tools=({"name": "a"},))
    assert ToolCallF1(type="tool_call_f1").check(anything).score == 1


def test_an_expected_call_that_accepts_anything_takes_no_other_match():
    """The order of the expected calls does not matter."""
    case = Case(
        said(("a", {"x": 1}), ("a", {"x": 2})),
        expected_tools=({"name": "a"}, {"name": "a", "arguments": {"x": 1}}),
    )
    assert ToolCallF1(type="tool_call_f1").check(case).score == 1


@pytest.mark.parametrize(
    ("calls", "expected", "holding"),
    [
        ((A, B), (A, B), {"strict", "unordered", "subset", "superset"}),
        ((B, A), (A, B), {"unordered", "subset", "superset"}),
        ((A,), (A, B), {"subset"}),
        ((A, B, C), (A, B), {"superset"}),
        ((A, A), (A,), {"superset"}),
        ((C,), (A, B), set()),
        ((), (A,), {"subset"}),
    ],
)
def test_trajectories(calls, expected, holding):
    """Each mode holds exactly where it should."""
    case = expecting(said(*calls), *expected)
    modes = ("strict", "unordered", "subset", "superset")
    held = {m for m in modes if Trajectory(type="trajectory", mode=m).check(case).score == 1}
    assert held == holding


@given(st.lists(st.sampled_from([A, B, C]), min_size=1, max_size=6))
def test_a_trajectory_meets_itself(calls):
    """In every mode, and with an F1 of 1."""
    case = expecting(said(*calls), *calls)
    for mode in ("strict", "unordered", "subset", "superset"):
        assert Trajectory(type="trajectory", mode=mode).check(case).score == 1
    assert ToolCallF1(type="tool_call_f1").check(case).score == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1.0}, True),
        ([1, 2], [2, 1], False),
        (True, 1, False),
        ({"a": [True]}, {"a": [1]}, False),
        (None, False, False),
        ("1", 1, False),
    ],
)
def test_json_values_are_equal_as_json_has_it(one, other, same):
    """Keys have no order, numbers have no type, and true is not 1."""
    assert json_equal(one, other) is same


def test_steps_are_counted_and_bounded():
    """Steps are tool calls, or messages of the assistant."""
    output = (*said(A, B), {"role": "tool", "content": "ok"}, {"role": "assistant", "content": "."})
    finding = StepCount(type="step_count", max=2).check(Case(output))
    assert (finding.score, finding.value) == (1, 2)
    assert StepCount(type="step_count", max=1).check(Case(output)).score == 0
    assert StepCount(type="step_count", min=3).check(Case(output)).score == 0
    messages = StepCount(type="step_count", count="messages", min=2, max=2)
    assert messages.check(Case(output)).score == 1
    assert StepCount(type="step_count", count="messages", max=1).check(Case("prose")).value == 1
    with pytest.raises(ValidationError, match="needs min, max or both"):
        StepCount(type="step_count")


def test_calls_are_bounded():
    """Matching takes time in proportion to the product of the two lists."""
    case = expecting(said(*[A] * 1_001), A)
    with pytest.raises(NotApplicable) as caught:
        ToolCallF1(type="tool_call_f1").check(case)
    assert caught.value.reason == "input_too_long"
