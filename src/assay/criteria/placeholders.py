"""OpenAI's grader templates: texts with `{{item.reference}}` and `{{sample.output_text}}`.

A placeholder is a namespace and dotted names. It is looked up in the case and never evaluated.
Source: https://developers.openai.com/api/docs/guides/graders, "Templating".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from assay.criteria.base import TEXT_CHARS_MAX
from assay.domain.case_text import output_text, references, transcript
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case

PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z0-9_.\[\]'\"-]{1,200})\s*\}\}")
PLACEHOLDERS_MAX = 100

_OUTPUT_MEMBER = "sample.output_json."

_INPUT = ("input", "user_input", "question", "query", "prompt", "instruction", "messages")
_REFERENCE = (
    "reference", "reference_answer", "references", "expected", "expected_output", "ground_truth",
    "answer", "correct_answer", "correct_label", "label", "ideal", "target",
)  # fmt: skip
_CONTEXT = ("context", "contexts", "retrieval_context", "retrieved_contexts", "passages")


def _input(case: Case) -> str:
    if case.input is None:
        raise NotApplicable("context_missing", "the template uses the input, and the case has none")
    return transcript(case.input)


def _reference(case: Case) -> str:
    return references(case)[0]


def _context(case: Case) -> str:
    if not case.context:
        raise NotApplicable("context_missing", "the case has no context")
    return "\n\n".join(case.context)


def _tool_calls(case: Case) -> str:
    messages = () if isinstance(case.output, str) else case.output
    calls = [call for message in messages for call in message.get("tool_calls") or ()]
    return json.dumps(calls, ensure_ascii=False)


_SOURCES: Mapping[str, Callable[[Case], str]] = {
    "sample.output_text": output_text,
    "sample.output_json": output_text,
    "sample.output_tools": _tool_calls,
    **{f"item.{name}": _input for name in _INPUT},
    **{f"item.{name}": _reference for name in _REFERENCE},
    **{f"item.{name}": _context for name in _CONTEXT},
    "item.output": output_text,
}


def check_placeholders(template: str) -> str:
    """The template itself; raises `PydanticCustomError` where a placeholder has no source."""
    names = PLACEHOLDER.findall(template)
    if len(names) > PLACEHOLDERS_MAX:
        raise PydanticCustomError(
            "template_too_long", "has more than {most} placeholders", {"most": PLACEHOLDERS_MAX}
        )
    for name in names:
        if _source(name) is None:
            raise PydanticCustomError(
                "unknown_placeholder",
                "{name} is not a placeholder; use one of {names}",
                {"name": name, "names": ", ".join(_SOURCES)},
            )
    return template


TemplateText = Annotated[str, Field(max_length=TEXT_CHARS_MAX), AfterValidator(check_placeholders)]
"""A text whose placeholders can all be looked up in a case."""


def fill(template: str, case: Case) -> str:
    """The template with the case's texts put in; for checks only, never for a judge's prompt.

    Raises `NotApplicable` where the case lacks a text.
    """
    return PLACEHOLDER.sub(lambda match: placeholder_text(match.group(1), case), template)


def placeholder_text(name: str, case: Case) -> str:
    """The text that a placeholder stands for; raises `NotApplicable` where the case lacks it."""
    source = _source(name)
    if source is None:
        raise NotApplicable("check_error", f"{name} is not a placeholder")
    text = source(case)
    if name.startswith(_OUTPUT_MEMBER):
        return _member(text, name.removeprefix(_OUTPUT_MEMBER))
    return text


def _source(name: str) -> Callable[[Case], str] | None:
    return output_text if name.startswith(_OUTPUT_MEMBER) else _SOURCES.get(name)


def _member(text: str, path: str) -> str:
    """The value at a dotted path of a JSON text: strings as they are, all else as JSON."""
    try:
        member: Any = json.loads(text)
        for step in path.split("."):
            member = member[int(step)] if isinstance(member, list) else member[step]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        raise NotApplicable("check_error", f"the output has no JSON value at {path}") from None
    return member if isinstance(member, str) else json.dumps(member, ensure_ascii=False)
