"""Reads a judge's verdict by protocol: what is marked as one, and never what looks like one.

In this order: thinking comes off; the marked line; the JSON object; a named form; prose by
consensus. What is not certainly one verdict on the offered scale raises: `AnswerUnreadable` with
a message meant for the judge, `AnswerTruncated`, or `AnswerRefused`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from assay.domain.completion import Completion
from assay.domain.errors import AnswerRefused, AnswerTruncated, AnswerUnreadable
from assay.verdicts.forms import FORMS, AnyScale, Form, Mark, marks_of
from assay.verdicts.marked import instruction, marked_lines
from assay.verdicts.prose import stated_marks
from assay.verdicts.reasoning import answer_span
from assay.verdicts.scales import NOT_OFFERED
from assay.verdicts.structured import Contradiction, own_object, verdict_in
from assay.verdicts.tolerant_json import Pairs

ANSWER_CHARS_MAX = 100_000
"""Of a longer answer only the end is read: the verdict comes last."""
EXPLANATION_CHARS_MAX = 20_000
EXCERPT_CHARS_MAX = 200

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Reading(Generic[V]):
    """A verdict as it was read.

    `method` is `structured`, `marked`, `form:NAME` or `prose`; `excerpt` is what was read, with
    the marker hidden. `start` and `end` are the verdict's place in the completion's text.
    """

    value: V
    method: str
    excerpt: str
    explanation: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Protocol:
    """How one call asked for its verdict.

    `marker` is the random value of the marked line, '' where none was asked for. `forms` are the
    declared forms by name, beside those that are read undeclared.
    """

    marker: str = ""
    forms: tuple[str, ...] = ()

    def applied(self) -> list[Form]:
        """The forms to read, the declared ones first."""
        declared = [FORMS[name] for name in self.forms]
        return declared + [
            form for form in FORMS.values() if form.undeclared and form.name not in self.forms
        ]


PLAIN = Protocol()


def read_verdict(
    completion: Completion[object], scale: AnyScale, protocol: Protocol = PLAIN, name: str = ""
) -> Reading[Any]:
    """The one verdict of the answer, on the scale; `name` is that of its marked line."""
    ask = _ask(protocol, {name: scale.instruction})
    answer = _Answer.of(completion, ask)
    marked = _marked(answer, scale, protocol, name)
    if marked is not None:
        return marked
    structured = _structured(answer, scale)
    if structured is not None:
        return structured
    if answer.cut:
        # What looks like a verdict may be half of one: the 1 of a 10 is not a 1.
        raise AnswerTruncated("the answer was cut before its verdict")
    for form in protocol.applied():
        marks = marks_of(form, answer.text, scale)
        if marks:
            return answer.reading(_agreed(marks, answer), f"form:{form.name}")
    marks = stated_marks(answer.text, scale)
    if not marks:
        raise AnswerUnreadable(f"The answer states no verdict. {ask}")
    return answer.reading(_agreed(marks, answer), "prose")


@dataclass(frozen=True, slots=True)
class _Answer:
    """What of the completion is the answer, and where it stands."""

    text: str
    offset: int
    cut: bool
    ask: str
    marker: str = ""

    @classmethod
    def of(cls, completion: Completion[object], ask: str) -> _Answer:
        """The answer; raises where there is nothing to read."""
        if completion.finish in ("refusal", "content_filter"):
            raise AnswerRefused("the judge declined to judge")
        start, end = answer_span(completion.text)
        start = max(start, end - ANSWER_CHARS_MAX)
        text = completion.text[start:end]
        cut = completion.finish == "length"
        if not text.strip():
            if cut:
                raise AnswerTruncated("the answer was cut before its verdict")
            raise AnswerUnreadable(f"The answer is empty. {ask}")
        return cls(text, start, cut, ask)

    def reading(self, mark: Mark, method: str, explanation: str | None = None) -> Reading[Any]:
        start = max(0, self.text.rfind("\n", 0, mark.start) + 1, mark.start - EXCERPT_CHARS_MAX)
        line = self.text[start : mark.end + 40].split("\n")
        excerpt = line[0] if mark.end <= start + len(line[0]) else self.text[mark.start : mark.end]
        why = self.text if explanation is None else explanation
        return Reading(
            mark.value,
            method,
            excerpt.strip()[:EXCERPT_CHARS_MAX],
            why.strip()[:EXPLANATION_CHARS_MAX],
            self.offset + mark.start,
            self.offset + mark.end,
        )


def _marked(answer: _Answer, scale: AnyScale, protocol: Protocol, name: str) -> Reading[Any] | None:
    if not protocol.marker:
        return None
    lines = [line for line in marked_lines(answer.text, protocol.marker) if line.name == name]
    if answer.cut:
        lines = [line for line in lines if line.is_complete or not line.is_last]
    if not lines:
        return None
    marks = [Mark(scale.parse(line.value), line.start, line.end) for line in lines]
    reading = answer.reading(_agreed(marks, answer), "marked")
    hidden = protocol.marker
    before = answer.text[: answer.text.lower().find(hidden.lower())].rpartition("\n")[0]
    return Reading(
        reading.value,
        reading.method,
        reading.excerpt.replace(hidden, "…"),
        before.strip().replace(hidden, "…")[:EXPLANATION_CHARS_MAX],
        reading.start,
        reading.end,
    )


def _structured(answer: _Answer, scale: AnyScale) -> Reading[Any] | None:
    try:
        found = own_object(answer.text, scale.keys)
        if found is None:
            return None
        value = scale.from_json(verdict_in(found.pairs, scale.keys))
    except Contradiction:
        raise AnswerUnreadable(f"The answer gives more than one verdict. {answer.ask}") from None
    after = answer.text[found.end :]
    if answer.cut and after.strip(" \n\t`"):
        raise AnswerTruncated("the answer was cut after a draft of its verdict")
    if value is NOT_OFFERED:
        raise AnswerUnreadable(f"The verdict is not one that was offered. {answer.ask}")
    later = _later_marks(after, scale)
    if any(mark.value != value for mark in later):
        raise AnswerUnreadable(f"The answer gives more than one verdict. {answer.ask}")
    start, end = _value_place(answer.text, found.start, found.end, scale.keys)
    return answer.reading(Mark(value, start, end), "structured", found.explanation)


def _later_marks(after: str, scale: AnyScale) -> list[Mark]:
    """What is stated after the object, in forms or in prose."""
    marks = [
        mark for form in FORMS.values() if form.undeclared for mark in form.marks(after, scale)
    ]
    return marks + stated_marks(after, scale)


def _value_place(text: str, start: int, end: int, keys: Sequence[str]) -> tuple[int, int]:
    """Where the verdict stands in its object, for its excerpt and its log-probabilities."""
    names = "|".join(map(re.escape, keys))
    member = re.compile(rf"[\"'](?:{names})[\"']\s{{0,20}}:\s{{0,20}}[\"']?([^\"',}}\n]{{1,200}})")
    places = [found.span(1) for found in member.finditer(text, start, end)]
    return places[-1] if places else (start, end)


def _agreed(marks: Sequence[Mark], answer: _Answer) -> Mark:
    """The last mark, where all of them say the same."""
    if any(mark.value is NOT_OFFERED for mark in marks):
        raise AnswerUnreadable(f"The verdict is not one that was offered. {answer.ask}")
    if any(mark.value != marks[0].value for mark in marks):
        raise AnswerUnreadable(f"The answer gives more than one verdict. {answer.ask}")
    return marks[-1]


def _ask(protocol: Protocol, values: Mapping[str, str]) -> str:
    """What the judge is told when it is asked again."""
    if protocol.marker:
        return instruction(protocol.marker, values)
    wanted = "; ".join(f"{name}: {value}" if name else value for name, value in values.items())
    return f"Answer again with the verdict alone, {wanted}."


def members(completion: Completion[object], names: Iterable[str], ask: str) -> Mapping[str, Any]:
    """The object of an answer that has a member for each name; raises where there is none."""
    answer = _Answer.of(completion, ask)
    keys = list(names)
    try:
        found = own_object(answer.text, keys)
    except Contradiction:
        raise AnswerUnreadable(f"The answer gives more than one verdict. {ask}") from None
    if found is None or (answer.cut and answer.text[found.end :].strip(" \n\t`")):
        if answer.cut:
            raise AnswerTruncated("the answer was cut before its verdict")
        raise AnswerUnreadable(f"The answer has no such JSON object. {ask}")
    inner: dict[str, Any] = {}
    for key in keys:
        values = found.pairs.values_of(key)
        if values and all(value == values[0] for value in values):
            inner[key] = values[0]
    return inner


def from_members(pairs: Any, scale: AnyScale) -> tuple[Any, str]:
    """The verdict and the reasoning in one member of such an object; raises `KeyError`."""
    if not isinstance(pairs, Pairs):
        raise KeyError(scale.keys[0])
    try:
        value = scale.from_json(verdict_in(pairs, scale.keys))
    except Contradiction:
        value = NOT_OFFERED
    if value is NOT_OFFERED:
        raise KeyError(scale.keys[0])
    return value, next((v for k, v in pairs if k == "reasoning" and isinstance(v, str)), "")
