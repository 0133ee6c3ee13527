"""The texts of a case as criteria read them: here a conversation becomes plain text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case, Text

ASSISTANT_ROLES = ("assistant", "model")
"""Who says the output; the second is Gemini's name, whose messages have `parts`."""


def output_text(case: Case) -> str:
    """The candidate's final answer: in a conversation, the last assistant message."""
    if isinstance(case.output, str):
        return case.output
    said = [message for message in case.output if message.get("role") in ASSISTANT_ROLES]
    last = (said or case.output)[-1:]
    return content_text(last[0].get("content") or last[0].get("parts")) if last else ""


def content_text(content: Any) -> str:
    """A message's content as text: a string, or the text blocks of a list, one per line."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        return ""
    blocks = (part.get("text") if isinstance(part, Mapping) else part for part in content)
    return "\n".join(block for block in blocks if isinstance(block, str))


def transcript(text: Text) -> str:
    """A text as it is; a conversation as one JSON object per line and message.

    JSON escapes line ends and quotes, so no content can look like another message.
    """
    if isinstance(text, str):
        return text
    return "\n".join(as_json(message) for message in text)


def as_json(value: Any) -> str:
    """JSON on one line, with readable characters left unescaped."""
    return json.dumps(value, ensure_ascii=False, default=str)


def references(case: Case) -> tuple[str, ...]:
    """The case's references; raises `NotApplicable` where it has none."""
    if not case.reference:
        raise NotApplicable("reference_missing", "The case has no reference to compare with.")
    return case.reference


def case_chars(case: Case) -> int:
    """Characters of all texts in the case."""
    texts = chain((case.output, case.input), case.reference, case.context)
    return sum(map(text_chars, chain(texts, case.tools, case.expected_tools)))


def text_chars(value: Any) -> int:
    """Characters of all strings in a value, however deep."""
    if isinstance(value, str):
        return len(value)
    return sum(map(len, strings(value)))


def strings(value: Any) -> Iterator[str]:
    """All strings in a value, however deep, in no order."""
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            left += chain(item.keys(), item.values())
        elif isinstance(item, list | tuple):
            left += item
