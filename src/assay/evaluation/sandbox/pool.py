"""Where a check runs: a small case on the event loop, a large one in a process of its own.

Threads cannot be stopped and the pools of `concurrent.futures` cannot stop one task, so each
worker is a plain sub-process with its own pair of pipes. A check that takes too long, or whose
request went away, is killed with its process; a worker that dies takes one request with it.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from assay.criteria.base import Check, Finding
from assay.domain.case_text import case_chars, text_chars
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case
from assay.domain.policy import Deadline
from assay.evaluation.sandbox import worker

WORKERS_MAX = 2
WAITING_MAX = 256
"""Checks that wait for a worker in one service process."""

CHECK_TIME_MAX_S = 10.0
WORKER_MEMORY_BYTES_MAX = 1024**3
"""Address space of a worker; the largest metric library takes about a third of it."""

WORKER_IDLE_S = 300.0
ANSWER_BYTES_MAX = 8 * 1024 * 1024


class Sandbox:
    """Runs checks so that none holds up the event loop for more than a few milliseconds."""

    def __init__(
        self,
        *,
        workers_max: int = WORKERS_MAX,
        waiting_max: int = WAITING_MAX,
        check_time_max_s: float = CHECK_TIME_MAX_S,
        memory_bytes_max: int = WORKER_MEMORY_BYTES_MAX,
        idle_s: float = WORKER_IDLE_S,
    ) -> None:
        self._slots = asyncio.Semaphore(workers_max)
        self._places = workers_max + waiting_max
        self._taken = 0
        self._check_time_max_s = check_time_max_s
        self._memory_bytes_max = memory_bytes_max
        self._idle_s = idle_s
        self._idle: list[tuple[SandboxWorker, asyncio.TimerHandle]] = []
        self._workers: set[SandboxWorker] = set()

    async def run(self, check: Check, case: Case, deadline: Deadline) -> Finding:
        """The finding of `check`.

        Raises `NotApplicable`: the check's own, `check_error` where it broke, took too long or
        found no place in the queue, and `deadline_exceeded`.
        """
        if case_chars(case) + text_chars(vars(check)) <= check.inline_chars(case):
            return _inline(check, case)
        if self._taken >= self._places:
            raise NotApplicable("check_error", "too many checks are waiting for a worker")
        self._taken += 1
        try:
            async with asyncio.timeout(max(0.0, deadline.remaining_s())), self._slots:
                return await self._in_worker(check, case)
        except TimeoutError:
            raise NotApplicable("deadline_exceeded", "no time was left for the check") from None
        finally:
            self._taken -= 1

    async def aclose(self) -> None:
        """Kill all workers; checks that still run end as `check_error`."""
        for _, timer in self._idle:
            timer.cancel()
        self._idle.clear()
        await asyncio.gather(*(each.kill() for each in tuple(self._workers)))
        self._workers.clear()

    async def _in_worker(self, check: Check, case: Case) -> Finding:
        limit_s = self._check_time_max_s
        try:
            hired = await self._hire()
        except (OSError, EOFError, ValueError):
            raise NotApplicable(
                "check_error", "no process for the check could be started"
            ) from None
        try:
            async with asyncio.timeout(limit_s):
                answer = await hired.ask(pickle.dumps((check, case, limit_s), protocol=5))
        except TimeoutError:
            raise NotApplicable(
                "check_error", f"the check took longer than {limit_s:g} s"
            ) from None
        except (OSError, EOFError, ValueError):
            raise NotApplicable("check_error", "the process of the check died") from None
        finally:
            # After anything but an answer the pipe is out of step, and the check may still run.
            if hired.busy or hired.swollen:
                self._workers.discard(hired)
                await hired.kill()
            else:
                self._rest(hired)
        return _finding(answer)

    async def _hire(self) -> SandboxWorker:
        while self._idle:
            rested, timer = self._idle.pop()
            timer.cancel()
            if rested.alive:
                return rested
        self._workers = {each for each in self._workers if each.alive}
        started = await SandboxWorker.start(self._memory_bytes_max)
        self._workers.add(started)
        return started

    def _rest(self, hired: SandboxWorker) -> None:
        timer = asyncio.get_running_loop().call_later(self._idle_s, self._dismiss, hired)
        self._idle.append((hired, timer))

    def _dismiss(self, rested: SandboxWorker) -> None:
        self._idle = [each for each in self._idle if each[0] is not rested]
        rested.close()


class SandboxWorker:
    """One worker process and its pipes.

    It is `busy` from a question until its answer is complete, and `swollen` where that question
    has left it too large to keep.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self.busy = False
        self.swollen = False

    @classmethod
    async def start(cls, memory_bytes_max: int) -> SandboxWorker:
        """A process that is ready to be asked; raises `OSError` or `EOFError` where it is not."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            worker.__name__,
            str(memory_bytes_max),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env=_environment(),
        )
        started = cls(process)
        try:
            # Until then it imports, which is no part of a check's time.
            await started.receive()
        except BaseException:
            await started.kill()
            raise
        return started

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def ask(self, request: bytes) -> Mapping[str, Any]:
        """The answer to `request`; raises `OSError`, `EOFError` or `ValueError` for a dead one."""
        self.busy = True
        requests = self._process.stdin
        if requests is None:
            raise EOFError
        requests.write(len(request).to_bytes(worker.LENGTH_BYTES))
        requests.write(request)
        await requests.drain()
        answer = await self.receive()
        self.busy, self.swollen = False, bool(answer["swollen"])
        return answer

    async def receive(self) -> Mapping[str, Any]:
        """The next frame that the process sends."""
        answers = self._process.stdout
        if answers is None:
            raise EOFError
        length = int.from_bytes(await answers.readexactly(worker.LENGTH_BYTES))
        if length > ANSWER_BYTES_MAX:
            raise ValueError(length)
        answer: Mapping[str, Any] = json.loads(await answers.readexactly(length))
        return answer

    def close(self) -> None:
        """Let an idle worker end: it stops when its pipe is closed."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def kill(self) -> None:
        """End the process, whatever it is doing, and wait until its CPU is free."""
        with suppress(ProcessLookupError):
            self._process.kill()
        self.close()
        await asyncio.shield(self._process.wait())


def _inline(check: Check, case: Case) -> Finding:
    try:
        return check.check(case)
    except NotApplicable:
        raise
    except Exception as error:
        raise NotApplicable("check_error", worker.broken(error)) from error


def _finding(answer: Mapping[str, Any]) -> Finding:
    if "finding" in answer:
        return Finding(**answer["finding"])
    raise NotApplicable(answer["reason"], answer["message"])


def _environment() -> dict[str, str]:
    # A worker runs parsers over hostile text: it gets what Python needs to start, and no keys.
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    paths = os.pathsep.join(path for path in sys.path if path)
    # One check is one thread; BLAS would reserve memory for a thread per core.
    return kept | {"PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"}
