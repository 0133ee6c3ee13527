"""Named forms: how trained judges and published prompts write their verdicts.

A form is a small grammar over its own marks, and its value is the one on which all marks agree.
Brackets and `[RESULT]` are unmistakable and are read undeclared; every other form is read only
where a model or a criterion declares it. docs/judging.md lists them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal

from assay.verdicts.scales import NOT_OFFERED, LabelScale, NotOffered, NumberScale

AnyScale = NumberScale | LabelScale

FormName = Literal[
    "brackets", "result", "final_verdict", "two_scores", "option", "stars", "words", "score_tag"
]

MARKS_MAX = 1_000
"""Marks of one form that are compared."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One mark of a form: what stands in it, as the scale reads it, and where."""

    value: Any
    start: int
    end: int


Grammar = Callable[[str, AnyScale], Iterator[Mark]]


@dataclass(frozen=True, slots=True)
class Form:
    """A named form.

    `undeclared`: unmistakable, so read even where nothing declares it. `framed`: its marks are
    words of the language as well, so they count only in a sentence that says no more. `reasoned`:
    the answer's reasoning stands in tags that hold mere thinking elsewhere.
    """

    name: str
    marks: Grammar
    undeclared: bool = False
    framed: bool = False
    reasoned: bool = False


_GRADES: Final[Mapping[str, float]] = {"A>>B": 1.0, "A>B": 1.0, "A=B": 0.5, "B>A": 0.0, "B>>A": 0.0}
_BRACKETED = re.compile(r"\[\[\s{0,3}([^\[\]\n]{1,60}?)\s{0,3}\]\]")
_RATED = re.compile(r"[\d\s.,/:>=<~-]{1,60}\Z|[A-Za-z](?:\s{0,2}[,/]\s{0,2}[A-Za-z]){0,9}\Z")
"""What is meant as a verdict, offered or not: numbers, and single letters."""


def _in_brackets(text: str, scale: AnyScale) -> Iterator[Mark]:
    """`[[4]]`, `[[A]]`, `[[A>>B]]`; MT-bench, Arena-Hard."""
    for found in _BRACKETED.finditer(text):
        value = _bracket_value(found[1], scale)
        if value is not NOT_OFFERED or _RATED.match(found[1].strip("*_` ")):
            yield Mark(value, found.start(1), found.end(1))
    unclosed = text.rfind("[[")
    if unclosed >= 0 and "]]" not in text[unclosed:]:
        yield Mark(NOT_OFFERED, unclosed, len(text))


def _bracket_value(inside: str, scale: AnyScale) -> Any:
    inside = re.sub(r"\A(?:rating|score|verdict)\s{0,2}:\s{0,2}", "", inside, flags=re.IGNORECASE)
    value = scale.parse(inside)
    if value is not NOT_OFFERED or isinstance(scale, NumberScale):
        return value
    return _pair_value(inside, scale)


def _pair_value(inside: str, scale: LabelScale) -> str | NotOffered:
    """The label of a comparison for the letters and grades of published prompts."""
    if scale.pair is None:
        return NOT_OFFERED
    letter = inside.strip(" *_`").upper().replace(" ", "")
    first, second = scale.pair
    named = {"A": first, "B": second, "1": first, "2": second}
    if letter in named:
        return named[letter]
    if letter in ("C", "TIE") or _GRADES.get(letter) == 0.5:  # noqa: PLR2004 - the even grade
        return NOT_OFFERED if scale.tie is None else scale.tie
    grade = _GRADES.get(letter)
    return NOT_OFFERED if grade is None else first if grade else second


_RESULT = re.compile(
    r"\[RESULT\][\s*_`:(\"'\[{]{0,8}(?P<value>[^\n]{1,60}?)[\s*_`)\"'\]}.]{0,8}(?=\n|\Z|\[RESULT\])",
    re.IGNORECASE,
)


def _result(text: str, scale: AnyScale) -> Iterator[Mark]:
    """`[RESULT] 4`, `[RESULT] A`; Prometheus."""
    for found in _RESULT.finditer(text):
        value = _bracket_value(found["value"], scale)
        if value is NOT_OFFERED:
            stated = scale.match(text, found.start("value"))
            if stated is not None:
                yield Mark(stated.value, stated.start, stated.end)
                continue
        yield Mark(value, found.start("value"), found.end("value"))


_FINAL = re.compile(
    r"\bFINAL\s{1,3}(?:VERDICT|ANSWER|DECISION|CHOICE|JUDGE?MENT|SCORE|RATING|GRADE)\b"
    r"[\s*_`\"']{0,6}(?:is|:|=|-|–)[\s*_`\"'(\[]{0,8}"
    r"(?:(?:assistant|output|response|answer|model|option)\s{1,3}\(?)?(?P<value>[^\n]{1,60})",
    re.IGNORECASE,
)


def _final_verdict(text: str, scale: AnyScale) -> Iterator[Mark]:
    """`FINAL VERDICT: A`."""
    for found in _FINAL.finditer(text):
        value = _bracket_value(found["value"].strip(" *_`\"'.()[]"), scale)
        stated = scale.match(text, found.start("value")) if value is NOT_OFFERED else None
        if stated is None:
            yield Mark(value, found.start("value"), found.end("value"))
        else:
            yield Mark(stated.value, stated.start, stated.end)


_TWO_SCORES = re.compile(
    r"\A\s{0,10}(\d{1,3}(?:\.\d{1,3})?)[ \t,]{1,4}(\d{1,3}(?:\.\d{1,3})?)\s{0,4}(?:\n|\Z)"
)


def _two_scores(text: str, scale: AnyScale) -> Iterator[Mark]:
    """`8 7` on the first line: the scores of both outputs; JudgeLM, PandaLM's numbers, FairEval."""
    found = _TWO_SCORES.match(text)
    if found is None or isinstance(scale, NumberScale) or scale.pair is None:
        return
    first, second = float(found[1]), float(found[2])
    value = scale.tie if first == second else scale.pair[0] if first > second else scale.pair[1]
    yield Mark(NOT_OFFERED if value is None else value, found.start(1), found.end(2))


_OPTION = re.compile(r"^[\s*_`(\[]{0,6}([A-Za-z])[)\].:*_`]{1,4}(?=\s|\Z)", re.MULTILINE)


def _option_letter(text: str, scale: AnyScale) -> Iterator[Mark]:
    """`B) the second summary …`, `(C)`: an option's letter at the start of the answer."""
    if isinstance(scale, NumberScale):
        return
    for found in _OPTION.finditer(text):
        value = _bracket_value(found[1], scale)
        yield Mark(value, found.start(1), found.end(1))


_GLYPHS = re.compile(r"([★⭐🌟]\ufe0f?){1,10}(?P<empty>[☆✩]{0,10})")
_STARS = re.compile(
    r"(?P<number>\d{1,2}(?:\.\d)?)(?P<of>\s{0,2}(?:(?:out\s{1,2})?of|/)\s{0,2}(?P<all>\d{1,2}))?\s{0,2}"
    r"(?:stars?|Sterne?n?|étoiles?|estrellas?|estrelas?|stelle|星|★|⭐)"
    r"(?:\s{1,2}(?:out\s{1,2})?of\s{1,2}(?P<later>\d{1,2}))?",
    re.IGNORECASE,
)


def _stars(text: str, scale: AnyScale) -> Iterator[Mark]:
    """`★★★★☆`, `4 stars`, `4 out of 5 stars`."""
    if isinstance(scale, LabelScale):
        return
    for found in _GLYPHS.finditer(text):
        count = sum(found.group().count(glyph) for glyph in "★⭐🌟")
        other_scale = found["empty"] and count + len(found["empty"]) != scale.high
        value = NOT_OFFERED if other_scale else scale.parse(str(count))
        yield Mark(value, found.start(), found.end())
    for found in _STARS.finditer(text):
        high = found["all"] or found["later"]
        other_scale = high is not None and float(high) != scale.high
        value = NOT_OFFERED if other_scale else scale.parse(found["number"])
        yield Mark(value, found.start(), found.end())


WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "en": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    "de": (
        "null",
        "eins",
        "zwei",
        "drei",
        "vier",
        "fünf",
        "sechs",
        "sieben",
        "acht",
        "neun",
        "zehn",
    ),
    "fr": ("zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "dix"),
    "es": (
        "cero",
        "uno",
        "dos",
        "tres",
        "cuatro",
        "cinco",
        "seis",
        "siete",
        "ocho",
        "nueve",
        "diez",
    ),
    "pt": ("zero", "um", "dois", "três", "quatro", "cinco", "seis", "sete", "oito", "nove", "dez"),
    "it": (
        "zero",
        "uno",
        "due",
        "tre",
        "quattro",
        "cinque",
        "sei",
        "sette",
        "otto",
        "nove",
        "dieci",
    ),
    "zh": ("零", "一", "二", "三", "四", "五", "六", "七", "八", "九", "十"),
    "ja": ("零", "一", "二", "三", "四", "五", "六", "七", "八", "九", "十"),
    "ko": ("영", "일", "이", "삼", "사", "오", "육", "칠", "팔", "구", "십"),
    "ar": (
        "صفر",
        "واحد",
        "اثنان",
        "ثلاثة",
        "أربعة",
        "خمسة",
        "ستة",
        "سبعة",
        "ثمانية",
        "تسعة",
        "عشرة",
    ),
}
"""Zero to ten in the languages of the form `words`."""

_WORD_VALUES: Final = {
    word: number for words in WORDS.values() for number, word in enumerate(words)
}
_WORD = re.compile(
    rf"^[\s*_`\"'“「(]{{0,6}}(?:[^\n:：]{{0,40}}[:：]\s{{0,4}})?[*_`\"'“「]{{0,4}}"
    rf"({'|'.join(sorted(_WORD_VALUES, key=len, reverse=True))})(?!\w)[^\w\n]{{0,12}}"
    r"(?:(?:points?|stars?|Punkte|Sterne|puntos|pontos|punti|分|点|점)\W{0,6})?$",
    re.IGNORECASE | re.MULTILINE,
)


def _number_word(text: str, scale: AnyScale) -> Iterator[Mark]:
    """A score in words that stands by itself on a line, `Note: quatre`, in ten languages."""
    if isinstance(scale, LabelScale):
        return
    for found in _WORD.finditer(text):
        value = scale.parse(str(_WORD_VALUES[found[1].lower()]))
        yield Mark(value, found.start(1), found.end(1))


_SCORE_TAG = re.compile(r"<score>\s{0,9}(?P<value>[^<>]{1,60}?)\s{0,9}</score>", re.IGNORECASE)


def _score_tag(text: str, scale: AnyScale) -> Iterator[Mark]:
    """`<score>4</score>`; Glider, Flow-Judge."""
    for found in _SCORE_TAG.finditer(text):
        yield Mark(scale.parse(found["value"]), *found.span("value"))


_PASS_FAIL = re.compile(r"[\"']SCORE[\"']\s{0,9}:\s{0,9}[\"']?(?P<value>PASS|FAIL)(?!\w)")
_SAFE = re.compile(
    r"\A\s{0,20}(?P<value>safe|unsafe)"
    r"(?:\s{0,9}\n\s{0,9}S\d{1,2}(?:\s{0,3},\s{0,3}S\d{1,2}){0,30})?\s{0,20}\Z"
)


def _of_two(pattern: re.Pattern[str]) -> Grammar:
    """Words for good and bad: the best and the worst of labels that are listed in this order.

    For profiles alone: they serve only criteria whose labels are.
    """

    def marks(text: str, scale: AnyScale) -> Iterator[Mark]:
        for found in pattern.finditer(text):
            good = found["value"] in ("PASS", "safe")
            labels = getattr(scale, "labels", (NOT_OFFERED,))
            yield Mark(labels[0 if good else -1], *found.span("value"))

    return marks


FORMS: Final[Mapping[str, Form]] = {
    form.name: form
    for form in (
        Form("brackets", _in_brackets, undeclared=True),
        Form("result", _result, undeclared=True),
        Form("final_verdict", _final_verdict, framed=True),
        Form("two_scores", _two_scores),
        Form("option", _option_letter),
        Form("stars", _stars, framed=True),
        Form("words", _number_word),
        Form("score_tag", _score_tag, reasoned=True),
        Form("pass_fail", _of_two(_PASS_FAIL)),
        Form("safe_unsafe", _of_two(_SAFE)),
    )
}
"""Every form by the name that a model's or a criterion's `reading` declares it with."""


def marks_of(form: Form, text: str, scale: AnyScale) -> list[Mark]:
    """The marks of a form, without a list of all that is offered, which is a legend."""
    marks = list(islice(form.marks(text, scale), MARKS_MAX))
    if isinstance(scale, LabelScale):
        offered = set(scale.labels)
        # A line without a line end between its marks lists them together.
        lines: list[list[Mark]] = []
        for mark in marks:
            if lines and "\n" not in text[lines[-1][-1].end : mark.start]:
                lines[-1].append(mark)
            else:
                lines.append([mark])
        legends = [line for line in lines if {mark.value for mark in line} >= offered]
        marks = [mark for line in lines if line not in legends for mark in line]
    return marks
