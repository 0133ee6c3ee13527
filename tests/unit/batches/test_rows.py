"""One row of a batch: its result, another attempt, or why there is neither."""

import json

import pytest

from assay.batches.rows import (
    DELIVERIES_MAX,
    BatchSpecError,
    RetryLater,
    RowRetryPolicy,
    RowRunner,
)
from assay.domain.batches import Claim, NewRow
from assay.domain.completion import NO_USAGE
from assay.domain.errors import TRANSIENT_REASONS, RequestError
from assay.domain.evaluation import (
    CriterionResult,
    Evaluation,
    EvaluationOutcome,
    EvaluatorRecord,
    RetryAdvice,
)
from assay.domain.events import InternalFault
from fakes.recorded_events import RecordedEvents

REQUEST = {"tenant": "one", "criteria": ["It is polite."], "judge": {"models": ["a/b"]}}


class Engine:
    """Returns the same outcome for every row, and keeps its arguments."""

    def __init__(self, outcome):
        self.outcome = outcome
        self.asked = []

    async def evaluate(self, case, criteria, **options):
        self.asked.append((case, criteria, options))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class Requests:
    """The stored request of every batch."""

    def __init__(self, request=REQUEST):
        self.request_json = request
        self.reads = 0

    async def request(self, batch_id):
        self.reads += 1
        return None if self.request_json is None else json.dumps(self.request_json).encode()


def evaluation(score, reason=None, retry_after_s=None):
    status = "scored" if reason is None else "unscored"
    result = CriterionResult("rubric", "rubric", status, score=score, reason=reason)
    made = Evaluation(
        id="eval_1",
        created_at="",
        status="completed" if reason is None else "partial",
        passed=None,
        score=score,
        results=(result,),
        usage=NO_USAGE,
        evaluator=EvaluatorRecord("r"),
        cost_usd=0.25,
        latency_ms=1.0,
    )
    return EvaluationOutcome(made, None if retry_after_s is None else RetryAdvice(retry_after_s))


def claim(attempt=0, deliveries=0, row=None, stalls=0):
    document = json.dumps(row or {"output": "yes", "metadata": {"n": 1}}).encode()
    payload = NewRow(0, "row-7", document)
    return Claim("batch_1", "1-1", 7, "k", attempt, deliveries, payload, stalls)


def runner(outcome, request=REQUEST):
    retries = RowRetryPolicy(attempts_max=3, row_timeout_s=60.0, backoff_s=1.0)
    return RowRunner(
        Engine(outcome),
        Requests(request),
        lambda evaluation: json.dumps({"id": evaluation.id}).encode(),
        retries,
        RecordedEvents(),
    )


async def test_a_scored_row_has_its_evaluation_and_adds_to_the_sums():
    """Rows are judged as the batch says, with the priority of batches."""
    made = runner(evaluation(0.75))
    row = {"output": [{"role": "user", "content": "hi"}], "group": "g", "reference": ["r"]}
    result = await made.run(claim(row=row))
    assert (result.item_id, result.status) == ("row-7", "scored")
    assert json.loads(result.body) == {"id": "eval_1", "generated": None, "group": "g"}
    assert result.tally["0:sum"] == 750_000
    assert result.sums["cost_nano_usd"] == 250_000_000
    assert result.groups["0:n:g"] == 1
    [(case, _, options)] = made._evaluator.asked
    assert case.output == ({"role": "user", "content": "hi"},)
    assert case.reference == ("r",)
    assert (options["caller"].tenant, options["caller"].priority) == ("one", "batch")
    assert options["judge"].models == ("a/b",)


async def test_a_row_has_its_scores_for_gates_that_may_end_the_batch():
    """Only for those: gates that end nothing are read from the sums."""
    gates = {"gates": [{"min_score": 0.5}, {"min_pass_rate": 0.5}]}
    stop = {"stop_when_certain": {"alpha": 0.1, "seed": 1}}
    stopping = runner(evaluation(0.75), {**REQUEST, **gates, **stop})
    assert (await stopping.run(claim())).gate_scores == [0.75, None]
    assert (await stopping.batch_spec("batch_1")).alpha == 0.1
    assert (await runner(evaluation(0.75), {**REQUEST, **gates}).run(claim())).gate_scores == []


@pytest.mark.parametrize("reason", sorted(TRANSIENT_REASONS))
async def test_a_transient_reason_is_retried_up_to_the_bound(reason):
    """Pauses grow and honour Retry-After; after the last attempt the reason is the result."""
    made = runner(evaluation(None, reason, retry_after_s=5.0))
    first = await made.run(claim(attempt=0))
    assert isinstance(first, RetryLater)
    assert first.delay_s >= 5.0 * 0.75
    assert isinstance(await made.run(claim(attempt=1)), RetryLater)
    last = await made.run(claim(attempt=2))
    assert last.status == "unscored"
    assert last.tally == {f"0:unscored:{reason}": 1}


async def test_a_permanent_reason_is_not_retried():
    """A verdict that does not parse will not parse tomorrow either."""
    assert (await runner(evaluation(None, "judge_parse_error")).run(claim())).status == "unscored"


@pytest.mark.parametrize(
    ("outcome", "code"),
    [(RequestError("unknown_model", "gone"), "unknown_model"), (KeyError("secret"), "internal")],
)
async def test_a_row_without_an_evaluation_says_why(outcome, code):
    """It is failed, and internal details stay out of the result."""
    result = await runner(outcome).run(claim())
    assert result.status == "failed"
    assert json.loads(result.body)["error"]["code"] == code
    assert b"secret" not in result.body


async def test_a_fault_in_a_row_is_reported_without_the_rows_text():
    """The event has the type, the traceback and the batch; the error's message stays out."""
    made = runner(KeyError("what the caller wrote"))
    await made.run(claim())
    [fault] = made._events.of(InternalFault)
    assert (fault.where, fault.error_type) == ("batch_row", "KeyError")
    assert fault.request_id == "batch_1"
    assert "rows.py" in fault.trace
    assert "what the caller wrote" not in repr(fault)


async def test_a_row_that_crashes_its_workers_is_abandoned():
    """It gets a failed result after a bounded number of deliveries."""
    made = runner(evaluation(1.0))
    result = await made.run(claim(deliveries=DELIVERIES_MAX))
    assert json.loads(result.body)["error"]["code"] == "row_abandoned"
    assert made._evaluator.asked == []


async def test_a_row_that_stopped_two_processes_is_not_tried_a_third_time():
    """Its result is a check_error that names the cause; after one such end it is tried again."""
    made = runner(evaluation(1.0))
    assert (await made.run(claim(stalls=1))).status == "scored"
    result = await made.run(claim(stalls=2))
    error = json.loads(result.body)["error"]
    assert (result.status, error["code"]) == ("failed", "check_error")
    assert "stood still" in error["message"]


@pytest.mark.parametrize(
    "request_json",
    [None, {**REQUEST, "criteria": [{"type": "gone"}]}, {**REQUEST, "generate": {"gone": 1}}],
)
async def test_a_stored_request_that_cannot_be_read_is_an_error(request_json):
    """Its criteria are missing, or this version does not know them."""
    with pytest.raises(BatchSpecError):
        await runner(evaluation(1.0), request_json).run(claim())


async def test_the_specification_of_a_batch_is_read_once():
    """A million rows do not parse their criteria a million times."""
    made = runner(evaluation(1.0))
    for _ in range(3):
        await made.run(claim())
    assert made._batches.reads == 1
