"""OpenAI's grader templates: texts with `{{item.question}}` and `{{sample.output_text}}`.

A placeholder is a namespace and a path. It is looked up in the case and never evaluated: an item's
own `fields` go before the names that other fields of a case are known by.
Source: https://developers.openai.com/api/docs/guides/graders, "Templating".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from assay.criteria.base import TEXT_CHARS_MAX, Check, Finding
from assay.domain.case_text import (
    answer_text,
    final_answer,
    output_text,
    references,
    size_of,
    transcript,
)
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case
from assay.domain.images import Image, ImageFault, image_in, images_in

PLACEHOLDER = re.compile(
    r"\{\{\s*((?:item|sample)[.\[][^{}\n]{0,200}?|[\w.\[\]'\"-]{1,200})\s*\}\}"
)
PLACEHOLDERS_MAX = 100
FILLED_CHARS_MAX = 2_000_000
"""A hundred placeholders for the whole output would make a hundred megabytes of one."""

_VARIABLE = re.compile(r"(?:item|sample)(?:\.[^.\[\]{}]+|\[\s*(?:\d+|'[^']+'|\"[^\"]+\")\s*\])+")
_STEP = re.compile(r"\[\s*(?:'([^']+)'|\"([^\"]+)\"|(\d+))\s*\]|\.?([^.\[\]]+)")
_OUTPUT_JSON = "sample.output_json"
_OUTPUT_MEMBER = _OUTPUT_JSON + "."

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


def _tool_calls(case: Case) -> list[Any]:
    messages = () if isinstance(case.output, str) else case.output
    return [call for message in messages for call in message.get("tool_calls") or ()]


_OF_CASE: Mapping[str, Callable[[Case], Any]] = {
    "sample.output_text": answer_text,
    _OUTPUT_JSON: answer_text,
    "sample.output_tools": _tool_calls,
    **{f"item.{name}": _input for name in _INPUT},
    **{f"item.{name}": _reference for name in _REFERENCE},
    **{f"item.{name}": _context for name in _CONTEXT},
    "item.output": answer_text,
}


def check_placeholders(template: str) -> str:
    """The template itself; raises `PydanticCustomError` for a placeholder that is no variable."""
    names = PLACEHOLDER.findall(template)
    if len(names) > PLACEHOLDERS_MAX:
        raise PydanticCustomError(
            "template_too_long", "has more than {most} placeholders", {"most": PLACEHOLDERS_MAX}
        )
    for name in names:
        if not _VARIABLE.fullmatch(name):
            raise PydanticCustomError(
                "unknown_placeholder",
                "{name} is not a placeholder; use item or sample and a path, such as "
                "item.question or sample.output_text",
                {"name": name},
            )
    return template


TemplateText = Annotated[str, Field(max_length=TEXT_CHARS_MAX), AfterValidator(check_placeholders)]
"""A text whose placeholders are all variables of items or samples."""


def template_work(size: int, case: Case, *templates: str) -> int:
    """How much there is to look at where templates are filled in for a case of this size."""
    placeholders = sum(len(PLACEHOLDER.findall(template)) for template in templates)
    return (size + size_of((case.fields, case.sample))) * max(1, placeholders)


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
    limit_filled(sum(len(texts[name]) for name in names))
    return PLACEHOLDER.sub(lambda match: texts[match.group(1)], template)


def fill_each(template: str, cases: Iterable[Case]) -> list[str]:
    """The template filled from each case; raises as `fill` does, also if all are too long."""
    filled: list[str] = []
    chars = 0
    for case in cases:
        filled.append(fill(template, case))
        chars += len(filled[-1])
        limit_filled(chars)
    return filled


def placeholder_texts(names: Iterable[str], case: Case) -> dict[str, str]:
    """What each placeholder stands for.

    Raises `NotApplicable` where the case lacks a text, or all are too long together.
    """
    names = list(dict.fromkeys(names))
    members = case.output_members
    if members is None:
        members = _members(case, output_paths(names))
    texts: dict[str, str] = {}
    for name in names:
        texts[name] = _text(name, case, members)
        limit_filled(sum(map(len, texts.values())))
    return texts


def variable(name: str, case: Case) -> Any:
    """The value of a variable; raises `NotApplicable` where the case lacks it."""
    try:
        return _value(name, case)
    except (ValueError, LookupError, TypeError):
        raise NotApplicable("variable_missing", f"the case has no {name}") from None


def placeholder_images(name: str, case: Case) -> list[Image]:
    """The images in what a placeholder stands for."""
    namespace, *path = _steps(name)
    if namespace == "item" and path[0] in case.fields:
        return _images_of(_at(case.fields, path))
    source = (
        None
        if namespace == "sample" and case.sample is not None
        else _OF_CASE.get(f"{namespace}.{path[0]}")
    )
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
        return Finding(1.0, value=_members(case, self.paths))


def sample_fields(case: Case) -> dict[str, Any]:
    """The sample as programs see it: what is known of the answer, without parsing it."""
    if case.sample is not None:
        return dict(case.sample)
    fields: dict[str, Any] = {"output_text": output_text(case)}
    if tools := _tool_calls(case):
        fields["output_tools"] = tools
    return fields


def _text(name: str, case: Case, members: Mapping[str, str | None]) -> str:
    if name.startswith(_OUTPUT_MEMBER):
        text = members.get(name.removeprefix(_OUTPUT_MEMBER))
    else:
        text = _shown(lambda: _value(name, case))
    if text is None:
        raise NotApplicable("variable_missing", f"the case has no {name}")
    return "" if _images_of(text) else text


def _value(name: str, case: Case) -> Any:
    """The value of a variable; raises what `_shown` takes for none."""
    namespace, *path = _steps(name)
    if namespace == "item" and path[0] in case.fields:
        return _at(case.fields, path)
    if namespace == "sample" and case.sample is not None:
        name_of_text = "sample.output_text" if name == _OUTPUT_JSON else name
        return _at(case.sample, _steps(name_of_text)[1:])
    return _at(_OF_CASE[f"{namespace}.{path[0]}"](case), path[1:])


def _images_of(value: Any) -> list[Image]:
    """The image that a field of a row holds as a data URI."""
    if not isinstance(value, str) or not value.startswith("data:image/"):
        return []
    try:
        image = image_in({"type": "input_image", "image_url": value})
    except ImageFault:
        return []
    return [] if image is None else [image]


def _steps(name: str) -> list[str]:
    return [next(part for part in match if part).strip() for match in _STEP.findall(name)]


def limit_filled(chars: int) -> None:
    """Raises `NotApplicable` where filled templates have too many characters together."""
    if chars > FILLED_CHARS_MAX:
        raise NotApplicable(
            "input_too_long",
            f"the template has more than {FILLED_CHARS_MAX} characters when filled",
        )


def _members(case: Case, paths: Sequence[str]) -> dict[str, str | None]:
    """The value at each path of the output's JSON, as a text; None where there is no such value."""
    root: Any = None
    with suppress(ValueError, LookupError, TypeError, RecursionError):
        root = json.loads(_value("sample.output_text", case)) if paths else None
    found: dict[str, str | None] = {}
    chars = 0
    for path in paths:
        found[path] = member = _shown(partial(_at, root, _steps(path)))
        chars += len(member or "")
        limit_filled(chars)
    return found


def _at(value: Any, path: Sequence[str]) -> Any:
    for step in path:
        if isinstance(value, str):
            raise TypeError(step)
        value = value[int(step)] if isinstance(value, list | tuple) else value[step]
    return value


def _shown(look_up: Callable[[], Any]) -> str | None:
    """A value as text: strings as they are, all else as JSON; None where there is none."""
    try:
        value = look_up()
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
