"""Whether the output is as long as it may be, in words, characters, sentences or lines."""

from __future__ import annotations

import re
from abc import abstractmethod
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from assay.criteria.base import Check, Finding
from assay.criteria.deterministic.text import comparable, met
from assay.criteria.registry import criterion
from assay.domain.case_text import output_text
from assay.domain.evaluation import Case

SENTENCE_END = re.compile(r"(?:[.!?…]+[\"'”’)\]]*(?=\s|$))|[。！？]+")


class _Count(Check):
    """1 where a count lies within `min` and `max`, both included, else 0; `value` is the count."""

    family: ClassVar[str] = "text"
    scale: ClassVar[str] = "0 or 1"

    min: int | None = Field(default=None, ge=0, description="Fewest allowed.")
    max: int | None = Field(default=None, ge=0, description="Most allowed.")

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.min is None and self.max is None:
            raise PydanticCustomError("bounds_missing", "give min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise PydanticCustomError("bounds_crossed", "min is greater than max")
        return self

    @abstractmethod
    def count(self, text: str) -> int:
        """How many there are."""

    def check(self, case: Case) -> Finding:
        count = self.count(output_text(case))
        low, high = self.min or 0, self.max
        within = low <= count and (high is None or count <= high)
        limits = f"at least {low}" if high is None else f"{low} to {high}"
        return met(within, f"{count}, where {limits} is allowed", count)


@criterion
class WordCount(_Count):
    """Whether the number of words, separated by white space, lies within `min` and `max`."""

    example: ClassVar = {
        "output": "Short and sweet.",
        "criteria": [{"type": "word_count", "max": 50}],
    }

    type: Literal["word_count"]

    def count(self, text: str) -> int:
        return len(text.split())


@criterion
class CharCount(_Count):
    """Whether the number of characters (code points, in form C) lies within `min` and `max`."""

    example: ClassVar = {"output": "A title", "criteria": [{"type": "char_count", "max": 60}]}

    type: Literal["char_count"]

    def count(self, text: str) -> int:
        return len(comparable(text))


@criterion
class SentenceCount(_Count):
    """Whether the number of sentences lies within `min` and `max`.

    A sentence ends with . ! ? … or 。！？ (and closing quotes or brackets) before white space or
    the end; a last one without an end counts. Abbreviations count as ends: allow for a few more.
    """

    example: ClassVar = {
        "output": "It rains. Take an umbrella!",
        "criteria": [{"type": "sentence_count", "min": 1, "max": 3}],
    }

    type: Literal["sentence_count"]

    def count(self, text: str) -> int:
        return sum(1 for piece in SENTENCE_END.split(text) if any(map(str.isalnum, piece)))


@criterion
class LineCount(_Count):
    """Whether the number of lines that are not blank lies within `min` and `max`."""

    example: ClassVar = {
        "output": "apple\npear\nplum",
        "criteria": [{"type": "line_count", "min": 3, "max": 3}],
    }

    type: Literal["line_count"]

    def count(self, text: str) -> int:
        return sum(1 for line in text.splitlines() if line.strip())
