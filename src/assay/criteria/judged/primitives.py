"""The judged primitives: a rubric, a yes-or-no question, a score in a range, a label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from assay.criteria.base import TEXT_CHARS_MAX, Finding, Frozen, Judged, Prose, Question
from assay.criteria.registry import criterion
from assay.domain.completion import Completion
from assay.domain.evaluation import Case
from assay.prompts.templates import render
from assay.prompts.untrusted import case_content
from assay.verdicts.reading import label_schema, read_label, read_score, score_schema

LABELS_MAX = 64
LABEL_CHARS_MAX = 200
BOUND_MAX = 1e9
WHOLE_SPAN_MIN = 2
"""A range this wide has whole numbers by default: 1 to 5, but not 0 to 1."""

LabelText = Annotated[str, Field(min_length=1, max_length=LABEL_CHARS_MAX)]

PASS_OR_FAIL = ("pass", "fail")
YES_OR_NO = ("yes", "no")
PASS_OR_FAIL_SYNONYMS = {
    "passes": "pass",
    "passed": "pass",
    "fails": "fail",
    "failed": "fail",
    "true": "pass",
    "false": "fail",
}
YES_OR_NO_SYNONYMS = {"true": "yes", "false": "no"}


class Level(Frozen):
    """One level of a rubric: its label, its worth, and when it applies."""

    label: LabelText
    value: float = Field(description="Worth of the level; the highest value is a score of 1.")
    description: str = Field(default="", max_length=TEXT_CHARS_MAX)


class LabelOption(Frozen):
    """A label, and when it applies."""

    label: LabelText
    description: str = Field(default="", max_length=TEXT_CHARS_MAX)


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
            labels: tuple[str, ...] = PASS_OR_FAIL
            instructions = render("rubric.v1", rubric=self.rubric)
        else:
            labels = tuple(level.label for level in self.levels)
            instructions = render("levels.v1", rubric=self.rubric, levels=self.levels)
        return Question(
            instructions=instructions,
            content=case_content(case),
            answer=label_schema(labels),
            read=self._read,
            prompt_version="rubric.v1" if self.levels is None else "levels.v1",
        )

    def _read(self, completion: Completion[object]) -> Finding:
        if self.levels is None:
            label, why = read_label(completion, PASS_OR_FAIL, PASS_OR_FAIL_SYNONYMS)
            passed = label == "pass"
            return Finding(float(passed), value=passed, label=label, explanation=why)
        labels = [level.label for level in self.levels]
        label, why = read_label(completion, labels)
        level = self.levels[labels.index(label)]
        values = [level.value for level in self.levels]
        low, high = min(values), max(values)
        score = (level.value - low) / (high - low)
        return Finding(score, value=level.value, label=label, explanation=why)


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
        return Question(
            instructions=render("boolean.v1", question=self.question_),
            content=case_content(case),
            answer=label_schema(YES_OR_NO),
            read=self._read,
            prompt_version="boolean.v1",
        )

    def _read(self, completion: Completion[object]) -> Finding:
        label, why = read_label(completion, YES_OR_NO, YES_OR_NO_SYNONYMS)
        return Finding(float(label == "yes"), value=label == "yes", label=label, explanation=why)


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
        return Question(
            instructions=render(
                "score.v1", rubric=self.rubric, low=self.min, high=self.max, integer=self.whole
            ),
            content=case_content(case),
            answer=score_schema(self.min, self.max, integer=self.whole),
            read=self._read,
            prompt_version="score.v1",
        )

    @property
    def whole(self) -> bool:
        return self.max - self.min >= WHOLE_SPAN_MIN if self.integer is None else self.integer

    def _read(self, completion: Completion[object]) -> Finding:
        value, why = read_score(completion, self.min, self.max, integer=self.whole)
        return Finding((value - self.min) / (self.max - self.min), value=value, explanation=why)


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
        return Question(
            instructions=render("label.v1", question=self.question_, options=options),
            content=case_content(case),
            answer=label_schema(self.names),
            read=self._read,
            prompt_version="label.v1",
        )

    def _read(self, completion: Completion[object]) -> Finding:
        label, why = read_label(completion, self.names)
        passed = label in self.passing_labels
        return Finding(float(passed), value=label, label=label, explanation=why)
