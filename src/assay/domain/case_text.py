"""The case's texts as criteria read them: a conversation becomes plain text here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from assay.domain.evaluation import Case, Text
from assay.criteria.base import CannotJudge


def output_text(case: Case) -> str:
    """What the candidate finally said: of a conversation, the last assistant message."""
    if isinstance(case.output, str):
        return case.output
    for message in reversed(case.output):
        if message.get("role") == "assistant":
            return content_text(message.get("content"))
    return content_text(case.output[-1].get("content")) if case.output else ""


def content_text(content: Any) -> str:
    """A message's content as text: a string, or the text blocks of a list, one per line."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        return ""
    blocks = (each.get("text") if isinstance(each, Mapping) else each for each in content)
    return "\n".join(block for block in blocks if isinstance(block, str))


def transcript(text: Text) -> str:
    """A text as it is; a conversation as one JSON object per line and message.

    JSON escapes line ends and quotes, so that no content can pass for another message.
    """
    if isinstance(text, str):
        return text
    return "\n".join(as_json(message) for message in text)


def as_json(value: Any) -> str:
    """JSON on one line, with every character that a reader can read as it is."""
    return json.dumps(value, ensure_ascii=False, default=str)


def references(case: Case) -> tuple[str, ...]:
    """The case's references; raises `CannotJudge` where it has none."""
    if not case.reference:
        raise CannotJudge("reference_missing", "the case has no reference to compare with")
    return case.reference
