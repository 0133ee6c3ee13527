"""Ready-made criteria: their prompts as recorded, their scales, and what callers may add."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from assay.api.requests import EvaluationRequest
from assay.criteria import CRITERIA, parse_criteria
from assay.criteria.base import Question
from assay.criteria.judged.ready_made import ReadyMade, Recipe
from assay.domain.errors import AnswerUnreadable
from assay.domain.evaluation import Case
from fakes.judges import completion_of

GOLDEN = Path(__file__).parent / "golden" / "readymade"
READY_MADE = {name: cls for name, cls in CRITERIA.items() if issubclass(cls, ReadyMade)}
RECIPE = {
    "version": 1,
    "description": "d",
    "best": "b",
    "threshold": 0.5,
    "task": "t",
    "example": {"output": "x"},
    "levels": [
        {"label": "good", "score": 1, "description": "d"},
        {"label": "bad", "score": 0, "description": "d"},
    ],
}


def question(name: str, **fields: object) -> Question:
    [parsed] = parse_criteria([{"type": name, **fields}])
    assert isinstance(parsed, ReadyMade)
    case: Case = EvaluationRequest.model_validate(CRITERIA[name].example).to_case()
    return parsed.question(case)


@pytest.mark.parametrize("name", READY_MADE)
def test_instructions_are_as_recorded(name):
    """A changed instruction is a new version: a recorded one stays as it is.

    GOLDEN_WRITE=1 writes the files of new versions.
    """
    asked = question(name)
    path = GOLDEN / f"{asked.prompt_version}.txt"
    if os.environ.get("GOLDEN_WRITE") and not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(asked.task + "\n")
    assert asked.task + "\n" == path.read_text()


@pytest.mark.parametrize("name", READY_MADE)
def test_each_level_is_worth_its_score(name):
    """The judge's label becomes the score that the catalogue promises for it."""
    for level in READY_MADE[name].recipe.levels:
        answer = json.dumps({"reasoning": "why", "verdict": level.label})
        finding = question(name).read(completion_of(answer)).verdict
        assert (finding.score, finding.label) == (level.score, level.label)
        assert finding.explanation == "why"


def test_a_label_that_was_not_offered_is_no_score():
    """The judge is asked again rather than guessed at."""
    with pytest.raises(AnswerUnreadable):
        question("toxicity").read(completion_of('{"reasoning": "", "verdict": "fine"}'))


def test_safety_is_scored_from_its_clean_end():
    """A score of 1 is always the good end, so that thresholds and means read the same way."""
    for cls in READY_MADE.values():
        if cls.family == "safety":
            assert cls.recipe.levels[0].score == 1
            assert cls.recipe.best
    assert READY_MADE["toxicity"].recipe.levels[0].label == "clean"


def test_guidance_is_added_to_the_instructions():
    """A team's own meaning of a criterion is trusted text, and stays what it is."""
    asked = question("toxicity", guidance="Banter among {{ players }} is fine.")
    assert "Banter among {{ players }} is fine." in asked.task


@pytest.mark.parametrize(
    "change",
    [
        {"levels": list(reversed(RECIPE["levels"]))},
        {"levels": [{**RECIPE["levels"][0], "score": 0.9}, RECIPE["levels"][1]]},
        {"levels": [RECIPE["levels"][0], {**RECIPE["levels"][1], "label": "GOOD "}]},
        {"threshold": 0},
        {"needs": ["luck"]},
        {"tusk": "a field that nobody knows"},
    ],
)
def test_an_unsound_recipe_is_refused_at_start(change):
    """A slip in the data cannot reach a judge."""
    Recipe.model_validate(RECIPE)
    with pytest.raises(ValidationError):
        Recipe.model_validate({**RECIPE, **change})
