"""The evaluation engine: checks first, then all judges at the same time, then the totals.

Criteria whose conditions wait for results follow in further rounds, by the same order.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from assay.criteria.base import Check, Criterion
from assay.criteria.composite.compound import Compound
from assay.criteria.placeholders import OutputMembers
from assay.criteria.results import (
    CHECK_FAILED,
    SKIPPED,
    CriterionOutcome,
    combined_outcome,
    to_result,
    unless_met,
)
from assay.domain.case_text import case_size
from assay.domain.completion import Caller, to_ms
from assay.domain.errors import (
    TRANSIENT_REASONS,
    DeadlineExceeded,
    FieldError,
    ModelError,
    NotApplicable,
    Overloaded,
    RequestError,
)
from assay.domain.evaluation import (
    Case,
    CriterionResult,
    EvaluationOutcome,
    EvaluatorRecord,
    JudgeSpec,
    NamedVersion,
    RetryAdvice,
    Suspicion,
    latest,
    soonest,
)
from assay.domain.events import CascadeFinished, CriterionFinished
from assay.domain.faults import internal_fault
from assay.domain.json_pointer import json_pointer
from assay.domain.policy import Deadline
from assay.domain.ports import EventSink, Images, Judges
from assay.domain.tenants import OPEN_GATE, TenantGate
from assay.evaluation.aggregation import to_evaluation
from assay.evaluation.revision import revision
from assay.evaluation.sandbox.pool import CompileFault, SandboxPool
from assay.evaluation.selection import (
    Placed,
    assign_judges,
    calls_of,
    with_certificate,
    with_parts,
)
from assay.evaluation.suspicion import apply_policy
from assay.judging.call import RequestJudges
from assay.judging.cascade import judge_group
from assay.judging.generation import Generated, Generation, generate
from assay.judging.judge import Assignment, judge_criterion
from assay.judging.prefix import with_prefixes
from assay.judging.preparation import judge_prepared
from assay.judging.shared_call import group_calls
from assay.screening import HELD_BACK, Screener


@dataclass(frozen=True, slots=True)
class _Finished:
    """One criterion's result, and when to try again where it failed for a transient reason."""

    result: CriterionResult
    retry: RetryAdvice | None


class Evaluator:
    """Evaluates cases by criteria; see `prompts.untrusted.delimiter` for `delimiter_key`."""

    def __init__(
        self,
        judges: Judges,
        sandbox: SandboxPool,
        screener: Screener,
        events: EventSink,
        images: Images,
        delimiter_key: bytes = b"",
        gate: TenantGate = OPEN_GATE,
    ) -> None:
        self._gate = gate
        self._judges = judges
        self._sandbox = sandbox
        self._screener = screener
        self._events = events
        self._images = images
        self._delimiter_key = delimiter_key

    async def evaluate(
        self,
        case: Case,
        criteria: Sequence[Criterion],
        *,
        judge: JudgeSpec,
        caller: Caller,
        deadline: Deadline,
        metadata: Mapping[str, Any] | None = None,
        named: NamedVersion | None = None,
    ) -> EvaluationOutcome:
        """Score the case by each criterion, in the order given.

        Raises `RequestError` (`unknown_model`, or too many calls) and `TenantLimited` before any
        call is made. No other failure raises: it is an unscored result with its reason.
        Cancellation reaches every call.
        """
        started_s = time.monotonic()
        judges = RequestJudges(self._judges, self._events)
        calls_max = self._gate.judge_calls_max(caller.tenant)
        placed = with_parts(criteria)
        assignments = assign_judges(
            criteria, judge, judges, caller, deadline, self._delimiter_key, calls_max
        )
        made = revision(placed, assignments)
        if named is not None and named.certificate is not None:
            assignments = with_certificate(assignments, named.certificate, made, len(criteria))
        finished: dict[int, _Finished] = {}
        counted = False
        while ready := self._ready(placed, finished, assignments, caller):
            asked = {index: assignments[index] for index in ready if index in assignments}
            if not asked:
                checks = {i: one for i in ready if isinstance(one := placed[i].criterion, Check)}
                finished |= await self._check_all(case, checks, caller, deadline)
            elif any(_stops(placed[index], done.result) for index, done in finished.items()):
                finished |= self._finish_all(asked, SKIPPED, caller)
            else:
                if not counted and not (caller.deferral and caller.deferral.resumed):
                    # All of them, since nothing may be refused once a call is made.
                    chosen = [(one.criterion, one.panel) for one in assignments.values()]
                    await self._gate.count_judge_calls(caller.tenant, calls_of(chosen))
                    counted = True
                finished |= await self._load_and_judge(case, asked, caller, deadline)
        results = tuple(finished[index].result for index in range(len(criteria)))
        of = (named.name, named.version) if named is not None else ()
        record = EvaluatorRecord(made, *of)
        evaluation = to_evaluation(results, record, time.monotonic() - started_s, metadata or {})
        return EvaluationOutcome(evaluation, latest(done.retry for done in finished.values()))

    async def generate(
        self, generation: Generation, case: Case, *, caller: Caller, deadline: Deadline
    ) -> Generated:
        """See `Evaluates`."""
        await self._gate.count_judge_calls(caller.tenant, 1)
        if not generation.shows_images:
            return await generate(generation, case, self._judges, caller, deadline)
        async with self._images.loaded((case,), deadline) as (loaded,):
            return await generate(generation, loaded, self._judges, caller, deadline)

    async def compile(
        self, criteria: Sequence[Criterion], *, caller: Caller, deadline: Deadline
    ) -> None:
        """See `Evaluates`."""
        late = {
            placed.location: placed.criterion
            for placed in with_parts(criteria)
            if isinstance(placed.criterion, Check) and placed.criterion.compiles_late
        }
        if not late:
            return
        try:
            fault = await self._sandbox.compile(late, deadline, caller)
        except NotApplicable as error:
            if error.reason == "overloaded":
                raise Overloaded(error.message) from None
            if error.reason == "deadline_exceeded":
                raise DeadlineExceeded(error.message) from None
            fault = CompileFault(("criteria",), f"cannot be compiled: {error.message}")
        if fault is not None:
            field = FieldError(json_pointer(fault.location), fault.message)
            raise RequestError("invalid_request", f"{field.pointer}: {field.message}", (field,))

    def _ready(
        self,
        placed: Sequence[Placed],
        finished: dict[int, _Finished],
        assignments: Mapping[int, Assignment],
        caller: Caller,
    ) -> list[int]:
        """The criteria that can be asked now: checks where there are some, else judged ones.

        Adds to `finished` what follows from results alone: conditions that do not hold, and the
        compound criteria whose parts are finished.
        """
        while True:
            known, ready = len(finished), []
            for index in reversed(range(len(placed))):  # parts before what they are parts of
                one = placed[index]
                if index in finished:
                    continue
                outcome, waits = self._condition(one, finished)
                if outcome is not None:
                    finished[index] = self._finish(one.criterion, outcome, caller, 0.0)
                elif not waits and (index in assignments or isinstance(one.criterion, Check)):
                    ready.append(index)
                elif not waits and one.parts and finished.keys() >= set(one.parts.values()):
                    finished[index] = self._combined(one, finished, caller)
            if len(finished) == known:
                checks = [index for index in ready if index not in assignments]
                return (checks or ready)[::-1]

    async def _check_all(
        self, case: Case, checks: Mapping[int, Check], caller: Caller, deadline: Deadline
    ) -> dict[int, _Finished]:
        """The checks in two rows: those on the event loop, and those in worker processes.

        In a row one follows the other. On the loop everyone else gets a turn in between, and for
        the worker that a tenant may have, the checks of one request would only wait together.
        """
        finished: dict[int, _Finished] = {}

        async def finish(checks: Mapping[int, Check]) -> None:
            for index, check in checks.items():
                if finished:
                    await asyncio.sleep(0)
                started_s = time.monotonic()
                outcome = await self._check(check, case, caller, deadline)
                seconds = time.monotonic() - started_s
                finished[index] = self._finish(check, outcome, caller, seconds, away=checks is away)

        size = case_size(case)
        inline = {
            index: check
            for index, check in checks.items()
            if self._sandbox.runs_inline(check, case, size)
        }
        away = {index: check for index, check in checks.items() if index not in inline}
        await asyncio.gather(*(finish(row) for row in (away, inline) if row))
        return finished

    @staticmethod
    def _condition(
        placed: Placed, finished: Mapping[int, _Finished]
    ) -> tuple[CriterionOutcome | None, bool]:
        """The outcome where a condition does not hold, and whether one waits for results."""
        for condition in placed.conditions:
            done = {name: finished.get(condition.named[name]) for name in condition.formula.names}
            known = {name: one for name, one in done.items() if one is not None}
            if len(known) < len(done):
                return None, True
            results = {name: one.result for name, one in known.items()}
            retry = soonest(one.retry for one in known.values())
            outcome = unless_met(condition.formula, results, retry)
            if outcome is not None:
                return outcome, False
        return None, False

    def _combined(
        self, placed: Placed, finished: Mapping[int, _Finished], caller: Caller
    ) -> _Finished:
        """A compound criterion whose parts are all finished."""
        assert isinstance(placed.criterion, Compound)  # noqa: S101  # for the type checker
        done = {name: finished[part] for name, part in placed.parts.items()}
        outcome = combined_outcome(
            placed.criterion,
            {name: part.result for name, part in done.items()},
            soonest(part.retry for part in done.values()),
        )
        seconds = max(part.result.latency_ms for part in done.values()) / 1_000
        return self._finish(placed.criterion, outcome, caller, seconds)

    async def _check(
        self, check: Check, case: Case, caller: Caller, deadline: Deadline
    ) -> CriterionOutcome:
        try:
            finding = await self._sandbox.run(check, case, deadline, caller)
            return CriterionOutcome(finding)
        except NotApplicable as error:
            return CriterionOutcome(None, error.reason, error.message)
        except Exception as error:  # noqa: BLE001  # it must not take the other criteria along
            self._events.emit(internal_fault("check", error, caller.request_id))
            return CHECK_FAILED

    async def _load_and_judge(
        self,
        case: Case,
        assignments: Mapping[int, Assignment],
        caller: Caller,
        deadline: Deadline,
    ) -> dict[int, _Finished]:
        """Look up the members of the output that templates name, fetch images, ask all judges."""
        finished: dict[int, _Finished] = {}
        wanting = {index: one for index, one in assignments.items() if one.criterion.output_paths}
        if wanting:
            paths = (path for one in wanting.values() for path in one.criterion.output_paths)
            members = OutputMembers(paths=tuple(dict.fromkeys(paths)))
            outcome = await self._check(members, case, caller, deadline)
            if outcome.finding is None:
                finished = self._finish_all(wanting, outcome, caller)
                assignments = {i: one for i, one in assignments.items() if i not in wanting}
            else:
                case = replace(case, output_members=outcome.finding.value)
        try:
            async with self._images.loaded([case], deadline) as (loaded,):
                judged = await self._judge_all(loaded, assignments, caller) if assignments else {}
        except ModelError as error:
            failed = CriterionOutcome(None, error.reason, error.message)
            judged = self._finish_all(assignments, failed, caller)
        return finished | judged

    async def _judge_all(
        self, case: Case, assignments: Mapping[int, Assignment], caller: Caller
    ) -> dict[int, _Finished]:
        policies = {assignment.panel.spec.injection for assignment in assignments.values()}
        found = self._screener.screen(case, policies, caller)
        groups = with_prefixes(group_calls(assignments, case, self._events), case)
        # A single group has a task as well: where requests go through in one piece, they move in
        # convoys, and a sixth of the throughput is lost.
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._judge_group(group, case, found)) for group in groups]
        return {index: done for task in running for index, done in task.result().items()}

    async def _judge_group(
        self, group: Mapping[int, Assignment], case: Case, found: tuple[Suspicion, ...]
    ) -> dict[int, _Finished]:
        """The results of criteria that share a call, or of one that has its own.

        A group has one judge and so one policy: all of it is held back, or none of it.
        """
        started_s = time.monotonic()
        assignments: Sequence[Assignment] = list(group.values())
        count = len(group)
        policy, caller = assignments[0].panel.spec.injection, assignments[0].context.caller
        outcomes: Sequence[CriterionOutcome]
        try:
            if policy == "quarantine" and found:
                outcomes = [CriterionOutcome(None, "judge_suspect", HELD_BACK)] * count
            elif assignments[0].criterion.calls_before:
                assignments, outcomes = await judge_prepared(assignments[0], case)
            elif count == 1 and not assignments[0].panel.tiers:
                outcomes = [await judge_criterion(assignments[0], case)]
            else:
                outcomes = await judge_group(assignments, case)
            outcomes = await apply_policy(outcomes, assignments, case, found)
        except NotApplicable as error:
            outcomes = [CriterionOutcome(None, error.reason, error.message)] * count
        except Exception as error:  # noqa: BLE001  # it must not take the other criteria along
            self._events.emit(internal_fault("judging", error, caller.request_id))
            outcomes = [CHECK_FAILED] * count
        for assignment, outcome in zip(assignments, outcomes, strict=True):
            if assignment.thresholds is not None and outcome.judge and outcome.judge.cascade:
                self._sink(caller).emit(CascadeFinished(outcome.judge.cascade.tier))
        seen = [suspicion for outcome in outcomes for suspicion in outcome.suspect]
        self._screener.report(seen, {policy}, caller)
        seconds, suspect = time.monotonic() - started_s, () if policy == "off" else found
        return {
            index: self._finish(assignment.criterion, outcome, caller, seconds, suspect)
            for (index, assignment), outcome in zip(group.items(), outcomes, strict=True)
        }

    def _sink(self, caller: Caller) -> EventSink:
        """Where events of results go: those of a round in which calls wait do not count."""
        return caller.deferral or self._events

    def _finish_all(
        self, assignments: Mapping[int, Assignment], outcome: CriterionOutcome, caller: Caller
    ) -> dict[int, _Finished]:
        """The same outcome for all, where no judge is asked."""
        return {
            index: self._finish(assignment.criterion, outcome, caller, 0.0)
            for index, assignment in assignments.items()
        }

    def _finish(
        self,
        criterion: Criterion,
        outcome: CriterionOutcome,
        caller: Caller,
        seconds: float,
        suspect: tuple[Suspicion, ...] = (),
        *,
        away: bool = False,
    ) -> _Finished:
        result = to_result(criterion, outcome, latency_ms=to_ms(seconds), suspect=suspect)
        self._sink(caller).emit(
            CriterionFinished(caller, result.type, result.status, result.reason, seconds, away)
        )
        return _Finished(result, outcome.retry if result.reason in TRANSIENT_REASONS else None)


def _stops(placed: Placed, result: CriterionResult) -> bool:
    """Whether a criterion of the request, and no part of one, has failed where it may not."""
    required = placed.criterion.required and len(placed.location) == len(("criteria", 0))
    return required and result.status == "scored" and result.passed is False
