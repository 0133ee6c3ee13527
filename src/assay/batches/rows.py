"""Does one row of a batch: from what is stored of it to its result, or to another try."""

from __future__ import annotations

import logging
import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import orjson
from pydantic import ValidationError

from assay.batches.summary import groups_of, status_of, tally_of, totals_of
from assay.criteria import parse_criteria
from assay.criteria.base import Criterion, Judge, judge_spec
from assay.domain.batches import Claim, RowResult
from assay.domain.completion import Caller
from assay.domain.errors import TRANSIENT_REASONS, AssayError, RequestError
from assay.domain.evaluation import Case, Evaluation, EvaluationOutcome, JudgeSpec
from assay.domain.exact_json import loads
from assay.domain.policy import Deadline
from assay.domain.ports import BatchStore
from assay.evaluation.ports import Evaluates

logger = logging.getLogger(__name__)

DELIVERIES_MAX = 10
"""A row that so many workers did not come back from is what ended them."""
PLANS_KEPT = 64


@dataclass(frozen=True, slots=True)
class RetryLater:
    """The row failed for a passing reason and is to be tried again after `delay_s`."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class RowRetryPolicy:
    """How often a row is tried, and how long each try and the pauses between them last."""

    attempts_max: int = 8
    row_timeout_s: float = 120.0
    backoff_s: float = 2.0
    backoff_max_s: float = 120.0

    def delay_s(self, attempt: int, asked_s: float | None) -> float:
        """The pause after failed try number `attempt` (from 0): doubling, spread, or as asked."""
        pause_s = min(self.backoff_s * 2.0**attempt, self.backoff_max_s)
        if asked_s is not None:
            pause_s = min(max(pause_s, asked_s), self.backoff_max_s)
        return pause_s * random.uniform(0.75, 1.25)  # noqa: S311  # spread, no secret


class BatchSpecError(AssayError):
    """What a batch asks for cannot be understood any more: no row of it can be done."""

    code = "invalid_request"


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """What the rows of one batch are judged by."""

    tenant: str
    criteria: tuple[Criterion, ...]
    judge: JudgeSpec


class RowRunner:
    """Judges rows; it remembers the plans of the batches that it worked for last."""

    def __init__(
        self,
        evaluator: Evaluates,
        batches: BatchStore,
        render: Callable[[Evaluation], bytes],
        tries: RowRetryPolicy,
    ) -> None:
        self._evaluator = evaluator
        self._batches = batches
        self._render = render
        self._tries = tries
        self._plans: OrderedDict[str, BatchSpec] = OrderedDict()

    async def run(self, claim: Claim) -> RowResult | RetryLater:
        """Raises `BatchSpecError`, and `StoreUnavailable` where the batch cannot be read."""
        if claim.payload is None:
            return failed(claim, "row_lost", "The content of this row is gone.")
        if claim.deliveries >= DELIVERIES_MAX:
            detail = f"{claim.deliveries} workers ended while they had this row."
            return failed(claim, "row_abandoned", detail)
        batch_spec = await self.batch_spec(claim.batch_id)
        row = loads(claim.payload.document)
        try:
            outcome = await self._evaluator.evaluate(
                Case.from_fields(row),
                batch_spec.criteria,
                judge=batch_spec.judge,
                caller=Caller(batch_spec.tenant, claim.batch_id, "batch"),
                deadline=Deadline.after(self._tries.row_timeout_s),
                metadata=row.get("metadata") or {},
            )
        except RequestError as error:
            return failed(claim, error.code, error.message)
        except Exception as error:  # noqa: BLE001  # one row's fault must not end the worker
            # Its message may hold the row's text, and stays out of the log.
            logger.error("%s in a row of %s", type(error).__name__, claim.batch_id)  # noqa: TRY400
            return failed(claim, "internal", "The evaluation of this row failed.")
        again = self._again(outcome, claim.attempt)
        return again or self._result(claim, outcome.evaluation, row.get("group"))

    async def batch_spec(self, batch_id: str) -> BatchSpec:
        """What the batch's rows are judged by; raises `BatchSpecError` or `StoreUnavailable`."""
        batch_spec = self._plans.get(batch_id)
        if batch_spec is None:
            batch_spec = load_batch_spec(await self._batches.request(batch_id))
            self._plans[batch_id] = batch_spec
            if len(self._plans) > PLANS_KEPT:
                self._plans.popitem(last=False)
        self._plans.move_to_end(batch_id)
        return batch_spec

    def _again(self, outcome: EvaluationOutcome, attempt: int) -> RetryLater | None:
        reasons = {result.reason for result in outcome.evaluation.results}
        if not reasons & TRANSIENT_REASONS or attempt + 1 >= self._tries.attempts_max:
            return None
        asked_s = None if outcome.retry is None else outcome.retry.after_s
        return RetryLater(self._tries.delay_s(attempt, asked_s))

    def _result(self, claim: Claim, evaluation: Evaluation, group: str | None) -> RowResult:
        return RowResult(
            item_id=claim.payload.item_id if claim.payload is not None else "",
            status=status_of(evaluation),
            body=self._render(evaluation),
            sums=totals_of(evaluation),
            tally=tally_of(evaluation),
            groups=groups_of(evaluation, group),
        )


def load_batch_spec(request: bytes | None) -> BatchSpec:
    """The plan in a stored request; raises `BatchSpecError`."""
    if request is None:
        raise BatchSpecError("The batch's criteria are gone.")
    document = loads(request)
    given = document.get("judge")
    try:
        criteria = parse_criteria(document["criteria"])
        judge = judge_spec(Judge.model_validate(given) if isinstance(given, dict) else given)
    except ValidationError:
        raise BatchSpecError("The batch's criteria are not known to this version.") from None
    return BatchSpec(document["tenant"], criteria, judge)


def failed(claim: Claim, code: str, message: str) -> RowResult:
    """The result of a row that has no evaluation: it says why, and has no score."""
    body = {"object": "evaluation", "status": "failed", "error": {"code": code, "message": message}}
    item_id = claim.payload.item_id if claim.payload is not None else ""
    return RowResult(item_id, "failed", orjson.dumps(body))
