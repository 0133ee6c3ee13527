"""Decides where a check runs: a small case on the event loop, a large one in a worker process.

Threads cannot be stopped, and the pools of `concurrent.futures` cannot stop a single task, so each
worker is a subprocess with its own pipes. A check that takes too long, or whose request has gone
away, is killed with its process; a worker that crashes takes one request with it.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assay.criteria.base import Check, Finding
from assay.criteria.locations import Location
from assay.domain.case_text import case_size, size_of
from assay.domain.completion import Caller
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case
from assay.domain.events import InternalFault
from assay.domain.faults import internal_fault
from assay.domain.policy import Deadline
from assay.domain.ports import EventSink
from assay.evaluation.sandbox.fair_slots import FairSlots, SlotsFull
from assay.evaluation.sandbox.process import (
    CHECK_FAULT,
    CheckJob,
    CompileJob,
    Job,
    failure_message,
)
from assay.evaluation.sandbox.worker import SandboxWorker, WorkerCrashed

WORKERS_MAX = 2
TENANT_WORKERS_MAX = 1
"""Workers that one tenant may keep busy: there is always one for the others."""
WAITING_MAX = 256
TENANT_WAITING_MAX = 128
"""Jobs that wait for a worker in one service process, and those of one tenant."""

CHECK_TIME_MAX_S = 10.0
WORKER_MEMORY_BYTES_MAX = 1024**3
"""Address space of a worker; the largest metric library takes about a third of it."""

WORKER_IDLE_S = 300.0

SHUTTING_DOWN = "The service is shutting down."
WORKER_FAULT = "sandbox_worker"
"""Where an `InternalFault` happened: a worker process crashed or did not start."""
TRACE_CHARS_MAX = 16_384
"""Longest traceback that is taken from a worker, which is not trusted."""


NOBODY = Caller()


@dataclass(frozen=True, slots=True)
class CompileFault:
    """What could not be compiled: its place in the request, and what is wrong."""

    location: Sequence[str | int]
    message: str


class SandboxPool:
    """Runs checks so that none stalls the event loop for more than a few milliseconds.

    An error that a check should not raise, and a crash of a worker, is also an `InternalFault`.
    """

    def __init__(
        self,
        events: EventSink,
        *,
        workers_max: int = WORKERS_MAX,
        tenant_workers_max: int = TENANT_WORKERS_MAX,
        waiting_max: int = WAITING_MAX,
        tenant_waiting_max: int = TENANT_WAITING_MAX,
        check_time_max_s: float = CHECK_TIME_MAX_S,
        memory_bytes_max: int = WORKER_MEMORY_BYTES_MAX,
        idle_s: float = WORKER_IDLE_S,
    ) -> None:
        self._events = events
        self._slots = FairSlots(workers_max, tenant_workers_max, waiting_max, tenant_waiting_max)
        self._workers_max = workers_max
        self._check_time_max_s = check_time_max_s
        self._memory_bytes_max = memory_bytes_max
        self._idle_s = idle_s
        self._idle: dict[SandboxWorker, asyncio.TimerHandle] = {}
        self._workers: set[SandboxWorker] = set()
        self._spare: asyncio.Task[None] | None = None
        self._closed = False

    def runs_inline(self, check: Check, case: Case, size: int) -> bool:
        """Whether the check of a case of this size (`case_size`) runs on the event loop."""
        most = check.inline_work_max
        # The plain bound goes first: `work` may look at the whole case.
        if size > most:
            return False
        size += size_of(vars(check), most)
        return size <= most and check.work(size, case) <= most

    async def run(
        self, check: Check, case: Case, deadline: Deadline, caller: Caller = NOBODY
    ) -> Finding:
        """The finding of `check`.

        Raises `NotApplicable`: the check's own; `check_error` where the check failed or took too
        long; `overloaded` where too many were waiting; `deadline_exceeded`.
        """
        if self.runs_inline(check, case, case_size(case)):
            return self._run_inline(check, case, caller.request_id)
        return Finding(**await self._run_job(CheckJob(check, case), deadline, caller))

    async def compile(
        self, checks: Mapping[Location, Check], deadline: Deadline, caller: Caller
    ) -> CompileFault | None:
        """The first fault in what the caller wrote; see `Check.compile`.

        Raises `NotApplicable` like `run`.
        """
        fault = await self._run_job(CompileJob(checks), deadline, caller)
        return None if fault is None else CompileFault(**fault)

    async def _run_job(self, job: Job, deadline: Deadline, caller: Caller) -> Any:
        try:
            async with (
                asyncio.timeout(max(0.0, deadline.remaining_s())),
                self._slots.slot(caller.tenant),
            ):
                return await self._run_in_worker(job, caller)
        except SlotsFull:
            raise NotApplicable("overloaded", "Too many checks wait for a worker.") from None
        except TimeoutError:
            raise NotApplicable("deadline_exceeded", "No time was left for the check.") from None

    async def aclose(self) -> None:
        """Kill all workers; checks that still run or wait end as `check_error`."""
        self._closed = True
        for timer in self._idle.values():
            timer.cancel()
        self._idle.clear()
        if self._spare is not None:
            self._spare.cancel()
            await asyncio.wait({self._spare})
        workers, self._workers = self._workers, set()
        await asyncio.gather(*(worker.kill() for worker in workers))

    def _run_inline(self, check: Check, case: Case, request_id: str) -> Finding:
        try:
            return check.check(case)
        except NotApplicable:
            raise
        except Exception as error:
            self._events.emit(internal_fault(CHECK_FAULT, error, request_id))
            raise NotApplicable("check_error", failure_message(error)) from error

    async def _run_in_worker(self, job: Job, caller: Caller) -> Any:
        limit_s, request_id = self._check_time_max_s, caller.request_id
        worker = await self._take_worker(caller)
        if self._spare is None and not self._idle and len(self._workers) < self._workers_max:
            self._spare = asyncio.create_task(self._start_spare())
        try:
            request = pickle.dumps((job, limit_s), protocol=5)
            answer = await worker.ask(request, limit_s)
        except TimeoutError:
            raise NotApplicable(
                "check_error", f"The check took longer than {limit_s:g} s."
            ) from None
        except WorkerCrashed as error:
            message = "The check's worker process crashed."
            raise self._worker_failure(error, message, request_id) from None
        finally:
            # Without a complete answer the check may still run, and the pipe is out of step.
            if worker.busy or worker.too_large or self._closed:
                self._workers.discard(worker)
                await worker.kill()
            else:
                self._rest(worker)
        return self._result(answer, request_id)

    async def _take_worker(self, caller: Caller) -> SandboxWorker:
        """An idle worker of the tenant, the spare one, a new one, or where there are enough, any.

        A tenant whose workers are killed again and again must not use up those of the others,
        who would wait for new ones to start.
        """
        own = self._resting(caller.tenant)
        if not own and self._spare is not None:
            await asyncio.wait({self._spare})
        self._workers = {worker for worker in self._workers if worker.alive}
        others = self._resting() if len(self._workers) >= self._workers_max else []
        for worker in (*own, *self._resting(""), *others):
            worker.tenant = caller.tenant
            self._idle.pop(worker).cancel()
            return worker
        try:
            worker = await SandboxWorker.start(self._memory_bytes_max)
        except WorkerCrashed as error:
            message = "No worker process could be started for the check."
            raise self._worker_failure(error, message, caller.request_id) from None
        worker.tenant = caller.tenant
        if self._closed:
            await worker.kill()
            raise NotApplicable("check_error", SHUTTING_DOWN)
        self._workers.add(worker)
        return worker

    def _resting(self, *tenants: str) -> list[SandboxWorker]:
        """The idle workers, of these tenants only if there are any; the spare one has none yet."""
        idle = (worker for worker in self._idle if worker.alive)
        return [worker for worker in idle if not tenants or worker.tenant in tenants]

    async def _start_spare(self) -> None:
        """Start a worker while the first one works: the next tenant need not wait for it."""
        try:
            worker = await SandboxWorker.start(self._memory_bytes_max)
            self._workers.add(worker)
            self._rest(worker)
        except WorkerCrashed:
            pass  # the next check that needs a worker tries again, and reports it
        finally:
            self._spare = None

    def _rest(self, worker: SandboxWorker) -> None:
        timer = asyncio.get_running_loop().call_later(self._idle_s, self._dismiss, worker)
        self._idle[worker] = timer

    def _dismiss(self, worker: SandboxWorker) -> None:
        self._idle.pop(worker, None)
        worker.close()

    def _worker_failure(self, error: WorkerCrashed, message: str, request_id: str) -> NotApplicable:
        if self._closed:
            return NotApplicable("check_error", SHUTTING_DOWN)
        self._events.emit(internal_fault(WORKER_FAULT, error, request_id))
        return NotApplicable("check_error", message)

    def _result(self, answer: Mapping[str, Any], request_id: str) -> Any:
        if "result" in answer:
            return answer["result"]
        if fault := answer.get("fault"):
            trace = str(fault["trace"])[-TRACE_CHARS_MAX:]
            self._events.emit(InternalFault(CHECK_FAULT, fault["error_type"], trace, request_id))
        raise NotApplicable(answer["reason"], answer["message"])
