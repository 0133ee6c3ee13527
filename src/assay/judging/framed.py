"""A question as a trained judge is asked: in the frame of its profile, content in delimiters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from assay.criteria.base import Question
from assay.domain.completion import Attempt, Turn
from assay.domain.errors import QuestionUnsupported
from assay.domain.images import Image
from assay.domain.models import Frame, Model
from assay.prompts.templates import render_text
from assay.prompts.untrusted import Piece, delimited
from assay.verdicts.scales import NumberScale

PARTS = ("context", "reference", "output", "first", "second")
REST = ("input", "material")
EDGE = "\0"
"""Around the name of a part, until the content takes its place: a megabyte is never joined."""


def framed(question: Question[Any], opening: str, mark: str, model: Model) -> tuple[Turn, ...]:
    """The turns for a model with a profile; raises `QuestionUnsupported`.

    `opening` says what the delimiters with the value `mark` are.
    """
    frames = model.profile.frames if model.profile and question.reasoning else ()
    for frame in frames:
        if question.kind in frame.serves and _fits(question, frame):
            content = _by_part(question, frame)
            if all(content.get(need) for need in frame.needs):
                return _turns(question, frame, content, opening, mark)
    message = _unserved(question, model)
    outcome = QuestionUnsupported.outcome
    attempt = Attempt(model.provider, model.id, outcome, 0.0, message=message)
    raise QuestionUnsupported(message, attempts=[attempt])


def _fits(question: Question[Any], frame: Frame) -> bool:
    """Whether it is on a scale of the frame, which has a place for the caller's own words."""
    scale = question.scales[""]
    if isinstance(scale, NumberScale):
        return scale.integer and (scale.low, scale.high) in frame.scales
    asks = any("{{ task }}" in template for _, template in frame.turns)
    return not frame.scales and (asks or not question.guided)


def _by_part(question: Question[Any], frame: Frame) -> Mapping[str, list[Piece]]:
    """The content by where it belongs in the frame; what has no place of its own is the input's."""
    content: dict[str, list[Piece]] = defaultdict(list)
    pair = getattr(question.scales[""], "pair", None) or ()
    for piece in question.content:
        title = piece[0]
        name = title.replace(",", " ").split()[0]
        for place, label in zip(("first", "second"), pair, strict=False):
            name = place if title.startswith(f"output ({label})") else name
        has_place = name in PARTS and (name != "context" or name in frame.needs)
        content[name if has_place else "input"].append(piece)
        content["material"].append(piece)
    return content


def _turns(
    question: Question[Any],
    frame: Frame,
    content: Mapping[str, list[Piece]],
    opening: str,
    mark: str,
) -> tuple[Turn, ...]:
    scale = question.scales[""]
    low, high = (scale.low, scale.high) if isinstance(scale, NumberScale) else (0, 0)
    values = {name: f"{EDGE}{name}{EDGE}" if content.get(name) else "" for name in (*PARTS, *REST)}
    values |= {"task": question.task.replace(EDGE, "\ufffd"), "delimiters": opening}
    values |= {"low": f"{low:g}", "high": f"{high:g}"}
    turns = []
    for role, template in frame.turns:
        parts: list[str | Image] = []
        for number, part in enumerate(render_text(template, **values).split(EDGE)):
            parts += delimited(content[part], mark) if number % 2 else [part]
        turns.append(Turn(role, tuple(parts)))
    return tuple(turns)


def _unserved(question: Question[Any], model: Model) -> str:
    frames = model.profile.frames if model.profile else ()
    served = "; ".join(
        " and ".join(frame.serves)
        + "".join(f", {low:g} to {high:g}" for low, high in frame.scales)
        + f", with {' and '.join(frame.needs)}"
        for frame in frames
    )
    return f"{model.id} cannot be asked this {question.kind}: by its profile it judges {served}."
