"""The engine: order, aggregation, failures, concurrency and cancellation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from assay.criteria import parse_criteria
from assay.domain.completion import Attempt, Caller, Usage
from assay.domain.errors import (
    AnswerUnreadable,
    DeadlineExceeded,
    NoCandidate,
    QuotaExhausted,
    RequestError,
)
from assay.domain.evaluation import (
    Case,
    Evaluation,
    EvaluationOutcome,
    JudgeSpec,
    RetryAdvice,
)
from assay.domain.events import CriterionFinished
from assay.domain.policy import Deadline
from assay.evaluation.sandbox.pool import SandboxPool
from assay.judging.call import CALLS_MAX
from fakes.engine import engine
from fakes.judges import COST_USD, FAIL, PASS, USAGE, FakeJudges, ScriptedModel
from fakes.recorded_events import RecordedEvents

CALLER = Caller("tenant", "request")
DEFAULT_JUDGE = JudgeSpec()
CASE = Case("Paris", input="Capital of France?")


async def evaluated(
    criteria: Any,
    model: ScriptedModel | None = None,
    case: Case = CASE,
    judge: JudgeSpec = DEFAULT_JUDGE,
    events: RecordedEvents | None = None,
    **others: ScriptedModel,
) -> Evaluation:
    """The evaluation of a case by criteria as a request writes them."""
    outcome = await outcome_of(criteria, model, case, judge, events, **others)
    return outcome.evaluation


async def outcome_of(
    criteria: Any,
    model: ScriptedModel | None = None,
    case: Case = CASE,
    judge: JudgeSpec = DEFAULT_JUDGE,
    events: RecordedEvents | None = None,
    **others: ScriptedModel,
) -> EvaluationOutcome:
    sandbox = SandboxPool(RecordedEvents())
    try:
        outcome = await engine(FakeJudges(model, **others), sandbox, events).evaluate(
            case,
            parse_criteria(criteria),
            judge=judge,
            caller=CALLER,
            deadline=Deadline.after(10),
        )
    finally:
        await sandbox.aclose()
    return outcome


def check(value: str, **fields: Any) -> dict[str, Any]:
    return {"type": "equals", "value": value, **fields}


async def test_a_text_is_judged_pass_or_fail() -> None:
    """A plain text is a rubric; its verdict, reasoning, judge and cost are in the result."""
    result = await evaluated("Is it right?", ScriptedModel(PASS))
    score = result.results[0]
    assert (result.status, result.passed, result.score) == ("completed", True, 1.0)
    assert (score.name, score.type, score.label, score.explanation) == (
        "rubric", "rubric", "pass", "good",
    )  # fmt: skip
    assert score.judge is not None
    assert (score.judge.model, score.judge.requested) == ("fake/judge", "default")
    assert score.judge.prompt_version == "rubric.v4"
    assert (score.usage, score.cost_usd) == (USAGE, COST_USD)


async def test_results_keep_the_order_of_the_criteria() -> None:
    """Checks run first, but results stand in the order of the request."""
    result = await evaluated(["judged", check("Paris"), "judged too"])
    assert [each.name for each in result.results] == ["rubric", "equals", "rubric_2"]


async def test_the_score_is_the_weighted_mean_of_what_was_scored() -> None:
    """Unscored criteria have no part in the mean, whatever their weight."""
    result = await evaluated(
        [check("Paris", weight=3), check("Rome", weight=1), {"type": "equals", "weight": 100}]
    )
    assert result.score == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("criteria", "score", "passed", "status"),
    [
        ([check("Paris")], 1.0, True, "completed"),
        ([check("Rome")], 0.0, False, "completed"),
        ([check("Paris"), {"type": "equals"}], 1.0, None, "partial"),
        ([check("Rome"), {"type": "equals"}], 0.0, False, "partial"),
        ([{"type": "equals"}], None, None, "partial"),
        ([check("Paris", weight=0)], None, True, "completed"),
    ],
)
async def test_the_sum_never_defaults_to_a_pass(
    criteria: Any, score: float | None, passed: bool | None, status: str
) -> None:
    """False where any failed, null where none failed but one is unscored, else true."""
    result = await evaluated(criteria)
    assert (result.score, result.passed, result.status) == (score, passed, status)


async def test_a_failed_required_check_spares_the_judges() -> None:
    """Where a required check fails, judged criteria are skipped and no model is asked."""
    model = ScriptedModel(PASS)
    result = await evaluated(["polite?", check("Rome", required=True), check("Paris")], model)
    skipped = result.results[0]
    assert (skipped.status, skipped.reason) == ("skipped", "required_check_failed")
    assert (skipped.score, skipped.passed, skipped.cost_usd) == (None, None, 0.0)
    assert model.prompts == []
    assert (result.passed, result.status) == (False, "completed")
    assert result.score == pytest.approx(0.5)


@pytest.mark.parametrize(
    "first", [check("Rome"), check("Paris", required=True), {"type": "equals", "required": True}]
)
async def test_only_a_failed_required_check_spares_the_judges(first: Any) -> None:
    """A check that is not required, passes or is unscored keeps no judge from being asked."""
    result = await evaluated([first, "polite?"])
    assert result.results[1].status == "scored"


async def test_negate_turns_score_and_verdict_round() -> None:
    """A negated check passes where the check fails, with 1 − score."""
    result = await evaluated([check("Paris", negate=True), check("Rome", negate=True, name="b")])
    assert [(each.score, each.passed) for each in result.results] == [(0.0, False), (1.0, True)]


async def test_negate_turns_the_verdict_at_the_threshold_too() -> None:
    """A score at the threshold passes; negated, it fails, although 1 − score reaches it."""
    criterion = {"type": "contains_all", "values": ["Paris", "Rome"], "threshold": 0.5}
    result = await evaluated([criterion, {**criterion, "negate": True, "name": "n"}])
    assert [(each.score, each.passed) for each in result.results] == [(0.5, True), (0.5, False)]


async def test_the_threshold_is_the_lowest_passing_score() -> None:
    """Half of the texts found passes at 0.5 and fails at the default of 1."""
    criterion = {"type": "contains_all", "values": ["Paris", "Rome"]}
    result = await evaluated([criterion, {**criterion, "threshold": 0.5, "name": "half"}])
    assert [(each.threshold, each.passed) for each in result.results] == [(1.0, False), (0.5, True)]


async def test_a_model_error_is_unscored_with_its_cost() -> None:
    """The reason, the attempts, what they cost and when to come again are kept."""
    attempts = [
        Attempt("p", "m1", "provider_down", 5.0, Usage(10, 2), 0.5),
        Attempt("p", "m2", "quota_exhausted", 1.0),
    ]
    error = QuotaExhausted("the quota of m2 is spent", retry_after_s=7.0, attempts=attempts)
    outcome = await outcome_of(["polite?", check("Paris")], ScriptedModel(error))
    result = outcome.evaluation
    score = result.results[0]
    assert (score.status, score.reason, score.score) == ("unscored", "quota_exhausted", None)
    assert outcome.retry == RetryAdvice(7.0)
    assert score.judge is not None
    assert score.judge.attempts == tuple(attempts)
    assert (score.usage, score.cost_usd) == (Usage(10, 2), 0.5)
    assert (result.usage, result.cost_usd) == (Usage(10, 2), 0.5)
    assert (result.score, result.passed, result.status) == (1.0, None, "partial")


async def test_the_reason_of_all_candidates_is_the_most_telling_one() -> None:
    """`NoCandidate` hands on the reason of the failure that says most."""
    error = NoCandidate([QuotaExhausted("spent"), AnswerUnreadable("no verdict")])
    result = await evaluated("polite?", ScriptedModel(error))
    assert result.results[0].reason == "judge_parse_error"


async def test_an_unreadable_answer_is_never_a_score() -> None:
    """What states no verdict is unscored, and what it cost is counted."""
    result = await evaluated("polite?", ScriptedModel("I cannot say."))
    score = result.results[0]
    assert (score.status, score.reason, score.score) == ("unscored", "judge_parse_error", None)
    assert score.cost_usd == COST_USD


async def test_an_unexpected_error_tells_nothing_of_the_inside() -> None:
    """A fault of ours is unscored with `check_error`, and the other criteria are scored."""
    model = ScriptedModel(RuntimeError("secret"), PASS)
    result = await evaluated(["first", "second"], model)
    reasons = [each.reason for each in result.results]
    assert sorted(map(str, reasons)) == ["None", "check_error"]
    assert "secret" not in repr(result)


async def test_an_unknown_model_costs_nothing() -> None:
    """All models are looked up before the first call; the error points to the field."""
    model = ScriptedModel(PASS)
    criteria = ["polite?", {"type": "rubric", "rubric": "right?", "judge": {"models": ["gone"]}}]
    with pytest.raises(RequestError) as caught:
        await evaluated(criteria, model)
    assert caught.value.code == "unknown_model"
    assert [each.pointer for each in caught.value.errors] == ["/criteria/1/judge"]
    assert model.prompts == []


@pytest.mark.parametrize(
    "criterion",
    [
        {"type": "equals", "value": "Paris"},
        {"type": "rubric", "rubric": "right?", "judge": {"models": ["own"]}},
    ],
)
async def test_the_requests_judge_must_be_known_even_if_unused(criterion: Any) -> None:
    """A misspelt judge is an error even where no criterion uses it."""
    with pytest.raises(RequestError) as caught:
        await evaluated([criterion], judge=JudgeSpec(name="gone"), own=ScriptedModel())
    assert caught.value.code == "unknown_model"
    assert [each.pointer for each in caught.value.errors] == ["/judge"]


async def test_a_criterion_may_name_its_own_judge() -> None:
    """The criterion's judge overrides the request's, and the record says what was asked for."""
    own = ScriptedModel(FAIL)
    criterion = {"type": "rubric", "rubric": "right?", "judge": {"models": ["own"]}}
    result = await evaluated([criterion], ScriptedModel(PASS), own=own)
    assert result.passed is False
    assert result.results[0].judge is not None
    assert result.results[0].judge.requested == "own"


async def test_judges_are_asked_side_by_side_within_the_bound() -> None:
    """No more than the named number of calls is in flight, and no fewer where there is work."""
    model = ScriptedModel(PASS, delay_s=0.01)
    await evaluated(["rubric"] * (CALLS_MAX + 8), model)
    assert len(model.prompts) == CALLS_MAX + 8
    assert model.running_max == CALLS_MAX


async def test_cancellation_reaches_every_call() -> None:
    """A caller who goes away stops all judge calls at once."""
    model = ScriptedModel(PASS, delay_s=30)
    task = asyncio.create_task(evaluated(["one", "two", "three"], model))
    async with asyncio.timeout(5):
        while model.running < 3:  # noqa: ASYNC110  # the fake needs no event for one test
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (model.running, model.cancelled) == (0, 3)


async def test_no_call_is_made_after_the_deadline() -> None:
    """Without time left the criterion is unscored and the model is not asked."""
    model = ScriptedModel(PASS)
    outcome = await engine(FakeJudges(model), SandboxPool(RecordedEvents())).evaluate(
        CASE,
        parse_criteria("polite?"),
        judge=JudgeSpec(),
        caller=CALLER,
        deadline=Deadline.after(-1),
    )
    assert outcome.evaluation.results[0].reason == DeadlineExceeded.reason
    assert model.prompts == []


async def test_every_criterion_ends_in_one_event() -> None:
    """Scored, unscored and skipped criteria each emit one fact, without any text."""
    events = RecordedEvents()
    await engine(FakeJudges(), SandboxPool(events), events).evaluate(
        CASE,
        parse_criteria([check("Rome", required=True), {"type": "contains"}, "polite?"]),
        judge=JudgeSpec(),
        caller=CALLER,
        deadline=Deadline.after(10),
    )
    facts = [
        (each.type, each.status, each.reason)
        for each in events.events
        if isinstance(each, CriterionFinished)
    ]
    assert facts == [
        ("equals", "scored", None),
        ("contains", "unscored", "reference_missing"),
        ("rubric", "skipped", "required_check_failed"),
    ]


async def test_ids_are_unique_and_sort_by_time() -> None:
    """An id is `eval_` and 32 hex digits, of which the first twelve are the time."""
    first = await evaluated([check("Paris")])
    await asyncio.sleep(0.002)
    second = await evaluated([check("Paris")])
    assert first.id < second.id
    assert len(first.id) == len("eval_") + 32
    assert first.created_at.endswith("Z")


async def test_the_key_identifies_the_question_whatever_the_delimiter() -> None:
    """Two requests with the same content share the key though their nonces differ."""
    model = ScriptedModel(PASS)
    await evaluated([{"type": "rubric", "rubric": "polite?", "name": "a", "weight": 2}], model)
    await evaluated(["polite?"], model)
    await evaluated(["polite?"], model, case=Case("Rome"))
    first, second, other = model.prompts
    assert first.turns != second.turns
    assert first.key == second.key
    assert first.key != other.key
    assert first.key is not None
    assert CASE.output in first.key


async def test_a_long_case_is_checked_off_the_event_loop() -> None:
    """A megabyte of output gives the same results as a short one."""
    case = Case("a" * 1_000_000)
    result = await evaluated(
        [{"type": "regex", "pattern": "(a|b)*c"}, {"type": "char_count", "max": 5}], case=case
    )
    assert [each.passed for each in result.results] == [False, False]
