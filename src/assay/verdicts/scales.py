"""What a verdict may be: a number of a range, or one of several labels.

A scale reads an isolated value (`parse`, `from_json`) and a value at a place in a sentence
(`match`). It never rounds, clips or guesses: what is not offered is `NOT_OFFERED`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Generic, TypeVar

from assay.verdicts.tolerant_json import Bare

V = TypeVar("V", bound=str | float)


class NotOffered:
    """Stands for a value that was stated and is not on the scale."""


NOT_OFFERED: Final = NotOffered()

ORNAMENT = " \t\n\r*_`~\"'“”‘’«»「」『』#>.:,;!()[]{}|\\$✅❌✔✘✓✗☑🟢🔴🟡⚠️👍👎➡→•·\ufe0f\u200b"
"""What judges put around a verdict."""

_DENIALS = "!~❌✘✗🔴👎"
"""In front of a value they may deny it."""

ENUM_STEPS_MAX = 21
"""Whole numbers of a range with at most so many are listed in the schema."""
LISTED_CHARS_MAX = 200
"""Labels that are longer together are not repeated at the end of a prompt."""

NUMBER_WORDS: Final = {
    word: number
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
}

_NUMBER = r"[-+\u2212]?[0-9]{1,15}(?:\.[0-9]{1,15})?|[-+\u2212]?\.[0-9]{1,15}"
_OUT_OF = (
    r"[*_`\s(]{0,6}(?:/|out\s{1,3}of(?:\s{1,3}a\s{1,3}possible)?|of\s{1,3}a\s{1,3}possible|von|van|из|sur|"
    r"de(?:\s{1,3}un\s{1,3}total\s{1,3}de)?|su)[*_`\s]{0,6}(?P<of>[0-9]{1,15}(?:\.[0-9]{1,15})?)(?![\w.]*\w)"
)
_NO_LETTER = r"(?![^\W\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af])"
"""No letter follows, but of a script without blanks between words: `4分`."""
_UNIT = (
    r"(?:\s{0,3}(?:points?|pts|stars?|Punkte?n?|Sterne?|étoiles?|puntos?|estrellas?|pontos?|"
    r"estrelas?|punti|stelle|نقاط|★)(?!\w)|\s{0,3}(?:分(?!之)|星|点|점))?"
)
_VALUE = re.compile(rf"(?P<number>{_NUMBER}){_NO_LETTER}(?:{_OUT_OF})?{_UNIT}", re.IGNORECASE)
_WORD = re.compile(rf"(?P<word>{'|'.join(NUMBER_WORDS)})\b(?:{_OUT_OF})?{_UNIT}", re.IGNORECASE)
_NOT_A_NUMBER_AFTER = re.compile(
    r"\s{0,3}%|[.,][0-9]|\s{0,3}[-–—~〜]\s{0,3}[0-9]|\s{1,3}(?:to|or|and|bis|oder|à|ou|o|a)\s{1,3}"
    r"[0-9]|\s{0,3}/\s{0,3}[0-9]|\s{0,3}percent\b|'[0-9]|"
    r"\s{0,3}(?:[+=<>→～:]|->)|\s{1,3}[0-9]|[-\u2011]?ish\b|"
    r",?\s{1,3}\(?(?:maybe|possibly|perhaps|at\s(?:best|most|least)|and\s(?:a\shalf|[0-9])|from\s[0-9])|"
    rf"\s{{1,3}}(?:to|or|and)\s{{1,3}}(?:an?\s)?(?:[0-9]|{'|'.join(NUMBER_WORDS)}\b)"
)
"""A number is not over here: a percentage, a longer number, a range, a choice, another scale."""


def unwrapped(text: str) -> Iterator[str]:
    """The text without the ornament around it; a sign that may change its meaning stays."""
    text = text.strip()
    yield text.rstrip(".")
    if text[:1] == "<" and text[-1:] == ">":
        text = text[1:-1]
    bare = text.lstrip("".join(set(ORNAMENT) - set(_DENIALS) - {">", "."}))
    yield bare.rstrip("".join(set(ORNAMENT) - {"~"}))


@dataclass(frozen=True, slots=True)
class Match(Generic[V]):
    """A value at a place in a text; `value` may be `NOT_OFFERED`. The span is that of the value."""

    value: V | NotOffered
    start: int
    end: int


@dataclass(frozen=True)
class NumberScale:
    """A number from `low` to `high`, both included; whole where `integer`."""

    low: float
    high: float
    integer: bool

    keys = ("score", "rating")
    """The members of a JSON answer that hold the verdict, the schema's own first."""

    @property
    def schema(self) -> Mapping[str, Any]:
        if self.integer and self.high - self.low < ENUM_STEPS_MAX:
            # A small model that is bound by a grammar cannot leave the scale then.
            return {"type": "integer", "enum": list(range(math.ceil(self.low), int(self.high) + 1))}
        # The bounds are words, since some providers refuse `minimum` in strict schemas.
        kind = "integer" if self.integer else "number"
        return {"type": kind, "description": f"from {self.low:g} to {self.high:g}"}

    @property
    def instruction(self) -> str:
        kind = "a whole number" if self.integer else "a number"
        return f"{kind} from {self.low:g} to {self.high:g}"

    def from_json(self, value: Any) -> float | NotOffered:
        if isinstance(value, Bare | str):
            return self.parse(str(value))
        if isinstance(value, bool) or not isinstance(value, int | float):
            return NOT_OFFERED
        return self._offered(value)

    def parse(self, text: str) -> float | NotOffered:
        for candidate in unwrapped(text):
            for pattern in (_VALUE, _WORD):
                if (found := pattern.fullmatch(candidate)) is not None:
                    return self._value(found)
        return NOT_OFFERED

    def match(self, text: str, at: int) -> Match[float] | None:
        found = _VALUE.match(text, at) or _WORD.match(text, at)
        if found is None:
            return None
        value = self._value(found)
        if _NOT_A_NUMBER_AFTER.match(text, found.end()):
            value = NOT_OFFERED
        return Match(value, found.start(), found.end())

    def _value(self, found: re.Match[str]) -> float | NotOffered:
        if found["of"] is not None and float(found["of"]) != self.high:
            return NOT_OFFERED
        groups = found.groupdict()
        if groups.get("word"):
            return self._offered(NUMBER_WORDS[found["word"].lower()])
        return self._offered(float(found["number"].replace("\u2212", "-")))

    def _offered(self, number: float) -> float | NotOffered:
        try:
            value = float(number)
        except OverflowError:
            return NOT_OFFERED
        if not math.isfinite(value) or not self.low <= value <= self.high:
            return NOT_OFFERED
        if self.integer:
            return int(value) if value.is_integer() else NOT_OFFERED
        return value


def folded(text: str) -> str:
    """The form in which labels are compared: one case, one kind of space between words."""
    return " ".join(re.split(r"[\s_]+", text)).strip().casefold()


@dataclass(frozen=True)
class LabelScale:
    """One of `labels`; `synonyms` are other ways of saying one, such as `passed` for `pass`.

    A label of one letter is read in a sentence only where it cannot be an article or initial.
    `exact`: labels that differ only by case (`m`, `M`) are compared as they are.
    `pair`: the two labels of a comparison, first and second; brackets and sentences about which
    of two is better are read for these alone. `tie` is the third label of a comparison.
    """

    labels: tuple[str, ...]
    synonyms: Mapping[str, str] = field(default_factory=dict)
    pair: tuple[str, str] | None = None
    tie: str | None = None

    keys = ("verdict", "label")

    @property
    def schema(self) -> Mapping[str, Any]:
        return {"type": "string", "enum": list(self.labels)}

    @property
    def instruction(self) -> str:
        listed = f"{', '.join(self.labels[:-1])} or {self.labels[-1]}"
        return listed if len(listed) <= LISTED_CHARS_MAX else "one label, exactly as listed above"

    @cached_property
    def exact(self) -> bool:
        return len({folded(label) for label in self.labels}) < len(self.labels)

    @cached_property
    def words(self) -> Mapping[str, str]:
        """Every spelling, folded, with the label that it stands for."""
        if self.exact:
            return {label: label for label in self.labels}
        words = {folded(word): label for word, label in self.synonyms.items()}
        return words | {folded(label): label for label in self.labels}

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        spellings = []
        for word in sorted(self.words, key=len, reverse=True):
            body = r"[\s_]{1,4}".join(re.escape(part) for part in word.split()) or re.escape(word)
            after = r"(?![\w])(?!-\w)" if word[-1:].isalnum() else ""
            spellings.append(f"{body}{after}")
        return re.compile(f"(?:{'|'.join(spellings)})", 0 if self.exact else re.IGNORECASE)

    def from_json(self, value: Any) -> str | NotOffered:
        return self.parse(str(value)) if isinstance(value, str | bool) else NOT_OFFERED

    def parse(self, text: str) -> str | NotOffered:
        for candidate in (text, *unwrapped(text)):
            label = self.words.get(candidate if self.exact else folded(candidate))
            if label is not None:
                return label
        return NOT_OFFERED

    def match(self, text: str, at: int) -> Match[str] | None:
        found = self._pattern.match(text, at)
        if found is None:
            return None
        word = found.group()
        if len(word) == 1 and not self._stands_alone(text, found.end()):
            return None
        label: str | NotOffered = self.words[word if self.exact else folded(word)]
        if _OTHER_CHOICE.match(text, found.end()):
            label = NOT_OFFERED
        return Match(label, found.start(), found.end())

    def matches(self, text: str, start: int, end: int) -> Iterator[Match[str]]:
        """Every place where a whole word of the text is a label."""
        for found in self._pattern.finditer(text, start, end):
            if found.start() == 0 or not text[found.start() - 1].isalnum():
                stated = self.match(text, found.start())
                if stated is not None:
                    yield stated

    @staticmethod
    def _stands_alone(text: str, end: int) -> bool:
        """Whether a single letter is the whole of what is said, and not the article `a`."""
        return _LETTER_ENDS.match(text, end) is not None


_LETTER_ENDS = re.compile(
    r"[)\]}*_`\"'”’]{0,6}(?:\s{0,3}(?:[.,;:!)\n(]|\Z|[-–—]\s)|\s{1,3}(?:because|since|as|is|wins|over|instead|rather)\b)"
)
_OTHER_CHOICE = re.compile(
    r"[\"'”’*`)\]]{0,4}\s{0,3}(?:/|\||,?\s{1,3}(?:or|and/or|oder|ou|o)\s)", re.IGNORECASE
)
"""After a label: it is one of a choice, not the one chosen."""
