"""One row of a batch: from its stored content to its result, or to another attempt."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson
from pydantic import ValidationError

from assay.batches.gates import Gate, gate_scores, parse_gates
from assay.batches.summary import row_groups, row_status, row_tally, row_totals
from assay.catalog.certificates import named_from_json
from assay.catalog.stores import OpenStores, without_records
from assay.criteria import parse_criteria
from assay.criteria.base import Criterion
from assay.criteria.judge import judge_spec
from assay.domain.batches import Claim, NewRow, RowResult
from assay.domain.completion import Caller
from assay.domain.deferral import Deferral
from assay.domain.errors import (
    TRANSIENT_REASONS,
    DomainError,
    ModelError,
    NotApplicable,
    RequestError,
)
from assay.domain.evaluation import Case, Evaluation, EvaluationOutcome, JudgeSpec, NamedVersion
from assay.domain.events import CaseJudged, LiveScored
from assay.domain.exact_json import dumps, loads
from assay.domain.faults import internal_fault
from assay.domain.policy import Deadline
from assay.domain.ports import BatchStore, EventSink
from assay.domain.records import RecordsUnavailable
from assay.domain.tenants import TenantLimited
from assay.domain.trace_context import Subject, work_online
from assay.domain.traces import judge_trace_id
from assay.evaluation.ports import Evaluates
from assay.judging.generation import Generation, said

DELIVERIES_MAX = 10
"""If this many workers died while they held a row, the row itself is the likely cause."""
STALLS_MAX = 2
"""A process that stood still costs all its callers something: a row may do that only so often."""
SPECS_KEPT = 64


@dataclass(frozen=True, slots=True)
class RetryLater:
    """The row failed for a transient reason; try it again after `delay_s`.

    `document` replaces its content.
    """

    delay_s: float
    document: bytes | None = None


@dataclass(frozen=True, slots=True)
class Parked:
    """The row waits for these calls; `document` replaces its content."""

    calls: Collection[str]
    document: bytes | None = None


class RowUnusable(Exception):
    """The row cannot be evaluated, now or later."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class RowRetryPolicy:
    """How often a row is attempted, and how long attempts and the pauses between them last."""

    attempts_max: int
    row_timeout_s: float
    backoff_s: float = 2.0
    backoff_max_s: float = 120.0

    def next_delay_s(self, attempt: int, retry_after_s: float | None) -> float:
        """The pause after failed attempt `attempt` (from 0): doubled each time, with jitter."""
        pause_s = max(self.backoff_s * 2.0**attempt, retry_after_s or 0.0)
        return min(pause_s, self.backoff_max_s) * random.uniform(0.75, 1.25)  # noqa: S311  # jitter


class BatchSpecError(DomainError):
    """The stored request of a batch cannot be read: none of its rows can be evaluated."""

    code = "invalid_request"


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """How the rows of one batch are evaluated."""

    tenant: str
    criteria: tuple[Criterion, ...]
    judge: JudgeSpec
    named: NamedVersion | None = None
    generation: Generation | None = None
    store: bool = True
    gates: tuple[Gate, ...] = ()
    """Those that may end the batch early, with a probability of error of at most `alpha`."""
    alpha: float = 0.0
    rule: Mapping[str, Any] | None = None
    """The rule whose live traffic the rows are."""


def _given_up(claim: Claim) -> RowResult | None:
    """The result of a row that too many processes did not survive."""
    if claim.deliveries >= DELIVERIES_MAX:
        detail = f"{claim.deliveries} workers crashed while they held this row."
        return failed(claim, "row_abandoned", detail)
    if claim.stalls >= STALLS_MAX:
        detail = f"{claim.stalls} processes stood still while they held this row, and were ended."
        return failed(claim, "check_error", detail)
    return None


TracesRow = Callable[[str, str], AbstractContextManager[Callable[[str], None]]]


@contextmanager
def untraced(_batch_id: str, _trace_id: str) -> Iterator[Callable[[str], None]]:
    """Where nothing traces rows."""
    yield lambda _status: None


class RowRunner:
    """Evaluates rows; the specifications of recent batches stay in memory.

    `traced` surrounds the work on a row of a batch, in the trace with the given id if there is one.
    It is handed the status of the row.
    """

    def __init__(
        self,
        evaluator: Evaluates,
        batches: BatchStore,
        render: Callable[[Evaluation], bytes],
        retry_policy: RowRetryPolicy,
        events: EventSink,
        open_stores: OpenStores = without_records,
        trace_key: Callable[[], Awaitable[bytes]] | None = None,
        traced: TracesRow = untraced,
    ) -> None:
        self._trace_key = trace_key
        self._traced = traced
        self._open_stores = open_stores
        self._evaluator = evaluator
        self._batches = batches
        self._render = render
        self._retry_policy = retry_policy
        self._events = events
        self._specs: OrderedDict[str, BatchSpec] = OrderedDict()

    async def run(self, claim: Claim) -> RowResult | RetryLater | Parked:
        """Raises `BatchSpecError`, and `StoreUnavailable` if the batch cannot be read."""
        batch_spec, trace_id = await self.batch_spec(claim.batch_id), ""
        if batch_spec.rule is not None and self._trace_key is not None:
            # A trace of live traffic that comes back is known by its id, whatever a gateway drops.
            trace_id = judge_trace_id(await self._trace_key())
        with self._traced(claim.batch_id, trace_id) as report:
            if trace_id:
                work_online(trace_id)
            outcome = await self._run(batch_spec, claim)
            report(outcome.status if isinstance(outcome, RowResult) else "later")
            return outcome

    async def _run(self, batch_spec: BatchSpec, claim: Claim) -> RowResult | RetryLater | Parked:
        if claim.payload is None:
            return failed(claim, "row_lost", "The content of this row is missing.")
        if (given_up := _given_up(claim)) is not None:
            return given_up
        try:
            return await self._evaluate(batch_spec, claim, claim.payload)
        except Exception as error:  # noqa: BLE001  # one row's fault must not end the worker
            return self._without_evaluation(claim, error)

    async def _evaluate(
        self, batch_spec: BatchSpec, claim: Claim, payload: NewRow
    ) -> RowResult | RetryLater | Parked:
        row = await self._row(batch_spec.tenant, payload)
        deferral = None
        if batch_spec.judge.service == "batch":
            deferral = Deferral(claim.batch_id, claim.key, claim.resumed)
        caller = Caller(
            batch_spec.tenant, claim.batch_id, "batch", batch_spec.store, deferral=deferral
        )
        deadline = Deadline.after(self._retry_policy.row_timeout_s)
        made = row.get("generated")
        if batch_spec.generation is not None and made is None:
            case = Case.from_fields({**row, "output": ""})
            generated = await self._evaluator.generate(
                batch_spec.generation, case, caller=caller, deadline=deadline
            )
            made = asdict(generated)
        if made is not None:
            row |= {"output": said(made), "sample": None}
        elif "output" not in row:
            raise RowUnusable("output_missing", "The item has no output, and none is made.")
        outcome = await self._evaluator.evaluate(
            Case.from_fields(row),
            batch_spec.criteria,
            judge=batch_spec.judge,
            caller=caller,
            deadline=deadline,
            metadata=row.get("metadata") or {},
            named=batch_spec.named,
        )
        # What was made is kept: another attempt would pay for it again, and judge something else.
        kept = None if made is None else dumps({**loads(payload.document), "generated": made})
        if deferral is not None:
            if deferral.pending:
                return Parked(deferral.pending, kept)
            for event in deferral.events:
                self._events.emit(event)
        if (delay_s := self._delay_s(outcome, claim.attempt)) is not None:
            return RetryLater(delay_s, kept)
        evaluation = outcome.evaluation
        if made is not None and made["simulated"]:
            evaluation = replace(evaluation, simulated=True)
        subject = Subject(**row["subject"]) if row.get("subject") else None
        self._events.emit(CaseJudged(caller, evaluation, subject))
        return replace(
            self._result(claim, evaluation, row.get("group"), made),
            gate_scores=gate_scores(batch_spec.gates, evaluation),
            live=_live(batch_spec.rule, evaluation),
        )

    async def _row(self, tenant: str, payload: NewRow) -> dict[str, Any]:
        """The row's content, which may be an item of a dataset."""
        row: dict[str, Any] = loads(payload.document)
        if "place" not in row:
            return row
        item = await (await self._open_stores()).datasets.item(tenant, row["place"])
        if item is None:
            raise RowUnusable("row_lost", "The item of this row was erased.")
        return {**loads(item.body), **row}

    def _without_evaluation(self, claim: Claim, error: Exception) -> RowResult | RetryLater:
        """What becomes of a row whose evaluation raised an error."""
        attempt, wait_s = claim.attempt, getattr(error, "retry_after_s", None)
        is_last = attempt + 1 >= self._retry_policy.attempts_max
        passes = isinstance(error, ModelError) and error.transient and not is_last
        if passes or isinstance(error, TenantLimited | RecordsUnavailable):
            return RetryLater(self._retry_policy.next_delay_s(attempt, wait_s))
        match error:
            case ModelError():
                code, message = str(error.code), f"No output was made: {error.message}"
            case NotApplicable():
                code, message = error.reason, error.message
            case RowUnusable() | RequestError():
                code, message = error.code, error.message
            case _:
                self._events.emit(internal_fault("batch_row", error, claim.batch_id))
                code, message = "internal", "The evaluation of this row failed."
        return failed(claim, code, message)

    async def batch_spec(self, batch_id: str) -> BatchSpec:
        """How the batch's rows are evaluated; raises `BatchSpecError` or `StoreUnavailable`."""
        batch_spec = self._specs.get(batch_id)
        if batch_spec is None:
            batch_spec = load_batch_spec(await self._batches.request(batch_id))
            self._specs[batch_id] = batch_spec
            if len(self._specs) > SPECS_KEPT:
                self._specs.popitem(last=False)
        self._specs.move_to_end(batch_id)
        return batch_spec

    def _delay_s(self, outcome: EvaluationOutcome, attempt: int) -> float | None:
        """The pause before another attempt; None if the results stand."""
        reasons = {result.reason for result in outcome.evaluation.results}
        if not reasons & TRANSIENT_REASONS or attempt + 1 >= self._retry_policy.attempts_max:
            return None
        retry_after_s = None if outcome.retry is None else outcome.retry.after_s
        return self._retry_policy.next_delay_s(attempt, retry_after_s)

    def _result(
        self,
        claim: Claim,
        evaluation: Evaluation,
        group: str | None,
        made: Mapping[str, Any] | None,
    ) -> RowResult:
        body = self._render(evaluation)
        return RowResult(
            item_id=claim.payload.item_id if claim.payload is not None else "",
            status=row_status(evaluation),
            body=body[:-1] + b"," + dumps({"generated": made, "group": group})[1:],
            sums=row_totals(evaluation, made),
            tally=row_tally(evaluation),
            groups=row_groups(evaluation, group),
        )


def _live(rule: Mapping[str, Any] | None, evaluation: Evaluation) -> list[LiveScored]:
    """The events of a row of live traffic; none for any other row."""
    if rule is None:
        return []
    return [
        LiveScored(rule["name"], result.name, result.score, result.reason)
        for result in evaluation.results
    ]


def load_batch_spec(request: bytes | None) -> BatchSpec:
    """The specification in a stored request; raises `BatchSpecError`."""
    if request is None:
        raise BatchSpecError("The batch's criteria are missing.")
    document = loads(request)
    try:
        criteria = parse_criteria(document["criteria"])
        judge = judge_spec(document.get("judge"))
        generated = document.get("generate")
        generation = Generation.model_validate(generated) if generated else None
    except ValidationError:
        raise BatchSpecError("This version does not know the batch's criteria.") from None
    stop, names = document.get("stop_when_certain"), [criterion.name for criterion in criteria]
    return BatchSpec(
        document["tenant"],
        criteria,
        judge,
        named_from_json(document.get("evaluator")),
        generation,
        document.get("store", True),
        parse_gates(document["gates"], names) if stop else (),
        stop["alpha"] if stop else 0.0,
        document.get("rule"),
    )


def failed(claim: Claim, code: str, message: str) -> RowResult:
    """The result of a row without an evaluation: an error instead of a score."""
    body = {"object": "evaluation", "status": "failed", "error": {"code": code, "message": message}}
    item_id = claim.payload.item_id if claim.payload is not None else ""
    return RowResult(item_id, "failed", orjson.dumps(body))
