"""Similarity to a reference: how near the output comes to an expected text, 0 to 1.

All texts are compared in Unicode normalisation form C. Of several references the nearest counts.
Two empty texts are alike (1); an empty one and any other are not (0).
"""

from __future__ import annotations

import re
import string
import unicodedata
from abc import abstractmethod
from collections import Counter
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from rapidfuzz.distance import Levenshtein as Edits

from assay.criteria.base import TEXT_CHARS_MAX, Check, Finding
from assay.criteria.deterministic import ngram_metrics
from assay.criteria.registry import criterion
from assay.domain.case_text import output_text, references
from assay.domain.evaluation import Case

Expected = Annotated[str, Field(max_length=TEXT_CHARS_MAX)]

PUNCTUATION = re.compile(f"[{re.escape(string.punctuation)}]")
ARTICLES = re.compile(r"\b(a|an|the)\b")


class _Similarity(Check):
    """Compares the output with one expected text; absent, with each of the case's references."""

    family: ClassVar[str] = "similarity"
    default_threshold: ClassVar[float] = 0.5

    value: Expected | None = Field(
        default=None, description="The expected text; absent: the case's references."
    )
    ignore_case: bool = Field(default=False, description="Compare without regard to case.")

    def check(self, case: Case) -> Finding:
        output = self._comparable(output_text(case))
        expected = references(case) if self.value is None else (self.value,)
        return nearest([self.likeness(output, self._comparable(each)) for each in expected])

    @abstractmethod
    def likeness(self, output: str, expected: str) -> Finding:
        """How near `output` comes to `expected`; both in comparable form."""

    def _comparable(self, text: str) -> str:
        normal = unicodedata.normalize("NFC", text)
        return unicodedata.normalize("NFC", normal.casefold()) if self.ignore_case else normal


@criterion
class Levenshtein(_Similarity):
    """1 − edits ÷ length of the longer text; `value` is the number of edits.

    An edit inserts, deletes or substitutes one code point. Source: Levenshtein, "Binary codes
    capable of correcting deletions, insertions and reversals", 1966.
    """

    example: ClassVar = {
        "output": "sitting",
        "reference": "kitten",
        "criteria": [{"type": "levenshtein"}],
    }
    example_result: ClassVar = {"score": 1 - 3 / 7, "passed": True}
    inline_chars_max: ClassVar[int] = 15_000  # quadratic: 17 ms at 50,000

    type: Literal["levenshtein"]

    def likeness(self, output: str, expected: str) -> Finding:
        edits = Edits.distance(output, expected)
        longer = max(len(output), len(expected))
        score = 1 - edits / longer if longer else 1.0
        return Finding(score, value=edits, explanation=f"{edits} edits over {longer} characters")


@criterion
class TokenF1(_Similarity):
    """The harmonic mean of precision and recall over shared words, as SQuAD counts them.

    Words are compared in lower case, without ASCII punctuation and English articles; a text of
    nothing else is empty. `value` has `precision` and `recall`. Source: Rajpurkar et al., "SQuAD:
    100,000+ Questions for Machine Comprehension of Text", 2016, and its evaluation script 2.0.
    """

    example: ClassVar = {
        "output": "It is the Eiffel Tower in Paris.",
        "reference": "the Eiffel Tower",
        "criteria": [{"type": "token_f1"}],
    }
    example_result: ClassVar = {"score": 0.5, "passed": True}
    inline_chars_max: ClassVar[int] = 30_000

    type: Literal["token_f1"]

    def likeness(self, output: str, expected: str) -> Finding:
        said, wanted = _squad_words(output), _squad_words(expected)
        shared = (said & wanted).total()
        if not said or not wanted:
            precision = recall = float(said == wanted)
        else:
            precision, recall = shared / said.total(), shared / wanted.total()
        both = precision + recall
        return Finding(
            2 * precision * recall / both if both else 0.0,
            value={"precision": precision, "recall": recall},
            explanation=f"{shared} of {said.total()} words of the output are among the "
            f"{wanted.total()} of the reference",
        )


@criterion
class Chrf(_Similarity):
    """chrF: the F2-score over character n-grams of one to six; robust where words inflect.

    `word_order` 2 adds word n-grams and makes it chrF++. `value` is the score from 0 to 100, as
    papers report it. Source: Popović, "chrF: character n-gram F-score for automatic MT
    evaluation", 2015; computed by sacrebleu.
    """

    example: ClassVar = {
        "output": "The cat sat on the mat.",
        "reference": "The cat sits on the mat.",
        "criteria": [{"type": "chrf"}],
    }
    example_result: ClassVar = {"score": 0.6689, "passed": True}
    inline_chars_max: ClassVar[int] = 0  # sacrebleu brings NumPy, which stays out of the service

    type: Literal["chrf"]
    word_order: Literal[0, 2] = 0

    def likeness(self, output: str, expected: str) -> Finding:
        if not output.strip() or not expected.strip():
            score = float(output.strip() == expected.strip())
        else:
            score = ngram_metrics.chrf(output, expected, self.word_order)
        return Finding(score, value=100 * score, explanation=f"chrF {100 * score:.2f}")


def nearest(findings: list[Finding]) -> Finding:
    """The best of the findings over several references; the first of equals."""
    return max(findings, key=lambda each: each.score)


def _squad_words(text: str) -> Counter[str]:
    return Counter(ARTICLES.sub(" ", PUNCTUATION.sub("", text.lower())).split())
