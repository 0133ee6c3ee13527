"""Reads a judge's verdict by protocol: what is marked as one, and never what looks like one.

In this order: thinking comes off; the marked line; the JSON object; a named form; prose by
consensus. What is not certainly one verdict on the offered scale raises: `AnswerUnreadable` with
a message meant for the judge, `AnswerTruncated`, or `AnswerRefused`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from assay.domain.completion import Completion, TokenLogprob
from assay.domain.errors import AnswerRefused, AnswerTruncated, AnswerUnreadable
from assay.domain.evaluation import JudgeSign, ReadFrom
from assay.verdicts.assertion import is_assertion, is_corrected, without_quotations
from assay.verdicts.forms import FORMS, AnyScale, Form, Mark, marks_of
from assay.verdicts.logprobs import token_at
from assay.verdicts.marked import marked_lines, seen, without_manipulation
from assay.verdicts.prose import frames, stated_marks, stated_value
from assay.verdicts.reasoning import answer_span
from assay.verdicts.scales import NOT_OFFERED
from assay.verdicts.structured import Contradiction, own_object, verdict_in
from assay.verdicts.tolerant_json import Pairs

READER_VERSION = 2
"""Counted up where an answer may be read differently: results of before are not comparable."""
ANSWER_CHARS_MAX = 100_000
"""Of a longer answer only the end is read: the verdict comes last."""
COPY_CHARS_MIN = 5
MARKED_VALUES_MAX = 20
"""Different values in marked lines that are compared."""
EXPLANATION_CHARS_MAX = 20_000
EXCERPT_CHARS_MAX = 200

_DENIED = re.compile(
    r"(?:but|however|(?:that|this) (?:is|was) not|"
    r"I (?:ignore|reject|disagree|cannot|can['’]t|will not|won['’]t|do not|don['’]t))\b",
    re.IGNORECASE,
)
"""After a verdict: it is taken back, or was only quoted."""

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Reading(Generic[V]):
    """A verdict as it was read.

    `method` is `structured`, `marked`, `form:NAME`, `prose` or `probability`; `excerpt` is what was
    read, with the marker hidden. `start` and `end` are the verdict's place in the completion's
    text, and `token` is the output token there, where the model gave log-probabilities.
    `manipulation` is what the whole answer says of the case. `masses` has the probability of each
    verdict, where the model decides.
    """

    value: V
    method: str
    excerpt: str
    explanation: str
    start: int
    end: int
    token: TokenLogprob | None = None
    manipulation: JudgeSign | None = None
    masses: Mapping[Any, float] | None = None

    @property
    def excerpted(self) -> ReadFrom:
        return ReadFrom(self.method, self.excerpt)


@dataclass(frozen=True, slots=True)
class Protocol:
    """How one call asked for its verdict.

    `marker` is the random value of the marked line, '' where none was asked for. `forms` are the
    declared forms by name, beside those that are read undeclared. `shown` are the texts of the
    case: without the marker, what stands there word for word is a copy and no verdict.
    """

    marker: str = ""
    forms: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()

    def check_own(self, statement: str) -> None:
        """Raise where a statement is a copy; a word or a number alone is too common to be one."""
        is_common = len(statement) < COPY_CHARS_MIN or statement.replace(" ", "").isalnum()
        # Most verdicts begin with a brace, which most cases do not have, and a search for one
        # character takes a small part of that for the whole verdict.
        first = statement[:1]
        if not is_common and any(first in text and statement in text for text in self.shown):
            raise AnswerUnreadable("The verdict stands word for word in the material.")

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
    answer = _Answer.of(completion, protocol.marker)
    marked = _marked(answer, scale, protocol, name)
    if marked is not None:
        return marked
    structured = _structured(answer, scale, protocol)
    if structured is not None:
        return structured
    if answer.cut:
        # What looks like a verdict may be half of one: the 1 of a 10 is not a 1.
        raise AnswerTruncated("The answer was cut before its verdict.")
    own = without_quotations(answer.text, lambda text: scale.parse(text) is not NOT_OFFERED)
    stated = stated_marks(answer.text, scale)
    for form in protocol.applied():
        declared = form.name in protocol.forms
        marks = marks_of(form, answer.text if declared else own, scale)
        if form.framed:
            marks = [mark for mark in marks if frames(answer.text, mark, scale)]
        # A form that is not declared may be quoted or denied, as prose may.
        if marks and (declared or any(_stands(own, mark, scale) for mark in marks)):
            others = [] if declared else stated
            why = completion.text if form.reasoned else None
            reading = answer.reading(_agreed([*others, *marks]), f"form:{form.name}", why)
            break
    else:
        if not stated:
            raise AnswerUnreadable("The answer states no verdict.")
        reading = answer.reading(_agreed(stated), "prose")
    protocol.check_own(reading.excerpt)
    return reading


def _stands(own: str, mark: Mark, scale: AnyScale) -> bool:
    """Whether a mark is the judge's own: in a plain sentence, or at the end of the answer."""
    if frames(own, mark, scale):
        return True
    at_end = not re.search(r"\w", own[mark.end :].replace("[END]", ""))
    return at_end and is_assertion(own, mark.start, mark.end)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What of the completion is the answer, and where it stands.

    What it says of manipulation in lines is no part of `text`.
    """

    completion: Completion[object]
    text: str
    offset: int
    cut: bool
    manipulation: JudgeSign | None

    @classmethod
    def of(cls, completion: Completion[object], marker: str) -> _Answer:
        """The answer; raises where there is nothing to read."""
        if completion.finish in ("refusal", "content_filter"):
            raise AnswerRefused("The judge declined to judge.")
        start, end = answer_span(completion.text)
        start = max(start, end - ANSWER_CHARS_MAX)
        text, said = without_manipulation(completion.text[start:end], marker)
        cut = completion.finish == "length"
        if not text.strip():
            if cut:
                raise AnswerTruncated("The answer was cut before its verdict.")
            raise AnswerUnreadable("The answer is empty.")
        return cls(completion, text, start, cut, seen(said))

    def reading(
        self,
        mark: Mark,
        method: str,
        explanation: str | None = None,
        manipulation: JudgeSign | None = None,
    ) -> Reading[Any]:
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
            token_at(self.completion, self.offset + mark.start),
            manipulation or self.manipulation,
        )


def _marked(answer: _Answer, scale: AnyScale, protocol: Protocol, name: str) -> Reading[Any] | None:
    if not protocol.marker:
        return None
    lines = [
        line
        for line in marked_lines(answer.text, protocol.marker)
        # The judge may repeat the line as it was asked for it.
        if (line.name == name or (not name and line.name in scale.keys))
        and line.value.strip("<>`* ") not in ("", scale.instruction)
    ]
    if answer.cut:
        lines = [line for line in lines if line.is_complete or not line.is_last]
    if not lines:
        return None
    after = answer.text[lines[-1].end :]
    if _goes_on(after):
        raise AnswerUnreadable("The answer goes on after its verdict.")
    distinct = {line.value for line in lines}
    if len(distinct) > MARKED_VALUES_MAX:
        raise AnswerUnreadable("The answer gives more than one verdict.")
    values = {value: stated_value(value, scale) for value in distinct}
    marks = [Mark(values[line.value], line.start, line.end) for line in lines]
    reading = answer.reading(_agreed(marks), "marked")
    before = answer.text[: lines[0].start].rpartition("\n")[0]
    return replace(
        reading,
        excerpt=_hidden(reading.excerpt, protocol.marker),
        explanation=_hidden(before, protocol.marker).strip()[:EXPLANATION_CHARS_MAX],
    )


def _goes_on(after: str) -> bool:
    """Whether what follows a verdict is the rest of its sentence, or takes it back."""
    after = after.strip(" \n\t`")
    return after[:1].islower() or _DENIED.match(after) is not None or is_corrected(after, 0)


def _hidden(text: str, marker: str) -> str:
    return text.replace(marker, "…").replace(marker.upper(), "…")


def _structured(answer: _Answer, scale: AnyScale, protocol: Protocol) -> Reading[Any] | None:
    try:
        found = own_object(answer.text, scale.keys)
        if found is None:
            return None
        protocol.check_own(answer.text[found.start : found.end])
        value = scale.from_json(verdict_in(found.pairs, scale.keys))
    except Contradiction:
        raise AnswerUnreadable("The answer gives more than one verdict.") from None
    # The fence that closes the object would seem to open one around what follows.
    after = answer.text[found.end :].lstrip().removeprefix("```")
    if answer.cut and after.strip(" \n\t`"):
        raise AnswerTruncated("The answer was cut after a draft of its verdict.")
    if value is NOT_OFFERED:
        raise AnswerUnreadable("The verdict is not one that was offered.")
    others = [*stated_marks(answer.text[: found.start], scale), *_later_marks(after, scale)]
    if _goes_on(after) or any(mark.value != value for mark in others):
        raise AnswerUnreadable("The answer gives more than one verdict.")
    start, end = _value_place(answer.text, found.start, found.end, scale.keys)
    mark = Mark(value, start, end)
    return answer.reading(mark, "structured", found.explanation, found.manipulation)


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


def _agreed(marks: Sequence[Mark]) -> Mark:
    """The last mark, where all of them say the same."""
    if any(mark.value is NOT_OFFERED for mark in marks):
        raise AnswerUnreadable("The verdict is not one that was offered.")
    if any(mark.value != marks[0].value for mark in marks):
        raise AnswerUnreadable("The answer gives more than one verdict.")
    return marks[-1]


def read_verdicts(
    completion: Completion[object], scales: Mapping[str, AnyScale], protocol: Protocol = PLAIN
) -> dict[str, Reading[Any]]:
    """The verdicts of an answer by their names, as far as they can be read.

    They stand in marked lines, or in one JSON object with a member for each name; nothing else is
    read. Raises where none of them can be.
    """
    answer = _Answer.of(completion, protocol.marker)
    readings: dict[str, Reading[Any]] = {}
    for name, scale in scales.items():
        with suppress(AnswerUnreadable):
            if (marked := _marked(answer, scale, protocol, name)) is not None:
                readings[name] = marked
    if readings:
        return readings
    try:
        found = own_object(answer.text, list(scales))
    except Contradiction:
        raise AnswerUnreadable("The answer gives more than one verdict.") from None
    if answer.cut and (found is None or answer.text[found.end :].strip(" \n\t`")):
        raise AnswerTruncated("The answer was cut before its verdict.")
    protocol.check_own("" if found is None else answer.text[found.start : found.end])
    for name, scale in scales.items():
        values = [] if found is None else found.pairs.values_of(name)
        if found is not None and values and all(value == values[0] for value in values):
            value, why = _in_member(values[0], scale)
            if value is not NOT_OFFERED:
                mark = Mark(value, found.start, found.end)
                readings[name] = answer.reading(mark, "structured", why, found.manipulation)
    if not readings:
        raise AnswerUnreadable("The answer states no verdict.")
    return readings


def _in_member(value: Any, scale: AnyScale) -> tuple[Any, str]:
    """The verdict in one member of such an object, and its reasoning."""
    if not isinstance(value, Pairs):
        return scale.from_json(value) if isinstance(value, str) else NOT_OFFERED, ""
    try:
        verdict = scale.from_json(verdict_in(value, scale.keys))
    except (Contradiction, KeyError):
        return NOT_OFFERED, ""
    return verdict, next((v for k, v in value if k == "reasoning" and isinstance(v, str)), "")
