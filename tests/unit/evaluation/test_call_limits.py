"""How many judge calls a request may make, and that they are counted before any is made."""

from __future__ import annotations

from typing import Any

import pytest

from assay.criteria import parse_criteria
from assay.domain.completion import Caller
from assay.domain.errors import RequestError
from assay.domain.evaluation import Case, JudgeSpec
from assay.domain.policy import Deadline
from assay.domain.tenants import OpenGate, TenantLimited
from assay.evaluation.comparer import Comparer
from assay.evaluation.evaluator import Evaluator
from assay.evaluation.sandbox.pool import SandboxPool
from assay.evaluation.selection import assign_judges
from assay.screening import Screener
from fakes.engine import NO_FETCHES
from fakes.judges import PASS, FakeJudges, ScriptedModel
from fakes.recorded_events import RecordedEvents

CALLER = Caller("acme", "req_1")


class Gate(OpenGate):
    """Allows `most` calls a request, and counts them up to `left`."""

    def __init__(self, most: int = 256, left: int = 10_000) -> None:
        self.most, self.left = most, left

    def judge_calls_max(self, tenant: str) -> int:
        assert tenant == CALLER.tenant
        return self.most

    async def count_judge_calls(self, tenant: str, calls: int) -> None:
        self.left -= calls
        if self.left < 0:
            raise TenantLimited("judge-calls", 10, 12.0)


async def evaluated(gate: Gate, criteria: Any, judge: JudgeSpec | None = None) -> ScriptedModel:
    model, events = ScriptedModel(PASS), RecordedEvents()
    sandbox = SandboxPool(events)
    judges = FakeJudges(model)
    evaluator = Evaluator(judges, sandbox, Screener(events), events, NO_FETCHES, gate=gate)
    case = Case("in", "out")
    try:
        await evaluator.evaluate(
            case,
            parse_criteria(criteria),
            judge=judge or JudgeSpec(),
            caller=CALLER,
            deadline=Deadline.after(10),
        )
    finally:
        await sandbox.aclose()
        gate.asked = len(model.prompts)  # type: ignore[attr-defined]
    return model


def rubrics(count: int, **judge: Any) -> list[dict[str, Any]]:
    return [{"type": "rubric", "rubric": f"{number}?", "judge": judge} for number in range(count)]


PAIR = {"type": "pairwise", "rubric": "better?", "against": "other"}


@pytest.mark.parametrize(
    ("criteria", "samples", "calls"),
    [
        (rubrics(8, samples=32), 1, 256),
        (["a?"] * 1, 32, 32),
        ([PAIR], 4, 8),
        ([{**PAIR, "order": "output_first"}], 4, 4),
        ([{"type": "g_eval", "criteria": "good?", "samples": 20}], 1, 20),
        ([{"type": "contains", "value": "x"}], 32, 0),
    ],
)
def test_every_call_that_may_be_made_counts(criteria: Any, samples: int, calls: int) -> None:
    """Samples, both orders of a pair, and what follows an answer without log-probabilities."""
    judge = JudgeSpec(samples=samples)

    def assign(most: int) -> None:
        assign_judges(
            parse_criteria(criteria), judge, FakeJudges(), CALLER, Deadline.after(1), b"", most
        )

    assign(max(calls, 1))
    if calls:
        with pytest.raises(RequestError, match=f"would make {calls} judge calls, of at most"):
            assign(calls - 1)


async def test_too_many_calls_are_refused_before_any_is_made() -> None:
    """The error names the field; the default allows 256."""
    gate = Gate()
    with pytest.raises(RequestError) as refused:
        await evaluated(gate, rubrics(64, samples=32))
    assert refused.value.code == "invalid_request"
    assert [fault.pointer for fault in refused.value.errors] == ["/criteria"]
    assert "would make 2048 judge calls, of at most 256" in refused.value.message
    assert gate.asked == 0  # type: ignore[attr-defined]


async def test_calls_are_counted_before_they_are_made() -> None:
    """A tenant beyond its minute gets an error with the wait, and nothing is asked."""
    gate = Gate(left=5)
    await evaluated(gate, ["a?", "b?"], JudgeSpec(samples=2))
    assert gate.left == 1
    with pytest.raises(TenantLimited) as refused:
        await evaluated(gate, ["a?", "b?"])
    assert refused.value.retry_after_s == 12.0
    assert gate.asked == 0  # type: ignore[attr-defined]


async def test_a_failed_check_that_is_required_counts_no_calls() -> None:
    """They are not made."""
    gate = Gate(left=5)
    await evaluated(gate, [{"type": "contains", "value": "no", "required": True}, "a?"])
    assert gate.left == 5


async def test_a_comparison_counts_both_orders() -> None:
    """Its calls are limited alike."""
    model, events, gate = ScriptedModel(PASS), RecordedEvents(), Gate(most=3)
    comparer = Comparer(FakeJudges(model), Screener(events), events, NO_FETCHES, gate=gate)
    with pytest.raises(RequestError, match="/judge: would make 4 judge calls"):
        await comparer.compare(
            Case("in", "out"),
            "other",
            "better?",
            judge=JudgeSpec(samples=2),
            caller=CALLER,
            deadline=Deadline.after(1),
        )
    assert not model.prompts


@pytest.mark.parametrize(("criteria", "parts"), [(1, 255), (2, 127), (128, 1), (256, 0)])
def test_an_input_in_parts_stays_within_the_calls_of_its_request(criteria: int, parts: int) -> None:
    """Each part is a call, and the whole is one more."""
    assigned = assign_judges(
        parse_criteria(rubrics(min(criteria, 64), samples=max(1, criteria // 64))),
        JudgeSpec(),
        FakeJudges(),
        CALLER,
        Deadline.after(1),
    )
    assert {assignment.context.parts_max for assignment in assigned.values()} == {parts}
