"""The judged primitives: a rubric, a yes-or-no question, a score in a range, a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from assay.criteria.base import TEXT_CHARS_MAX, Finding, Judged, Prose, Question
from assay.criteria.frozen import Frozen
from assay.criteria.number_range import BOUND_MAX
from assay.criteria.registry import criterion
from assay.domain.evaluation import Case
from assay.verdicts.logprobs import token_probability
from assay.verdicts.reader import Reading
from assay.verdicts.scales import LabelScale, NumberScale

LABELS_MAX = 64
LABEL_CHARS_MAX = 200
WHOLE_SPAN_MIN = 2
"""A range this wide has whole numbers by default: 1 to 5, but not 0 to 1."""

LabelText = Annotated[str, Field(min_length=1, max_length=LABEL_CHARS_MAX)]

PASS_OR_FAIL = LabelScale(
    ("pass", "fail"),
    {
        "passes": "pass",
        "passed": "pass",
        "fails": "fail",
        "failed": "fail",
        "true": "pass",
        "false": "fail",
    },
)
YES_OR_NO = LabelScale(("yes", "no"), {"true": "yes", "false": "no"})


class Level(Frozen):
    """One level of a rubric: its label, its worth, and when it applies."""

    label: LabelText
    value: float = Field(description="Worth of the level; the highest value is a score of 1.")
    description: str = Field(default="", max_length=TEXT_CHARS_MAX)


class LabelOption(Frozen):
    """A label, and when it applies."""

    label: LabelText
    description: str = Field(default="", max_length=TEXT_CHARS_MAX)


def finding_of(
    reading: Reading[Any], score: float, *, value: Any = None, label: str | None = None
) -> Finding:
    """The finding of one reading; without a `value` that is the verdict itself."""
    return Finding(
        score,
        value=reading.value if value is None else value,
        label=label,
        explanation=reading.explanation,
        confidence=token_probability(reading.token, reading.value),
        read_from=reading.excerpted,
    )


def yes_is_one(readings: Mapping[str, Reading[Any]]) -> Finding:
    """1 for yes or pass, 0 for no or fail."""
    reading = readings[""]
    holds = reading.value in ("yes", "pass")
    return finding_of(reading, float(holds), value=holds, label=reading.value)


class _Primitive(Judged):
    """Asks one question about the whole case."""

    family: ClassVar[str] = "judged"


def distinct(labels: Sequence[str]) -> None:
    """Raise where two labels differ by case or white space alone: no judge can tell them apart."""
    folded = [" ".join(label.split()).casefold() for label in labels]
    if "" in folded or len(set(folded)) < len(folded):
        raise PydanticCustomError("labels_alike", "labels must be distinct and not blank")


@criterion
class Rubric(_Primitive):
    """A judge's verdict by a rubric in plain words: pass or fail, or one of the `levels`.

    Without levels the score is 1 (pass) or 0 (fail). With levels it is the value of the level
    given, scaled from the lowest value (0) to the highest (1); `value` is the level's value.
    """

    scale: ClassVar[str] = "0 or 1; with `levels`, those"
    example: ClassVar = {
        "input": "How do I reset my password?",
        "output": "Click on 'Forgot password' and follow the mail.",
        "criteria": [{"type": "rubric", "rubric": "The answer is polite and correct."}],
    }

    type: Literal["rubric"]
    rubric: Prose = Field(description="What the output must be like.")
    levels: tuple[Level, ...] | None = Field(default=None, min_length=2, max_length=LABELS_MAX)

    @field_validator("levels")
    @classmethod
    def _levels_differ(cls, levels: tuple[Level, ...] | None) -> tuple[Level, ...] | None:
        if levels is not None:
            distinct([level.label for level in levels])
            if len({level.value for level in levels}) == 1:
                raise PydanticCustomError("levels_alike", "levels must differ in value")
        return levels

    def passing_score(self) -> float:
        return super().passing_score() if self.levels is None or self.threshold is not None else 0.5

    def question(self, case: Case) -> Question[Finding]:
        if self.levels is None:
            return self.ask(case, "rubric.v4", PASS_OR_FAIL, yes_is_one, rubric=self.rubric)
        labels = LabelScale(tuple(level.label for level in self.levels))
        return self.ask(
            case, "levels.v4", labels, self._level_finding, rubric=self.rubric, levels=self.levels
        )

    def _level_finding(self, readings: Mapping[str, Reading[Any]]) -> Finding:
        reading, levels = readings[""], self.levels or ()
        values = [level.value for level in levels]
        value = next(level.value for level in levels if level.label == reading.value)
        score = (value - min(values)) / (max(values) - min(values))
        return finding_of(reading, score, value=value, label=reading.value)


@criterion
class Boolean(_Primitive):
    """A judge's yes (1) or no (0) to a question about the output."""

    scale: ClassVar[str] = "0 or 1"
    example: ClassVar = {
        "output": "We are sorry for the delay.",
        "criteria": [{"type": "boolean", "question": "Does the output apologise?"}],
    }

    type: Literal["boolean"]
    question_: Prose = Field(alias="question", description="A question that yes answers well.")

    def question(self, case: Case) -> Question[Finding]:
        return self.ask(case, "boolean.v4", YES_OR_NO, yes_is_one, question=self.question_)


@criterion
class ScoreInRange(_Primitive):
    """A judge's number between `min` and `max`; the score is its place between them, 0 to 1."""

    default_threshold: ClassVar[float] = 0.5
    example: ClassVar = {
        "output": "Photosynthesis turns light into sugar.",
        "criteria": [{"type": "score", "rubric": "How clear is it?", "min": 1, "max": 5}],
    }

    type: Literal["score"]
    rubric: Prose = Field(description="What the number measures.")
    min: float = Field(default=0, ge=-BOUND_MAX, le=BOUND_MAX)
    max: float = Field(default=1, ge=-BOUND_MAX, le=BOUND_MAX)
    integer: bool | None = Field(
        default=None,
        description="Whole numbers only; absent: where min and max are 2 or more apart.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min >= self.max:
            raise PydanticCustomError("range_empty", "min must be less than max")
        return self

    def question(self, case: Case) -> Question[Finding]:
        scale = NumberScale(self.min, self.max, self.whole)
        return self.ask(
            case,
            "score.v4",
            scale,
            self._finding,
            rubric=self.rubric,
            low=self.min,
            high=self.max,
            integer=self.whole,
        )

    @property
    def whole(self) -> bool:
        return self.max - self.min >= WHOLE_SPAN_MIN if self.integer is None else self.integer

    def _finding(self, readings: Mapping[str, Reading[Any]]) -> Finding:
        reading = readings[""]
        return finding_of(reading, (reading.value - self.min) / (self.max - self.min))


@criterion
class Label(_Primitive):
    """A judge's choice among labels: 1 where it is one of `passing_labels`, else 0."""

    scale: ClassVar[str] = "0 or 1"
    example: ClassVar = {
        "output": "You are wrong.",
        "criteria": [
            {
                "type": "label",
                "question": "What is the tone?",
                "labels": ["polite", "neutral", "rude"],
                "passing_labels": ["polite", "neutral"],
            }
        ],
    }

    type: Literal["label"]
    question_: Prose = Field(alias="question", description="What the label says about the output.")
    labels: tuple[LabelText | LabelOption, ...] = Field(min_length=2, max_length=LABELS_MAX)
    passing_labels: tuple[LabelText, ...] = Field(min_length=1, max_length=LABELS_MAX)

    @field_validator("labels")
    @classmethod
    def _labels_differ(
        cls, labels: tuple[LabelText | LabelOption, ...]
    ) -> tuple[LabelText | LabelOption, ...]:
        distinct([label if isinstance(label, str) else label.label for label in labels])
        return labels

    @model_validator(mode="after")
    def _passing_offered(self) -> Self:
        if not set(self.passing_labels) <= set(self.names):
            raise PydanticCustomError("label_unknown", "passing_labels must be among labels")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(label if isinstance(label, str) else label.label for label in self.labels)

    def question(self, case: Case) -> Question[Finding]:
        options = [
            LabelOption(label=label) if isinstance(label, str) else label for label in self.labels
        ]
        return self.ask(
            case,
            "label.v4",
            LabelScale(self.names),
            self._finding,
            question=self.question_,
            options=options,
        )

    def _finding(self, readings: Mapping[str, Reading[Any]]) -> Finding:
        reading = readings[""]
        passed = reading.value in self.passing_labels
        return finding_of(reading, float(passed), label=reading.value)
