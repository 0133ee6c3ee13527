"""Ready-made judged criteria: each is an entry of `recipes/*.toml`, not a class.

To add one, add an entry (docs/criteria.md says how); it is registered when this module is loaded.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.resources import files
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, create_model, model_validator

from assay.criteria.base import Finding, Judged, Need, Prose, Question
from assay.criteria.frozen import Frozen
from assay.criteria.judged.primitives import LabelText, distinct, finding_of
from assay.criteria.registry import criterion
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case
from assay.verdicts.reader import Reading
from assay.verdicts.scales import LabelScale

FAMILIES = ("quality", "grounding", "safety", "conversation", "agent")
"""The files, in the order of the catalogue."""

TEMPLATE = "readymade.v4"


class Step(Frozen):
    """One level of the scale: its label, the score it stands for, and when it applies."""

    label: LabelText
    score: float = Field(ge=0, le=1)
    description: Prose


class Recipe(Frozen):
    """Everything that distinguishes one ready-made criterion from another."""

    version: int = Field(ge=1, description="Increased with every change to what the judge reads.")
    description: Prose
    best: Prose = Field(description="What a score of 1 says about the output.")
    needs: tuple[Need, ...] = ()
    threshold: float = Field(gt=0, le=1)
    task: Prose
    levels: Annotated[tuple[Step, ...], Field(min_length=2)]
    example: dict[str, Any]

    @model_validator(mode="after")
    def _scale_is_whole(self) -> Self:
        distinct([level.label for level in self.levels])
        scores = [level.score for level in self.levels]
        if scores != sorted(set(scores), reverse=True) or (scores[0], scores[-1]) != (1, 0):
            raise ValueError("the levels must fall from a score of 1 to a score of 0")
        return self


class ReadyMade(Judged):
    """A judge's choice among the levels of a recipe; the score is that of the level."""

    family: ClassVar[str] = "quality"
    recipe: ClassVar[Recipe]

    guidance: Prose | None = Field(
        default=None,
        description="What the criterion means here, in your words; added to the instructions.",
    )

    def question(self, case: Case) -> Question[Finding]:
        for need in self.needs:
            if not getattr(case, need):
                raise NotApplicable(_reason(need), f"The case has no {need.replace('_', ' ')}.")
        question = self.ask(
            case,
            TEMPLATE,
            LabelScale(tuple(level.label for level in self.recipe.levels)),
            self._finding,
            task=self.recipe.task.strip(),
            guidance=self.guidance,
            levels=self.recipe.levels,
        )
        version, guided = f"{self.type}.v{self.recipe.version}", self.guidance is not None
        return replace(question, prompt_version=version, guided=guided)

    def _finding(self, readings: Mapping[str, Reading[Any]]) -> Finding:
        reading = readings[""]
        levels = self.recipe.levels
        score = next(level.score for level in levels if level.label == reading.value)
        return finding_of(reading, score, value=score, label=reading.value)


def _reason(need: Need) -> Literal["reference_missing", "context_missing"]:
    return "reference_missing" if need == "reference" else "context_missing"


def read_recipes(family: str) -> Iterator[tuple[str, Recipe]]:
    """The names and recipes of a family's file; raises `ValidationError` where one is unsound."""
    text = (files("assay.criteria.judged") / "recipes" / f"{family}.toml").read_text("utf-8")
    for name, entry in tomllib.loads(text).items():
        yield name, Recipe.model_validate(entry)


def made(name: str, family: str, recipe: Recipe) -> type[ReadyMade]:
    """The criterion type that a recipe describes."""
    literal: Any = Literal[name]  # made at run time, which no type checker can follow
    cls = create_model(
        "".join(word.title() for word in name.split("_")),
        __base__=ReadyMade,
        __module__=__name__,
        __doc__=f"{recipe.description}\n\nA score of 1: {recipe.best}.",
        type=(literal, ...),
    )
    cls.family = family
    cls.recipe = recipe
    cls.needs = recipe.needs
    cls.default_threshold = recipe.threshold
    cls.scale = ", ".join(f"{level.label} = {level.score:g}" for level in recipe.levels)
    cls.example = {**recipe.example, "criteria": [{"type": name}]}
    return cls


for _family in FAMILIES:
    for _name, _recipe in read_recipes(_family):
        criterion(made(_name, _family, _recipe))
