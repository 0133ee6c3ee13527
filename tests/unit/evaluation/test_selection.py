"""Who judges, and what a request may spend: decided once, before anything is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from assay.criteria import parse_criteria
from assay.domain.deferral import Deferral
from assay.domain.errors import RequestError
from assay.domain.evaluation import JudgeSpec
from assay.domain.policy import Deadline
from assay.evaluation.selection import assign_judges
from assay.judging.judge import Assignment
from fakes.engine import CALLER, evaluated
from fakes.judges import PASS, FakeJudges, ScriptedModel


def rubric(text: str, **judge: Any) -> dict[str, Any]:
    return {"type": "rubric", "rubric": text, "judge": judge}


def assigned(criteria: Any, judge: JudgeSpec, judges: FakeJudges | None = None) -> list[Assignment]:
    found = assign_judges(
        parse_criteria(criteria), judge, judges or FakeJudges(), CALLER, Deadline.after(10)
    )
    return list(found.values())


def test_a_request_has_one_budget() -> None:
    """All its calls draw on it, also those of criteria that name another judge."""
    criteria = ["polite?", "right?", rubric("short?", samples=3)]
    first, *others = assigned(criteria, JudgeSpec(max_cost_usd=0.5))
    assert first.context.budget is not None
    assert first.context.budget.left_usd == 0.5
    assert all(each.context.budget is first.context.budget for each in others)


def test_a_criterion_may_have_a_budget_of_its_own() -> None:
    """Even one of the same size is another budget; null is none."""
    criteria = [
        "polite?",
        rubric("right?", max_cost_usd=0.5),
        rubric("short?", max_cost_usd=0.5),
        rubric("long?", max_cost_usd=None),
    ]
    shared, *own, none = assigned(criteria, JudgeSpec(max_cost_usd=0.5))
    budgets = {each.context.budget for each in (shared, *own)}
    assert len(budgets) == 3
    assert none.context.budget is None


def test_the_service_of_a_batch_is_that_of_its_judges_alone() -> None:
    """Graders over HTTP and embeddings have none: they are asked directly beside them."""
    criteria = ["polite?", {"type": "http", "url": "https://grader.example/"},
                {"type": "semantic_similarity"}]  # fmt: skip
    row, judges = replace(CALLER, deferral=Deferral("batch_1")), FakeJudges()
    judges.grader = judges.embedder = ScriptedModel()
    chosen = assign_judges(
        parse_criteria(criteria), JudgeSpec(service="batch"), judges, row, Deadline.after(10)
    )
    assert [each.panel.spec.kind for each in chosen.values()] == ["chat", "http", "embedding"]
    with pytest.raises(RequestError) as caught:
        assigned([rubric("right?", service="batch")], JudgeSpec())
    assert caught.value.errors[0].pointer == "/criteria/0/judge/service"


def test_two_requests_have_two_budgets() -> None:
    """A specification is a value, and keeps no account of what was spent."""
    judge = JudgeSpec(max_cost_usd=0.5)
    [first], [second] = assigned(["polite?"], judge), assigned(["polite?"], judge)
    assert first.context.budget is not second.context.budget


def test_each_specification_is_looked_up_once() -> None:
    """However many criteria have it."""
    judges = FakeJudges(ScriptedModel(PASS), own=ScriptedModel(PASS))
    criteria = ["a", "b", rubric("c", models=["own"]), rubric("d", models=["own"])]
    assigned(criteria, JudgeSpec(), judges)
    assert judges.specs == [JudgeSpec(), JudgeSpec(models=("own",))]


def test_the_context_says_whether_a_stored_answer_will_do() -> None:
    """Each criterion as its judge says."""
    criteria = ["a", rubric("b", cache=True)]
    assert [each.context.cacheable for each in assigned(criteria, JudgeSpec())] == [False, True]


@pytest.mark.parametrize(("own", "calls"), [({}, 1), ({"max_cost_usd": 1.0}, 2)])
async def test_only_criteria_of_one_budget_share_a_call(own: dict[str, Any], calls: int) -> None:
    """A shared call is paid from one budget."""
    model = ScriptedModel(lambda prompt: answers(prompt.answer.schema["required"]))
    criteria = [rubric("a", **own), rubric("b", **own)]
    await evaluated(criteria, FakeJudges(model), batch_criteria=True, max_cost_usd=1.0)
    assert len(model.prompts) == calls


def answers(keys: list[str]) -> str:
    verdicts = ", ".join(f'"{key}": {PASS}' for key in keys)
    return PASS if "verdict" in keys else f"{{{verdicts}}}"
