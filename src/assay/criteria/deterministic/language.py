"""What kind of prose the output is: its language, and how easily it reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from assay.criteria.base import Check, Finding
from assay.criteria.registry import criterion
from assay.domain.case_text import output_text
from assay.domain.evaluation import Case

_CODES = """
ace af am an ar ary arz as az ba bcl be bg bn br bs ca crh cs cy da de dz el en eo es et eu ext
fa fi fo fr fuv fy ga gcf gcr gd gl gom grc gu gug guw ha hbo he hi hr ht hu hy id ig is it ja
jv ka kab kik kk km kn ko ku ky la lb lg lij ln lo lt ltg lv mg mk ml mn mr ms mt my ne nl nn no
nso oc om or pa pcm pl ps pt qu ro ru rw sa sdh se si sk sl sn so sq sr st sv sw ta te tg th tk
tl tr tt ug uk ur uz uzs vec vi vo wa wuu xh yo yue zh zu
"""
LANGUAGES = frozenset(_CODES.split())
"""What the model of py3langid tells apart, by ISO 639-1, or 639-3 where that has no code."""


def _known(code: str) -> str:
    if code not in LANGUAGES:
        raise PydanticCustomError(
            "unknown_language",
            "{code} is not a language code we know, such as en, de or zh",
            {"code": code},
        )
    return code


LanguageCode = Annotated[str, Field(max_length=3), AfterValidator(_known)]


@criterion
class Language(Check):
    """The probability, 0 to 1, that the output is written in one of `languages`.

    Codes are of ISO 639 (`en`, `de`, `zh`). `label` is the likeliest of 140 languages and
    `value` its probability. Below about twenty letters the answer is a guess and the probability
    says so; a text without letters scores 0. Source: Lui and Baldwin, "langid.py: An
    Off-the-shelf Language Identification Tool", 2012; the model ships with py3langid.
    """

    family: ClassVar[str] = "format"
    default_threshold: ClassVar[float] = 0.5
    example: ClassVar = {
        "output": "Die Rechnung wurde am Montag verschickt.",
        "criteria": [{"type": "language", "languages": ["de"]}],
    }
    example_result: ClassVar = {"score": 0.98, "passed": True}
    inline_chars_max: ClassVar[int] = 0  # the model takes 100 MB

    type: Literal["language"]
    languages: tuple[LanguageCode, ...] = Field(min_length=1, max_length=len(LANGUAGES))

    def check(self, case: Case) -> Finding:
        text = output_text(case)
        if not any(character.isalpha() for character in text):
            return Finding(0.0, explanation="the output has no letters")
        ranked = [(code, float(share)) for code, share in _identifier().rank(text)]
        likeliest, share = ranked[0]
        score = sum(share for code, share in ranked if code in self.languages)
        return Finding(
            min(1.0, score),
            value=share,
            label=likeliest,
            explanation=f"most likely {likeliest} ({share:.0%})",
        )


@cache
def _identifier() -> Any:
    # A second and 100 MB, so only in a process that identifies languages.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # noqa: PLC0415

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@dataclass(frozen=True, slots=True)
class Prose:
    """Counts that readability formulas are made of; characters are letters and digits."""

    sentences: int
    words: int
    characters: int
    syllables: int


WORD = re.compile(r"[^\W_]+(?:['’.-][^\W_]+)*")
SENTENCE_END = re.compile(r"(?<!\b[A-Z])[.!?…]+[\"'”’)\]]*(?=\s|\Z)")
SILENT_E = re.compile(r"(?<![aeiouyl])e\Z")
VOWELS = re.compile(r"[aeiouy]+")

EASE_BEST = 100.0
GRADE_WORST = 18.0
"""School grade of a postgraduate text; harder ones score 0."""


def flesch_reading_ease(prose: Prose) -> float:
    """From about 0 (hard) to 100 (easy), open at both ends. Source: Flesch, 1948."""
    per_sentence, per_word = prose.words / prose.sentences, prose.syllables / prose.words
    return 206.835 - 1.015 * per_sentence - 84.6 * per_word


def flesch_kincaid_grade(prose: Prose) -> float:
    """US school grade. Source: Kincaid et al., 1975."""
    return 0.39 * prose.words / prose.sentences + 11.8 * prose.syllables / prose.words - 15.59


def automated_readability_index(prose: Prose) -> float:
    """US school grade. Source: Senter and Smith, 1967."""
    return 4.71 * prose.characters / prose.words + 0.5 * prose.words / prose.sentences - 21.43


def coleman_liau_index(prose: Prose) -> float:
    """US school grade. Source: Coleman and Liau, 1975."""
    per_hundred = 100 / prose.words
    return 0.0588 * prose.characters * per_hundred - 0.296 * prose.sentences * per_hundred - 15.8


FORMULAS: Mapping[str, Callable[[Prose], float]] = {
    "flesch_reading_ease": flesch_reading_ease,
    "flesch_kincaid_grade": flesch_kincaid_grade,
    "automated_readability_index": automated_readability_index,
    "coleman_liau_index": coleman_liau_index,
}


@criterion
class Readability(Check):
    """How easily English prose reads; `value` is on the formula's own scale.

    With `min` or `max`, on that scale, the score is 1 within the bounds and 0 outside. Without,
    it is reading ease ÷ 100, or 1 − grade ÷ 18, held within 0 to 1. Syllables are counted as
    groups of vowels, within a few percent of a pronouncing dictionary over a paragraph. A text
    without words scores 0. Sources: at each formula.
    """

    family: ClassVar[str] = "format"
    default_threshold: ClassVar[float] = 0.5
    example: ClassVar = {
        "output": "The cat sat on the mat.",
        "criteria": [{"type": "readability", "metric": "flesch_kincaid_grade", "max": 8}],
    }
    example_result: ClassVar = {"score": 1.0, "passed": True}
    inline_chars_max: ClassVar[int] = 5_000

    type: Literal["readability"]
    metric: Literal[
        "flesch_reading_ease",
        "flesch_kincaid_grade",
        "automated_readability_index",
        "coleman_liau_index",
    ] = "flesch_reading_ease"
    min: float | None = Field(default=None, description="Lowest accepted value.")
    max: float | None = Field(default=None, description="Highest accepted value.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise PydanticCustomError("bounds_crossed", "min is greater than max")
        return self

    def check(self, case: Case) -> Finding:
        prose = counted(output_text(case))
        if not prose.words:
            return Finding(0.0, explanation="the output has no words")
        value = FORMULAS[self.metric](prose)
        return Finding(self._score(value), value=value, explanation=f"{self.metric} {value:.1f}")

    def _score(self, value: float) -> float:
        if self.min is not None or self.max is not None:
            above = self.min is None or value >= self.min
            return float(above and (self.max is None or value <= self.max))
        ease = self.metric == "flesch_reading_ease"
        share = value / EASE_BEST if ease else 1 - value / GRADE_WORST
        return min(1.0, max(0.0, share))


def counted(text: str) -> Prose:
    """The counts of a text; where it has words it has at least one sentence."""
    words = WORD.findall(text)
    return Prose(
        sentences=max(1, len(SENTENCE_END.findall(text))),
        words=len(words),
        characters=sum(sum(map(str.isalnum, word)) for word in words),
        syllables=sum(map(_syllables, words)),
    )


def _syllables(word: str) -> int:
    return max(1, len(VOWELS.findall(SILENT_E.sub("", word.lower()))))
