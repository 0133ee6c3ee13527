"""The evaluation engine: checks first, then judges side by side, then one sum."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from assay.criteria.base import Check, Criterion, Judged
from assay.criteria.results import FAILED_CHECK, scored, skipped, unscored
from assay.domain.completion import Caller
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case, CriterionResult, Evaluation, JudgeSpec
from assay.domain.events import CriterionFinished
from assay.domain.ids import new_id
from assay.domain.policy import Deadline
from assay.domain.ports import EventSink, Judges
from assay.evaluation import aggregation
from assay.evaluation.sandbox.pool import SandboxPool
from assay.evaluation.selection import judges_of
from assay.judging import shared_call
from assay.judging.call import Asker, Panel, panel_for
from assay.judging.judge import judged
from assay.screening import Screener

JUDGE_CALLS_MAX = 16
"""Judge calls of one evaluation in flight at a time."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A judged criterion with the model that will answer it."""

    criterion: Judged
    bench: Panel


class Evaluator:
    """Evaluates cases by criteria; between calls it remembers only which outputs repeat."""

    def __init__(self, judges: Judges, offload: SandboxPool, events: EventSink) -> None:
        self._judges = judges
        self._offload = offload
        self._events = events
        self._guard = Screener(events)

    async def evaluate(
        self,
        case: Case,
        criteria: Sequence[Criterion],
        *,
        judge: JudgeSpec,
        caller: Caller,
        deadline: Deadline,
        metadata: Mapping[str, Any] | None = None,
    ) -> Evaluation:
        """Score the case by each criterion, in the order given.

        Raises `RequestError` (`unknown_model`) before any call is made. No other failure
        raises: it is an unscored result with its reason. Cancellation reaches every call.
        """
        started_s = time.monotonic()
        asked = self._selected(criteria, judge, asyncio.Semaphore(JUDGE_CALLS_MAX))
        results = await self._checked(case, criteria, caller, deadline)
        if any(_stops(criteria[index], score) for index, score in results.items()):
            for index, each in asked.items():
                results[index] = self._finished(skipped(each.criterion), caller, 0.0)
        else:
            results |= await self._judged(case, asked, caller, deadline)
        scores = tuple(results[index] for index in range(len(criteria)))
        return Evaluation(
            id=new_id("eval"),
            created_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            status=aggregation.overall_status(scores),
            passed=aggregation.overall_passed(scores),
            score=aggregation.overall_score(scores),
            results=scores,
            usage=aggregation.total_usage(scores),
            cost_usd=aggregation.total_cost_usd(scores),
            latency_ms=(time.monotonic() - started_s) * 1_000,
            metadata={} if metadata is None else metadata,
        )

    def _selected(
        self, criteria: Sequence[Criterion], judge: JudgeSpec, slots: asyncio.Semaphore
    ) -> dict[int, _Asked]:
        """The models for each judged criterion: an unknown one must cost nothing."""
        return {
            index: _Asked(criterion, panel_for(self._judges, spec, slots))
            for index, spec in judges_of(criteria, judge, self._judges).items()
            if isinstance(criterion := criteria[index], Judged)
        }

    async def _checked(
        self, case: Case, criteria: Sequence[Criterion], caller: Caller, deadline: Deadline
    ) -> dict[int, CriterionResult]:
        async def one(check: Check) -> CriterionResult:
            started_s = time.monotonic()
            score = await self._check(check, case, deadline)
            return self._finished(score, caller, time.monotonic() - started_s)

        checks = {i: each for i, each in enumerate(criteria) if isinstance(each, Check)}
        scores = await asyncio.gather(*(one(check) for check in checks.values()))
        return dict(zip(checks, scores, strict=True))

    async def _check(self, check: Check, case: Case, deadline: Deadline) -> CriterionResult:
        try:
            return scored(check, await self._offload.run(check, case, deadline))
        except NotApplicable as error:
            return unscored(check, error.reason, error.message)
        except Exception:  # noqa: BLE001  # one criterion's fault must not take the others along
            return unscored(check, "check_error", FAILED_CHECK)

    async def _judged(
        self, case: Case, asked: Mapping[int, _Asked], caller: Caller, deadline: Deadline
    ) -> dict[int, CriterionResult]:
        asker = Asker(caller, deadline)
        specs = [each.bench.spec for each in asked.values()]
        screening = await self._guard.screen(case, specs, caller)

        async def some(indices: Sequence[int]) -> dict[int, CriterionResult]:
            started_s = time.monotonic()
            group = [asked[index] for index in indices]
            # A group has one judge and with it one policy: all of it is held back, or none.
            held = [screening.held_back(each.criterion, each.bench.spec) for each in group]
            scores = [each for each in held if each] or await _ask(group, case, asker)
            return {
                index: self._finished(
                    screening.flagged(score, each.bench.spec), caller, time.monotonic() - started_s
                )
                for index, each, score in zip(indices, group, scores, strict=True)
            }

        groups = shared_call.groups(
            {i: (each.criterion, each.bench) for i, each in asked.items()}, case
        )
        # A single group has a task as well: where requests go through in one piece, they move in
        # convoys, and a sixth of the throughput is lost.
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(some(each)) for each in groups]
        return {index: score for task in running for index, score in task.result().items()}

    def _finished(self, score: CriterionResult, caller: Caller, seconds: float) -> CriterionResult:
        self._events.emit(
            CriterionFinished(caller, score.type, score.status, score.reason, seconds)
        )
        return replace(score, latency_ms=seconds * 1_000)


async def _ask(group: Sequence[_Asked], case: Case, asker: Asker) -> Sequence[CriterionResult]:
    """The scores of criteria that share a call, or of one that is asked alone."""
    criteria, bench = [each.criterion for each in group], group[0].bench
    try:
        if len(criteria) > 1:
            return await shared_call.judged_together(criteria, case, bench, asker)
        return [await judged(criteria[0], case, bench, asker)]
    except NotApplicable as error:
        return [unscored(each, error.reason, error.message) for each in criteria]
    except Exception:  # noqa: BLE001  # one criterion's fault must not take the others along
        return [unscored(each, "check_error", FAILED_CHECK) for each in criteria]


def _stops(criterion: Criterion, score: CriterionResult) -> bool:
    return criterion.required and score.status == "scored" and score.passed is False
