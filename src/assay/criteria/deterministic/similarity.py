"""How similar the output is to an expected text, 0 to 1.

Texts are compared in Unicode normalization form C. Of several references the most similar counts.
Two blank texts score 1, a blank text against another one 0.
"""

from __future__ import annotations

import re
import string
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import ClassVar, Literal

from rapidfuzz.distance import Levenshtein as EditDistance

from assay.criteria.base import Finding
from assay.criteria.deterministic.expected_text import ExpectedTextCheck
from assay.criteria.deterministic.findings import best_finding
from assay.criteria.deterministic.ngram_metrics import chrf
from assay.criteria.registry import criterion
from assay.domain.case_text import output_text
from assay.domain.evaluation import Case

PUNCTUATION = re.compile(f"[{re.escape(string.punctuation)}]")
ARTICLES = re.compile(r"\b(a|an|the)\b")


class _SimilarityCheck(ExpectedTextCheck):
    family: ClassVar[str] = "similarity"
    default_threshold: ClassVar[float] = 0.5

    def check(self, case: Case) -> Finding:
        output = self.comparable(output_text(case))
        expected = map(self.comparable, self.expected_texts(case))
        return best_finding(self.similarity(output, text) for text in expected)

    @abstractmethod
    def similarity(self, output: str, expected: str) -> Finding:
        """How similar the two texts are, both in comparable form."""


@criterion
class Levenshtein(_SimilarityCheck):
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
    inline_work_max: ClassVar[int] = 15_000  # quadratic: 17 ms at 50,000

    type: Literal["levenshtein"]

    def similarity(self, output: str, expected: str) -> Finding:
        edits = EditDistance.distance(output, expected)
        longer = max(len(output), len(expected))
        score = 1 - edits / longer if longer else 1.0
        return Finding(score, value=edits, explanation=f"{edits} edits over {longer} characters")


@criterion
class TokenF1(_SimilarityCheck):
    """The harmonic mean of precision and recall over shared words, as SQuAD counts them.

    Words are compared in lower case, without ASCII punctuation and English articles; a text
    without any other words is empty. `value` has `precision` and `recall`. Source: Rajpurkar et
    al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", 2016, and its evaluation
    script 2.0.
    """

    example: ClassVar = {
        "output": "It is the Eiffel Tower in Paris.",
        "reference": "the Eiffel Tower",
        "criteria": [{"type": "token_f1"}],
    }
    example_result: ClassVar = {"score": 0.5, "passed": True}
    inline_work_max: ClassVar[int] = 20_000

    type: Literal["token_f1"]

    def similarity(self, output: str, expected: str) -> Finding:
        found, wanted = _squad_words(output), _squad_words(expected)
        shared = (found & wanted).total()
        if not found or not wanted:
            precision = recall = float(found == wanted)
        else:
            precision, recall = shared / found.total(), shared / wanted.total()
        total = precision + recall
        return Finding(
            2 * precision * recall / total if total else 0.0,
            value={"precision": precision, "recall": recall},
            explanation=f"{shared} of {found.total()} words of the output are among the "
            f"{wanted.total()} words of the reference",
        )


@criterion
class Chrf(_SimilarityCheck):
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
    inline_work_max: ClassVar[int] = 0  # sacrebleu imports NumPy, which stays out of the service

    type: Literal["chrf"]
    word_order: Literal[0, 2] = 0

    def load(self) -> None:
        chrf("a", "a", self.word_order)

    def similarity(self, output: str, expected: str) -> Finding:
        score = score_texts(partial(chrf, word_order=self.word_order), output, expected)
        return Finding(score, value=100 * score, explanation=f"chrF {100 * score:.2f}")


def score_texts(metric: Callable[[str, str], float], output: str, expected: str) -> float:
    """The metric's score, 0 to 1; two blank texts score 1, a blank one against another text 0."""
    output_is_blank, expected_is_blank = not output.strip(), not expected.strip()
    if output_is_blank or expected_is_blank:
        return float(output_is_blank and expected_is_blank)
    return metric(output, expected)


def _squad_words(text: str) -> Counter[str]:
    return Counter(ARTICLES.sub(" ", PUNCTUATION.sub("", text.lower())).split())
