"""Evaluations by the real engine with judges that a test scripts."""

from __future__ import annotations

from typing import Any

from assay.criteria import parse_criteria
from assay.criteria.judge import Judge, judge_spec
from assay.domain.completion import Caller
from assay.domain.evaluation import Case, CriterionResult, Evaluation
from assay.domain.policy import Deadline
from assay.domain.ports import EventSink, Judges
from assay.domain.targets import AllowedHosts
from assay.evaluation.comparer import Comparer
from assay.evaluation.evaluator import Evaluator
from assay.evaluation.sandbox.pool import SandboxPool
from assay.providers.images import ImageFetcher
from assay.screening import Screener
from fakes.recorded_events import RecordedEvents

CALLER = Caller("tenant", "request")
NO_FETCHES = ImageFetcher(AllowedHosts())
CASE = Case("Paris", input="Capital of France?")


def engine(judges: Judges, sandbox: SandboxPool, events: EventSink | None = None) -> Evaluator:
    """The engine with its own screener."""
    events = events or RecordedEvents()
    return Evaluator(judges, sandbox, Screener(events), events, NO_FETCHES)


def comparer(judges: Judges, events: EventSink | None = None) -> Comparer:
    """The comparer with its own screener."""
    events = events or RecordedEvents()
    return Comparer(judges, Screener(events), events, NO_FETCHES)


async def evaluated(
    criteria: Any,
    judges: Judges,
    case: Case = CASE,
    events: EventSink | None = None,
    **judge: Any,
) -> Evaluation:
    """The evaluation of a case by criteria and a judge as a request writes them."""
    sandbox = SandboxPool(RecordedEvents())
    try:
        outcome = await engine(judges, sandbox, events).evaluate(
            case,
            parse_criteria(criteria),
            judge=judge_spec(Judge(**judge)),
            caller=CALLER,
            deadline=Deadline.after(10),
        )
    finally:
        await sandbox.aclose()
    return outcome.evaluation


async def one(
    criterion: Any,
    judges: Judges,
    case: Case = CASE,
    events: EventSink | None = None,
    **judge: Any,
) -> CriterionResult:
    """The result of a single criterion."""
    return (await evaluated([criterion], judges, case, events, **judge)).results[0]
