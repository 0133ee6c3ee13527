"""How easily the output reads, by the classic formulas for English prose."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from assay.criteria.base import Finding
from assay.criteria.deterministic.bounds import BoundedCheck
from assay.criteria.deterministic.normalization import comparable
from assay.criteria.registry import criterion
from assay.domain.case_text import output_text
from assay.domain.evaluation import Case

WORD = re.compile(r"[^\W_]+(?:['’.-][^\W_]+)*")
SENTENCE_END = re.compile(r"(?<![.!?…])(?:(?<!\b[A-Z])[.!?…]++|[.!?…]{2,}+)[\"'”’)\]]*+(?=\s|\Z)")
"""Begun once in each run of marks; a single one after a single capital belongs to a name."""
SILENT_E = re.compile(r"(?<![aeiouyl])e\Z")
VOWELS = re.compile(r"[aeiouy]+")

EASE_BEST = 100.0
GRADE_WORST = 18.0
"""School grade of a postgraduate text; harder ones score 0."""


@dataclass(frozen=True, slots=True)
class ProseCounts:
    """The counts that readability formulas use; characters are letters and digits."""

    sentences: int
    words: int
    characters: int
    syllables: int

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The counts of a text; there is always at least one sentence."""
        words = WORD.findall(text)
        return cls(
            sentences=max(1, len(SENTENCE_END.findall(text))),
            words=len(words),
            characters=sum(sum(map(str.isalnum, word)) for word in words),
            syllables=sum(map(_syllables, words)),
        )


def _syllables(word: str) -> int:
    return max(1, len(VOWELS.findall(SILENT_E.sub("", word.lower()))))


def flesch_reading_ease(prose: ProseCounts) -> float:
    """From about 0 (hard) to 100 (easy), open at both ends. Source: Flesch, 1948."""
    per_sentence, per_word = prose.words / prose.sentences, prose.syllables / prose.words
    return 206.835 - 1.015 * per_sentence - 84.6 * per_word


def flesch_kincaid_grade(prose: ProseCounts) -> float:
    """US school grade. Source: Kincaid et al., 1975."""
    return 0.39 * prose.words / prose.sentences + 11.8 * prose.syllables / prose.words - 15.59


def automated_readability_index(prose: ProseCounts) -> float:
    """US school grade. Source: Senter and Smith, 1967."""
    return 4.71 * prose.characters / prose.words + 0.5 * prose.words / prose.sentences - 21.43


def coleman_liau_index(prose: ProseCounts) -> float:
    """US school grade. Source: Coleman and Liau, 1975."""
    per_hundred = 100 / prose.words
    return 0.0588 * prose.characters * per_hundred - 0.296 * prose.sentences * per_hundred - 15.8


FORMULAS: Mapping[str, Callable[[ProseCounts], float]] = {
    "flesch_reading_ease": flesch_reading_ease,
    "flesch_kincaid_grade": flesch_kincaid_grade,
    "automated_readability_index": automated_readability_index,
    "coleman_liau_index": coleman_liau_index,
}


@criterion
class Readability(BoundedCheck):
    """How easily English prose reads; `value` is on the formula's own scale.

    With `min` or `max`, on that scale, the score is 1 within the bounds and 0 outside. Without
    them it is reading ease ÷ 100, or 1 − grade ÷ 18, limited to 0 to 1. Syllables are counted as
    groups of vowels, which over a paragraph is within a few percent of a pronouncing dictionary.
    A text without words scores 0. Sources: at each formula.
    """

    family: ClassVar[str] = "format"
    default_threshold: ClassVar[float] = 0.5
    example: ClassVar = {
        "output": "The cat sat on the mat.",
        "criteria": [{"type": "readability", "metric": "flesch_kincaid_grade", "max": 8}],
    }
    example_result: ClassVar = {"score": 1.0, "passed": True}
    inline_work_max: ClassVar[int] = 5_000

    type: Literal["readability"]
    metric: Literal[
        "flesch_reading_ease",
        "flesch_kincaid_grade",
        "automated_readability_index",
        "coleman_liau_index",
    ] = "flesch_reading_ease"

    def check(self, case: Case) -> Finding:
        prose = ProseCounts.from_text(comparable(output_text(case)))
        if not prose.words:
            return Finding(0.0, explanation="the output has no words")
        value = FORMULAS[self.metric](prose)
        return Finding(self._score(value), value=value, explanation=f"{self.metric} {value:.1f}")

    def _score(self, value: float) -> float:
        if self.is_bounded:
            return float(self.within_bounds(value))
        is_ease = self.metric == "flesch_reading_ease"
        share = value / EASE_BEST if is_ease else 1 - value / GRADE_WORST
        return min(1.0, max(0.0, share))
