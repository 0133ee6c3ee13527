"""Whether the output is as long as allowed, in words, characters, sentences or lines."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

import regex

from assay.criteria.deterministic.bounds import CountCheck
from assay.criteria.deterministic.normalization import TEXT_WORK_MAX, comparable
from assay.criteria.registry import criterion
from assay.domain.case_text import output_text
from assay.domain.evaluation import Case

SENTENCE_END = regex.compile(
    r"""(?<![.!?…．])[.!?…．]++[\p{Pe}\p{Pf}"'”’]*+(?=\s|$)|[\p{Sentence_Terminal}--[.!?．]]+""",
    regex.VERSION1,
)
"""The marks of the Latin script also stand within numbers and names; the others only end.

Possessive, and begun once in each run: the time stays linear.
"""


class _LengthCheck(CountCheck):
    family: ClassVar[str] = "text"
    inline_work_max: ClassVar[int] = TEXT_WORK_MAX

    @abstractmethod
    def length(self, text: str) -> int:
        """How long the text is."""

    def count_in(self, case: Case) -> int:
        return self.length(output_text(case))


@criterion
class WordCount(_LengthCheck):
    """Whether the number of words, separated by white space, lies within `min` and `max`."""

    example: ClassVar = {
        "output": "Short and sweet.",
        "criteria": [{"type": "word_count", "max": 50}],
    }

    type: Literal["word_count"]

    def length(self, text: str) -> int:
        return len(text.split())


@criterion
class CharCount(_LengthCheck):
    """Whether the number of characters (code points, in form C) lies within `min` and `max`."""

    example: ClassVar = {"output": "A title", "criteria": [{"type": "char_count", "max": 60}]}

    type: Literal["char_count"]

    def length(self, text: str) -> int:
        return len(comparable(text))


@criterion
class SentenceCount(_LengthCheck):
    """Whether the number of sentences lies within `min` and `max`.

    A sentence ends with . ! ? … (and closing quotes or brackets) before white space or the end of
    the text, or with a mark of another script that Unicode lists as a sentence's end, such as 。
    ؟ or ।; a last sentence without an end mark counts. Abbreviations count as ends, so allow for a
    few more. Source: Unicode Character Database, Sentence_Terminal.
    """

    example: ClassVar = {
        "output": "It rains. Take an umbrella!",
        "criteria": [{"type": "sentence_count", "min": 1, "max": 3}],
    }

    type: Literal["sentence_count"]

    def length(self, text: str) -> int:
        return sum(any(map(str.isalnum, part)) for part in SENTENCE_END.split(text))


@criterion
class LineCount(_LengthCheck):
    """Whether the number of lines that are not blank lies within `min` and `max`."""

    example: ClassVar = {
        "output": "apple\npear\nplum",
        "criteria": [{"type": "line_count", "min": 3, "max": 3}],
    }

    type: Literal["line_count"]

    def length(self, text: str) -> int:
        return sum(1 for line in text.splitlines() if line.strip())
