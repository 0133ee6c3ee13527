"""The texts of a case as criteria read them: here a conversation becomes plain text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case, Passage, Text
from assay.domain.images import images_in

ASSISTANT_ROLES = ("assistant", "model")
"""Who says the output; the second is Gemini's name, whose messages have `parts`."""
SIZE_COUNTED_MAX = 1_000_000


def output_text(case: Case) -> str:
    """The text of the candidate's final answer, for a check that reads nothing else.

    Raises `NotApplicable` where the answer is an image without a text.
    """
    text = answer_text(case)
    if not text and images_in(final_answer(case)):
        message = "The output is an image, and the check reads its text."
        raise NotApplicable("input_unsupported", message)
    return text


def final_answer(case: Case) -> Text:
    """The candidate's final answer: in a conversation, the last assistant message."""
    if isinstance(case.output, str):
        return case.output
    said = [message for message in case.output if message.get("role") in ASSISTANT_ROLES]
    return tuple(said or case.output)[-1:]


def answer_text(case: Case) -> str:
    """The text of the final answer, which is empty where that is an image."""
    answer = final_answer(case)
    if isinstance(answer, str):
        return answer
    return content_text(answer[0].get("content") or answer[0].get("parts")) if answer else ""


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


def references(case: Case) -> tuple[Passage, ...]:
    """The case's references; raises `NotApplicable` where it has none."""
    if not case.reference:
        raise NotApplicable("reference_missing", "The case has no reference to compare with.")
    return case.reference


def reference_texts(case: Case) -> tuple[str, ...]:
    """The references that are texts; raises `NotApplicable` where there is none."""
    texts = tuple(one for one in references(case) if isinstance(one, str))
    if not texts:
        message = "The reference is an image, and the check reads text."
        raise NotApplicable("input_unsupported", message)
    return texts


def case_size(case: Case) -> int:
    """The size of everything in the case; see `size_of`."""
    texts = (case.output, case.input, case.reference, case.context)
    return size_of((*texts, case.tools, case.expected_tools))


def size_of(value: Any, counted_max: int = SIZE_COUNTED_MAX) -> int:
    """Characters of all strings in a value, and one for each value and name in it.

    It stops counting above `counted_max`: a larger value is only said to be larger.
    """
    size = 0
    for item in _nodes(value):
        size += 1 + (len(item) if isinstance(item, str) else 0)
        if size > counted_max:
            break
    return size


def strings(value: Any) -> Iterator[str]:
    """All strings in a value, however deep, in no order."""
    return (item for item in _nodes(value) if isinstance(item, str))


def _nodes(value: Any) -> Iterator[Any]:
    """Every value and name in a value, itself first."""
    left = [value]
    while left:
        item = left.pop()
        yield item
        if isinstance(item, Mapping):
            left += chain(item.keys(), item.values())
        elif isinstance(item, list | tuple):
            left += item
