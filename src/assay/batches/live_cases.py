"""Rows of live traffic: what the spans of one group say together, as a case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assay.domain.traces import DueGroup, GroupBy, Observation

ITEMS_MAX = 1_000
"""Messages and passages of a case, the last ones; see `MESSAGES_MAX` of the API."""
TOOLS_MAX = 256
NAME_CHARS_MAX = 200
Messages = list[Mapping[str, Any]]


def live_row(group: DueGroup, group_by: GroupBy) -> tuple[dict[str, Any], dict[str, str]] | None:
    """The row of a group, and its `subject`: the span that is judged; None without an output."""
    spans = sorted(group.observations, key=lambda one: (one.start_ms, one.end_ms, one.span_id))
    judged = _judged(spans)
    if judged is None:
        return None
    match group_by:
        case "span":
            asked, answered = list(judged.input), list(judged.output)
        case "trace":
            asked, answered = _turn(spans, judged)
        case "session":
            asked, answered = [], _conversation(spans)
    session = next((one.session for one in spans if one.session), "")
    user = next((one.user for one in spans if one.user), "")
    metadata = {"trace_id": judged.trace_id, "span_id": judged.span_id, "session": session}
    row = {
        "id": group.group,
        "input": _plain(asked, "user"),
        "output": _plain(answered, "assistant"),
        "context": [text for one in spans for text in one.context][-ITEMS_MAX:],
        "tools": _distinct(tool for one in spans for tool in one.tools),
        # Answers to one user, and spans of one trace, are alike: intervals allow for it.
        "group": (session or judged.trace_id)[:NAME_CHARS_MAX],
        # An erasure finds what is about a person by their `subject`.
        "metadata": {
            name: value[:NAME_CHARS_MAX]
            for name, value in {**metadata, "subject": user}.items()
            if value
        },
    }
    subject = {
        "trace_id": judged.trace_id,
        "span_id": judged.span_id,
        "response_id": judged.response_id,
    }
    return (
        {name: value for name, value in row.items() if value or name == "output"},
        {name: value for name, value in subject.items() if value},
    )


def _judged(spans: Sequence[Observation]) -> Observation | None:
    """The span whose output is judged: the root if it has one, else the last one of a model."""
    speaking = [one for one in spans if one.output]
    ids = {one.span_id for one in spans}
    # Of a session, the last trace counts.
    last = [one for one in speaking if one.trace_id == speaking[-1].trace_id]
    roots = [one for one in last if not one.parent_id or one.parent_id not in ids]
    models = [one for one in last if one.is_model]
    whole = [one for one in roots if not one.parent_id]
    chosen = whole or models or roots or last
    return max(chosen, key=lambda one: one.end_ms) if chosen else None


def _turn(spans: Sequence[Observation], judged: Observation) -> tuple[Messages, Messages]:
    """What was asked, and all that was said and done then: the calls of tools, too."""
    if not judged.is_model:
        first = next((one.input for one in spans if one.input), ())
        return list(judged.input or first), list(judged.output)
    said: Messages = [*judged.input, *judged.output]
    asked = [place for place, one in enumerate(said) if one.get("role") == "user"]
    cut = asked[-1] + 1 if asked else len(judged.input)
    return said[:cut], said[cut:]


def _conversation(spans: Sequence[Observation]) -> Messages:
    """All that was said in a session; most applications send what was said before each time."""
    said: Messages = []
    for trace_id in dict.fromkeys(one.trace_id for one in spans):
        turn = [one for one in spans if one.trace_id == trace_id]
        judged = _judged(turn)
        if judged is None:
            continue
        asked, answered = _turn(turn, judged)
        has_history = sum(one.get("role") == "user" for one in asked) > 1
        said = [*asked, *answered] if has_history else [*said, *asked, *answered]
    return said


def _plain(said: Messages, role: str) -> str | Messages:
    """The text of the only message, else the messages."""
    if len(said) == 1 and said[0].get("role") == role and not said[0].get("tool_calls"):
        return str(said[0].get("content", ""))
    return said[-ITEMS_MAX:]


def _distinct(tools: Any) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for tool in tools:
        if tool not in found and len(found) < TOOLS_MAX:
            found.append(tool)
    return found
