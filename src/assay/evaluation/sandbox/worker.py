"""One worker process, as the service sees it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from assay.evaluation.sandbox import process as program

ANSWER_BYTES_MAX = 16 * 1024 * 1024


class WorkerCrashed(Exception):
    """The process has ended, or has sent something that is not an answer."""


class SandboxWorker:
    """A worker process and its pipes.

    `tenant` is whom it worked for last. It is `busy` from a request until its answer is complete,
    and `too_large` where a check has left it holding more memory than a process should keep.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self.tenant = ""
        self.busy = False
        self.too_large = False

    @classmethod
    async def start(cls, memory_bytes_max: int) -> SandboxWorker:
        """A process that is ready for requests; raises `WorkerCrashed` where none can start."""
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                program.__name__,
                str(memory_bytes_max),
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                env=_environment(),
            )
        except OSError as error:
            raise WorkerCrashed from error
        worker = cls(process)
        try:
            # Importing the criteria takes a while, and is no part of a check's time.
            await worker._receive()
        except BaseException:
            await worker.kill()
            raise
        return worker

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def ask(self, request: bytes, time_max_s: float) -> Mapping[str, Any]:
        """The answer to one request; raises `WorkerCrashed`, and `TimeoutError`.

        The time begins when the process has loaded what the check needs. On a busy machine that
        may take longer than the check, and a worker that was killed for it would begin again.
        """
        self.busy = True
        pipe = self._process.stdin
        if pipe is None:
            raise WorkerCrashed
        try:
            pipe.write(len(request).to_bytes(program.LENGTH_BYTES))
            pipe.write(request)
            await pipe.drain()
        except OSError as error:
            raise WorkerCrashed from error
        await self._receive()
        async with asyncio.timeout(time_max_s):
            answer = await self._receive()
        self.busy, self.too_large = False, bool(answer.get("too_large"))
        return answer

    def close(self) -> None:
        """End an idle process: it stops when its pipe is closed."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def kill(self) -> None:
        """End the process, whatever it is doing, and wait until it has gone."""
        with suppress(ProcessLookupError):
            self._process.kill()
        self.close()
        await asyncio.shield(self._process.wait())

    async def _receive(self) -> Mapping[str, Any]:
        """The next frame that the process sends."""
        pipe = self._process.stdout
        if pipe is None:
            raise WorkerCrashed
        try:
            length = int.from_bytes(await pipe.readexactly(program.LENGTH_BYTES))
            if length > ANSWER_BYTES_MAX:
                raise WorkerCrashed
            answer = json.loads(await pipe.readexactly(length))
        except (OSError, EOFError, ValueError) as error:
            raise WorkerCrashed from error
        if not isinstance(answer, dict):
            raise WorkerCrashed
        return answer


def _environment() -> dict[str, str]:
    # A worker parses hostile text: it gets what Python needs to start, and no keys.
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    paths = os.pathsep.join(path for path in sys.path if path)
    # One check uses one thread; BLAS would reserve memory for a thread per core.
    return kept | {"PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"}
