"""OpenAI's grader templates: texts with `{{item.reference}}` and `{{sample.output_text}}`.

A placeholder is a namespace and dotted names. It is looked up in the case and never evaluated.
Source: https://developers.openai.com/api/docs/guides/graders, "Templating".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from assay.criteria.base import TEXT_CHARS_MAX, Check, Finding
from assay.domain.case_text import (
    answer_text,
    final_answer,
    output_text,
    references,
    transcript,
)
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case
from assay.domain.images import Image, images_in

PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z0-9_.\[\]'\"-]{1,200})\s*\}\}")
PLACEHOLDERS_MAX = 100
FILLED_CHARS_MAX = 2_000_000
"""A hundred placeholders for the whole output would make a hundred megabytes of one."""

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
    first = references(case)[0]
    return first if isinstance(first, str) else ""


def _context(case: Case) -> str:
    if not case.context:
        raise NotApplicable("context_missing", "the case has no context")
    return "\n\n".join(passage for passage in case.context if isinstance(passage, str))


def _tool_calls(case: Case) -> str:
    messages = () if isinstance(case.output, str) else case.output
    calls = [call for message in messages for call in message.get("tool_calls") or ()]
    return json.dumps(calls, ensure_ascii=False)


_SOURCES: Mapping[str, Callable[[Case], str]] = {
    "sample.output_text": answer_text,
    "sample.output_json": answer_text,
    "sample.output_tools": _tool_calls,
    **{f"item.{name}": _input for name in _INPUT},
    **{f"item.{name}": _reference for name in _REFERENCE},
    **{f"item.{name}": _context for name in _CONTEXT},
    "item.output": answer_text,
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


def placeholders_in(*templates: str) -> int:
    """How many placeholders the templates have, at least 1."""
    return max(1, sum(len(PLACEHOLDER.findall(template)) for template in templates))


def fill(template: str, case: Case) -> str:
    """The template with the case's texts put in; for checks only, never for a judge's prompt.

    Raises `NotApplicable` where the case lacks a text, has an image in its place, or the result is
    too long.
    """
    names = PLACEHOLDER.findall(template)
    texts = placeholder_texts(names, case)
    for name, text in texts.items():
        if not text and placeholder_images(name, case):
            message = f"{name} is an image, and the check reads text."
            raise NotApplicable("input_unsupported", message)
    _limit(sum(len(texts[name]) for name in names))
    return PLACEHOLDER.sub(lambda match: texts[match.group(1)], template)


def fill_each(template: str, cases: Iterable[Case]) -> list[str]:
    """The template filled from each case; raises as `fill` does, also if all are too long."""
    filled: list[str] = []
    chars = 0
    for case in cases:
        filled.append(fill(template, case))
        chars += len(filled[-1])
        _limit(chars)
    return filled


def placeholder_texts(names: Iterable[str], case: Case) -> dict[str, str]:
    """What each placeholder stands for.

    Raises `NotApplicable` where the case lacks a text, or all are too long together.
    """
    paths = output_paths(names)
    members = case.output_members
    if members is None:
        members = _members(answer_text(case), paths)
    texts: dict[str, str] = {}
    for name in dict.fromkeys(names):
        text = _text(name, case, members)
        texts[name] = text
        _limit(sum(map(len, texts.values())))
    return texts


def placeholder_images(name: str, case: Case) -> list[Image]:
    """The images in what a placeholder stands for."""
    source = _source(name)
    if source is answer_text:
        return images_in(final_answer(case))
    if source is _input:
        return images_in(case.input)
    if source is _reference:
        return images_in(case.reference[:1])
    return images_in(case.context) if source is _context else []


def output_paths(names: Iterable[str]) -> tuple[str, ...]:
    """The paths into the output's JSON among the names of placeholders."""
    paths = (name.removeprefix(_OUTPUT_MEMBER) for name in names if name.startswith(_OUTPUT_MEMBER))
    return tuple(dict.fromkeys(paths))


class OutputMembers(Check):
    """Looks up the members of the output that the templates of judges name.

    It is no criterion of its own: the caller decides how much there is to parse and to write, so
    that it runs where checks run. `value` has a text for each path, or None.
    """

    family: ClassVar[str] = "text"
    inline_work_max: ClassVar[int] = 20_000

    type: Literal["output_members"] = "output_members"
    paths: tuple[str, ...]

    def work(self, size: int, case: Case) -> float:
        del case
        return size * len(self.paths)

    def check(self, case: Case) -> Finding:
        return Finding(1.0, value=_members(output_text(case), self.paths))


def _text(name: str, case: Case, members: Mapping[str, str | None]) -> str:
    source = _source(name)
    if source is None:
        raise NotApplicable("check_error", f"{name} is not a placeholder")
    if not name.startswith(_OUTPUT_MEMBER):
        return source(case)
    path = name.removeprefix(_OUTPUT_MEMBER)
    member = members.get(path)
    if member is None:
        raise NotApplicable("check_error", f"the output has no JSON value at {path}")
    return member


def _limit(chars: int) -> None:
    if chars > FILLED_CHARS_MAX:
        raise NotApplicable(
            "input_too_long",
            f"the template has more than {FILLED_CHARS_MAX} characters when filled",
        )


def _source(name: str) -> Callable[[Case], str] | None:
    return answer_text if name.startswith(_OUTPUT_MEMBER) else _SOURCES.get(name)


def _members(text: str, paths: Sequence[str]) -> dict[str, str | None]:
    """The value at each dotted path of a JSON text: strings as they are, all else as JSON.

    None where there is no such value.
    """
    try:
        root: Any = json.loads(text) if paths else None
    except (ValueError, RecursionError):
        return dict.fromkeys(paths)
    found: dict[str, str | None] = {}
    chars = 0
    for path in paths:
        found[path] = member = _member(root, path)
        chars += len(member or "")
        _limit(chars)
    return found


def _member(value: Any, path: str) -> str | None:
    try:
        for step in path.split("."):
            value = value[int(step)] if isinstance(value, list) else value[step]
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return None
