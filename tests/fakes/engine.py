"""Evaluations by the real engine with judges that a test scripts."""

from __future__ import annotations

from typing import Any

from assay.criteria import parse_criteria
from assay.criteria.base import Judge, judge_spec
from assay.domain.completion import Caller
from assay.domain.evaluation import Case, CriterionResult, Evaluation
from assay.domain.policy import Deadline
from assay.evaluation.evaluator import Evaluator
from assay.evaluation.sandbox.pool import SandboxPool
from fakes.judges import FakeJudges, RecordingEvents

CALLER = Caller("tenant", "request")
CASE = Case("Paris", input="Capital of France?")


async def evaluated(
    criteria: Any, judges: FakeJudges, case: Case = CASE, **judge: Any
) -> Evaluation:
    """The evaluation of a case by criteria and a judge as a request writes them."""
    offload = SandboxPool(RecordingEvents())
    try:
        return await Evaluator(judges, offload, RecordingEvents()).evaluate(
            case,
            parse_criteria(criteria),
            judge=judge_spec(Judge(**judge)),
            caller=CALLER,
            deadline=Deadline.after(10),
        )
    finally:
        await offload.aclose()


async def one(
    criterion: Any, judges: FakeJudges, case: Case = CASE, **judge: Any
) -> CriterionResult:
    """The score by a single criterion."""
    return (await evaluated([criterion], judges, case, **judge)).results[0]
