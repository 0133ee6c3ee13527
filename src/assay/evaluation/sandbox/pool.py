"""Decides where a check runs: a small case on the event loop, a large one in a worker process.

Threads cannot be stopped, and the pools of `concurrent.futures` cannot stop a single task, so each
worker is a subprocess with its own pipes. A check that takes too long, or whose request has gone
away, is killed with its process; a worker that crashes takes one request with it.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Mapping
from typing import Any

from assay.criteria.base import Check, Finding
from assay.domain.case_text import case_chars, text_chars
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case
from assay.domain.events import InternalFault
from assay.domain.faults import internal_fault
from assay.domain.policy import Deadline
from assay.domain.ports import EventSink
from assay.evaluation.sandbox.process import CHECK_FAULT, failure_message
from assay.evaluation.sandbox.worker import SandboxWorker, WorkerCrashed

WORKERS_MAX = 2
WAITING_MAX = 256
"""Checks that wait for a worker in one service process."""

CHECK_TIME_MAX_S = 10.0
WORKER_MEMORY_BYTES_MAX = 1024**3
"""Address space of a worker; the largest metric library takes about a third of it."""

WORKER_IDLE_S = 300.0

SHUTTING_DOWN = "The service is shutting down."
WORKER_FAULT = "sandbox_worker"
"""Where an `InternalFault` happened: a worker process crashed or did not start."""
TRACE_CHARS_MAX = 16_384
"""Longest traceback that is taken from a worker, which is not trusted."""


class SandboxPool:
    """Runs checks so that none stalls the event loop for more than a few milliseconds.

    An error that a check should not raise, and a crash of a worker, is also an `InternalFault`.
    """

    def __init__(
        self,
        events: EventSink,
        *,
        workers_max: int = WORKERS_MAX,
        waiting_max: int = WAITING_MAX,
        check_time_max_s: float = CHECK_TIME_MAX_S,
        memory_bytes_max: int = WORKER_MEMORY_BYTES_MAX,
        idle_s: float = WORKER_IDLE_S,
    ) -> None:
        self._events = events
        self._slots = asyncio.Semaphore(workers_max)
        self._admitted_max = workers_max + waiting_max
        self._admitted = 0
        self._check_time_max_s = check_time_max_s
        self._memory_bytes_max = memory_bytes_max
        self._idle_s = idle_s
        self._idle: dict[SandboxWorker, asyncio.TimerHandle] = {}
        self._workers: set[SandboxWorker] = set()
        self._closed = False

    async def run(
        self, check: Check, case: Case, deadline: Deadline, request_id: str = ""
    ) -> Finding:
        """The finding of `check`; `request_id` is for the report of a fault.

        Raises `NotApplicable`: the check's own; `check_error` where the check failed, took too
        long, or too many were waiting; `deadline_exceeded`.
        """
        chars = case_chars(case) + text_chars(vars(check))
        # The plain bound goes first: `inline_chars` may walk the whole case.
        if chars <= check.inline_chars_max and chars <= check.inline_chars(case):
            return self._run_inline(check, case, request_id)
        if self._admitted >= self._admitted_max:
            raise NotApplicable("check_error", "Too many checks wait for a worker process.")
        self._admitted += 1
        try:
            async with asyncio.timeout(max(0.0, deadline.remaining_s())), self._slots:
                return await self._run_in_worker(check, case, request_id)
        except TimeoutError:
            raise NotApplicable("deadline_exceeded", "No time was left for the check.") from None
        finally:
            self._admitted -= 1

    async def aclose(self) -> None:
        """Kill all workers; checks that still run or wait end as `check_error`."""
        self._closed = True
        for timer in self._idle.values():
            timer.cancel()
        self._idle.clear()
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

    async def _run_in_worker(self, check: Check, case: Case, request_id: str) -> Finding:
        limit_s = self._check_time_max_s
        worker = await self._take_worker(request_id)
        try:
            request = pickle.dumps((check, case, limit_s), protocol=5)
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
                timer = asyncio.get_running_loop().call_later(self._idle_s, self._dismiss, worker)
                self._idle[worker] = timer
        return self._finding(answer, request_id)

    async def _take_worker(self, request_id: str) -> SandboxWorker:
        """An idle worker, or a new one."""
        while self._idle:
            worker, timer = self._idle.popitem()
            timer.cancel()
            if worker.alive:
                return worker
        self._workers = {worker for worker in self._workers if worker.alive}
        try:
            worker = await SandboxWorker.start(self._memory_bytes_max)
        except WorkerCrashed as error:
            message = "No worker process could be started for the check."
            raise self._worker_failure(error, message, request_id) from None
        if self._closed:
            await worker.kill()
            raise NotApplicable("check_error", SHUTTING_DOWN)
        self._workers.add(worker)
        return worker

    def _dismiss(self, worker: SandboxWorker) -> None:
        del self._idle[worker]
        worker.close()

    def _worker_failure(self, error: WorkerCrashed, message: str, request_id: str) -> NotApplicable:
        if self._closed:
            return NotApplicable("check_error", SHUTTING_DOWN)
        self._events.emit(internal_fault(WORKER_FAULT, error, request_id))
        return NotApplicable("check_error", message)

    def _finding(self, answer: Mapping[str, Any], request_id: str) -> Finding:
        if "finding" in answer:
            return Finding(**answer["finding"])
        if fault := answer.get("fault"):
            trace = str(fault["trace"])[-TRACE_CHARS_MAX:]
            self._events.emit(InternalFault(CHECK_FAULT, fault["error_type"], trace, request_id))
        raise NotApplicable(answer["reason"], answer["message"])
