"""A fault of ours costs one criterion its score, and is reported with all that we may know."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from assay.criteria.base import Check, Criterion, Finding, Question
from assay.criteria.judged.primitives import Rubric
from assay.domain.evaluation import Case, Evaluation, JudgeSpec
from assay.domain.events import InternalFault
from assay.domain.policy import Deadline
from assay.evaluation.sandbox.pool import SandboxPool
from fakes.engine import CALLER, CASE, comparer, engine
from fakes.judges import PASS, FakeJudges, ScriptedModel
from fakes.recorded_events import RecordedEvents

SECRET = "the caller's own words"
POLITE = Rubric(type="rubric", rubric="Is it polite?")


class BrokenCheck(Check):
    """Fails in a way that it does not foresee."""

    family = "test"
    inline_work_max = 10_000
    type: Literal["broken_check"] = "broken_check"

    def check(self, case: Case) -> Finding:
        raise ZeroDivisionError(SECRET)


class BrokenRubric(Rubric):
    """Cannot ask its question."""

    def question(self, case: Case) -> Question[Finding]:
        raise KeyError(SECRET)


async def evaluated(
    criteria: list[Criterion], model: ScriptedModel, **judge: Any
) -> tuple[Evaluation, list[InternalFault]]:
    events = RecordedEvents()
    outcome = await engine(FakeJudges(model), SandboxPool(events), events).evaluate(
        CASE,
        criteria,
        judge=JudgeSpec(**judge),
        caller=CALLER,
        deadline=Deadline.after(10),
    )
    faults = [event for event in events.events if isinstance(event, InternalFault)]
    assert SECRET not in repr((outcome, faults))
    return outcome.evaluation, faults


@pytest.mark.parametrize(
    ("broken", "where", "error_type"),
    [
        (BrokenCheck(), "check", "ZeroDivisionError"),
        (BrokenRubric(type="rubric", rubric="r"), "judging", "KeyError"),
    ],
)
async def test_a_criterion_that_breaks_is_reported(
    broken: Criterion, where: str, error_type: str
) -> None:
    """Where it broke, with type, traceback and request id; the other criteria are scored."""
    evaluation, [fault] = await evaluated([broken, POLITE], ScriptedModel(PASS))
    assert [result.reason for result in evaluation.results] == ["check_error", None]
    assert (fault.where, fault.error_type) == (where, error_type)
    assert fault.request_id == CALLER.request_id
    assert "test_faults.py" in fault.trace


async def test_a_call_that_breaks_is_reported() -> None:
    """It is one vote less; the other sample stands."""
    model = ScriptedModel(RuntimeError(SECRET), PASS)
    evaluation, [fault] = await evaluated([POLITE], model, samples=2)
    assert evaluation.results[0].passed is True
    assert (fault.where, fault.error_type) == ("judge_call", "RuntimeError")
    assert "judges.py" in fault.trace


async def test_a_criterion_that_cannot_join_a_shared_call_is_reported() -> None:
    """The others are judged without it; it is asked alone, and says so there too."""
    broken = BrokenRubric(type="rubric", rubric="r")
    evaluation, faults = await evaluated([broken, POLITE], ScriptedModel(PASS), batch_criteria=True)
    assert [result.reason for result in evaluation.results] == ["check_error", None]
    assert [fault.where for fault in faults] == ["shared_call", "judging"]


async def test_a_comparison_reports_its_faults_too() -> None:
    """An order whose call breaks is unscored, so there is no winner."""
    events = RecordedEvents()
    model = ScriptedModel(RuntimeError(SECRET))
    outcome = await comparer(FakeJudges(model), events).compare(
        CASE, "Rome", "better?", judge=JudgeSpec(), caller=CALLER, deadline=Deadline.after(10)
    )
    assert (outcome.comparison.winner, outcome.comparison.reason) == (None, "check_error")
    faults = [event for event in events.events if isinstance(event, InternalFault)]
    assert [fault.where for fault in faults] == ["judge_call", "judge_call"]
    assert SECRET not in repr((outcome, faults))
