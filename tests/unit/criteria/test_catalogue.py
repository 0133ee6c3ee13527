"""The catalogue: every criterion says what it is, and its example runs."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from assay.api.requests import EvaluationRequest
from assay.criteria import CRITERIA, parse_criteria
from assay.criteria.base import Check, Judged
from assay.criteria.catalogue import entry
from assay.domain.completion import Caller
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case, JudgeSpec
from assay.domain.policy import Deadline
from assay.evaluation.sandbox.pool import SandboxPool
from assay.providers.schema_instances import instance
from fakes.engine import engine
from fakes.judges import FakeJudges, ScriptedModel, embedding
from fakes.recorded_events import RecordedEvents

CATALOGUE_MIN = 75


def simulated(prompt: Any) -> str:
    """An answer that fits the schema of the question."""
    return json.dumps(instance(prompt.answer.schema, random.Random(0), "why"))


def case_of(name: str, without: str | None = None) -> Case:
    request = {**CRITERIA[name].example}
    if without is not None:
        request.pop(without)
    return EvaluationRequest.model_validate(request).to_case()


def test_the_catalogue_is_large_enough_to_choose_from():
    """Users of other tools find the criteria that they know from there."""
    assert len(CRITERIA) >= CATALOGUE_MIN


@pytest.mark.parametrize("name", CRITERIA)
async def test_every_example_can_be_evaluated(name):
    """The example is a valid request and gets a score; judged ones from a simulated judge."""
    request = EvaluationRequest.model_validate(CRITERIA[name].example)
    sandbox = SandboxPool(RecordedEvents())
    model = ScriptedModel(simulated)
    named = (getattr(each, "model", None) for each in request.criteria)
    judges = FakeJudges(model, **{name: model for name in named if name})
    judges.grader = grader = ScriptedModel('{"score": 0.5}')
    judges.embedder = embedder = ScriptedModel(embedding((3, 4), (4, 3)))
    try:
        outcome = await engine(judges, sandbox).evaluate(
            request.to_case(),
            request.criteria,
            judge=JudgeSpec(),
            caller=Caller(),
            deadline=Deadline.after(30),
        )
    finally:
        await sandbox.aclose()
    result = outcome.evaluation
    assert [each.status for each in result.results] == ["scored"], result.results[0].explanation
    asks_judge = issubclass(CRITERIA[name], Judged) or name == "composite"
    assert bool(model.prompts) is asks_judge
    assert bool(grader.prompts) is (name == "http")
    assert bool(embedder.prompts) is (name == "semantic_similarity")


@pytest.mark.parametrize("name", CRITERIA)
def test_an_entry_says_what_the_criterion_is(name):
    """Description, scale, threshold and schema exist, and the levels span the scale."""
    row = entry(name)
    assert row["description"]
    assert row["scale"]
    assert 0 <= row["default_threshold"] <= 1
    assert "type" in row["schema"]["properties"]
    if row["levels"]:
        scores = [level["score"] for level in row["levels"]]
        assert (max(scores), min(scores)) == (1, 0)
        assert any(score >= row["default_threshold"] for score in scores)


@pytest.mark.parametrize(
    ("name", "need"), [(name, need) for name, cls in CRITERIA.items() for need in cls.needs]
)
def test_a_case_that_lacks_what_is_needed_is_not_judged(name, need):
    """Without a needed field the result is a reason, never a verdict."""
    [parsed] = parse_criteria(CRITERIA[name].example["criteria"])
    case = case_of(name, without=need)
    with pytest.raises(NotApplicable) as caught:
        parsed.check(case) if isinstance(parsed, Check) else parsed.question(case)
    expected = need in ("reference", "expected_tools")
    assert caught.value.reason == ("reference_missing" if expected else "context_missing")
