"""What the spans of one group say together, as a case."""

from __future__ import annotations

from typing import Any

from assay.batches.live_cases import live_row
from assay.domain.traces import DueGroup, GroupBy, Observation

CALL = {"id": "c", "type": "function", "function": {"name": "find", "arguments": "{}"}}


def said(role: str, text: str, **fields: Any) -> dict[str, Any]:
    return {"role": role, "content": text, **fields}


def model(span: str, asked: list[Any], answered: list[Any], **fields: Any) -> Observation:
    fields = {"trace_id": "t", "start_ms": 1, "end_ms": 2, **fields}
    return Observation(span_id=span, input=asked, output=answered, is_model=True, **fields)


def row(group_by: GroupBy, *spans: Observation) -> dict[str, Any]:
    found = live_row(DueGroup("g", 0, spans), group_by)
    assert found is not None
    return found[0] | {"subject": found[1]}


def test_a_single_answer_is_a_text() -> None:
    """So that checks of texts need to know of no messages; empty fields are left out."""
    one = model("s", [said("user", "Hi")], [said("assistant", "Yes")], response_id="r")
    assert row("span", one) == {
        "id": "g",
        "input": "Hi",
        "output": "Yes",
        "group": "t",
        "metadata": {"trace_id": "t", "span_id": "s"},
        "subject": {"trace_id": "t", "span_id": "s", "response_id": "r"},
    }


def test_an_empty_answer_is_an_answer_and_none_is_none() -> None:
    """Nothing is invented for a group that has no output."""
    calls = said("assistant", "", tool_calls=[CALL])
    assert row("span", model("s", [], [calls]))["output"] == [calls]
    assert live_row(DueGroup("g", 0, [model("s", [said("user", "Hi")], [])]), "span") is None
    assert live_row(DueGroup("g", 0, []), "trace") is None


def test_a_trace_without_an_answer_of_its_root_has_the_last_one_of_a_model() -> None:
    """With the calls of tools since the question, in whatever order the spans came."""
    question = [said("system", "Be brief."), said("user", "Where is it?")]
    steps = [said("assistant", "", tool_calls=[CALL]), said("tool", "sent")]
    first = model("a", question, steps[:1], parent_id="root", end_ms=2)
    last = model("b", [*question, *steps], [said("assistant", "On Friday.")],
                 parent_id="root", start_ms=3, end_ms=4)  # fmt: skip
    found = Observation("t", "c", "root", 2, 3, context=["It was sent."])
    made = row("trace", last, found, first)
    assert made["input"] == question
    assert made["output"] == [*steps, said("assistant", "On Friday.")]
    assert made["context"] == ["It was sent."]
    assert made["subject"]["span_id"] == "b"


def test_the_answer_of_the_root_is_what_the_user_got() -> None:
    """Whatever models said on the way."""
    inner = model("a", [said("user", "Rewrite")], [said("assistant", "draft")], parent_id="r")
    root = Observation("t", "r", "", 0, 9, input=[said("user", "Hi")],
                       output=[said("assistant", "final")])  # fmt: skip
    made = row("trace", inner, root)
    assert (made["input"], made["output"]) == ("Hi", "final")
    assert made["subject"]["span_id"] == "r"


def test_a_session_is_a_conversation() -> None:
    """Turns follow each other; a turn that repeats what was said before it takes its place."""
    one = model("a", [said("user", "1")], [said("assistant", "one")], session="s", user="u")
    two = model("b", [said("user", "2")], [said("assistant", "two")],
                trace_id="t2", start_ms=5, end_ms=6, session="s")  # fmt: skip
    conversation = [*one.input, *one.output, *two.input, *two.output]
    made = row("session", two, one)
    assert made["output"] == conversation
    assert "input" not in made
    assert made["group"] == "s"
    assert made["metadata"]["subject"] == "u"
    assert made["subject"]["span_id"] == "b"
    whole = model("b", conversation[:3], conversation[3:],
                  trace_id="t2", start_ms=5, end_ms=6, session="s")  # fmt: skip
    assert row("session", one, whole)["output"] == conversation
