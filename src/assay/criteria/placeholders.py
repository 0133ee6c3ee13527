"""OpenAI grader templates: `{{item.reference}}` and `{{sample.output_text}}`, without any code.

Source: https://developers.openai.com/api/docs/guides/graders, "Templating". A placeholder is a
namespace and dotted names, looked up in the case; nothing in it is ever evaluated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import PydanticCustomError

from assay.domain.case_text import output_text, references, transcript
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case

PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z0-9_.\[\]'\"-]{1,200})\s*\}\}")
PLACEHOLDERS_MAX = 100

_INPUT = ("input", "question", "query", "prompt", "instruction", "messages")
_REFERENCE = (
    "reference", "reference_answer", "references", "expected", "expected_output", "ground_truth",
    "answer", "correct_answer", "correct_label", "label", "ideal", "target",
)  # fmt: skip
_CONTEXT = ("context", "contexts", "retrieval_context", "retrieved_contexts", "passages")


def _input(case: Case) -> str:
    if case.input is None:
        raise NotApplicable(
            "context_missing", "the template names the input, and the case has none"
        )
    return transcript(case.input)


def _reference(case: Case) -> str:
    return references(case)[0]


def _context(case: Case) -> str:
    if not case.context:
        raise NotApplicable("context_missing", "the case has no context")
    return "\n\n".join(case.context)


def _tool_calls(case: Case) -> str:
    messages = () if isinstance(case.output, str) else case.output
    calls = [call for each in messages for call in each.get("tool_calls") or ()]
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


def checked(template: str) -> str:
    """The template, where every placeholder can be filled from a case."""
    names = PLACEHOLDER.findall(template)
    if len(names) > PLACEHOLDERS_MAX:
        raise PydanticCustomError(
            "template_too_long", "more than {most} placeholders", {"most": PLACEHOLDERS_MAX}
        )
    for name in names:
        if _source(name) is None:
            raise PydanticCustomError(
                "unknown_placeholder",
                "{name} is not in a case; there are {names}",
                {"name": name, "names": ", ".join(_SOURCES)},
            )
    return template


def filled(template: str, case: Case) -> str:
    """The template with the case's texts put in; for checks only, never for a judge's prompt."""
    return PLACEHOLDER.sub(lambda match: value(match.group(1), case), template)


def value(name: str, case: Case) -> str:
    """The text that a placeholder stands for."""
    source = _source(name)
    if source is None:
        raise NotApplicable("check_error", f"{name} is not in a case")
    text = source(case)
    path = name.removeprefix("sample.output_json").lstrip(".")
    return _member(text, path) if name.startswith("sample.output_json.") else text


def _source(name: str) -> Callable[[Case], str] | None:
    if name.startswith("sample.output_json."):
        return output_text
    return _SOURCES.get(name)


def _member(text: str, path: str) -> str:
    """The value at a dotted path of a JSON text; strings bare, the rest as JSON."""
    try:
        found: Any = json.loads(text)
        for step in path.split("."):
            found = found[int(step)] if isinstance(found, list) else found[step]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        raise NotApplicable("check_error", f"the output has no JSON value at {path}") from None
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
