"""The program of a worker process: it reads a job, such as a check of a case, and answers.

Run as `python -m assay.evaluation.sandbox.process MEMORY_BYTES_MAX`, without the environment of
the service, which holds keys. A frame is a length of 8 bytes, big-endian, and that many bytes.
Requests are pickles from the service. Answers are JSON: a process that has parsed hostile text is
not trusted to send pickles.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError

from assay.criteria.base import Check
from assay.criteria.locations import Location
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case
from assay.domain.faults import internal_fault

LENGTH_BYTES = 8
RESIDENT_BYTES_MAX = 512 * 1024**2
"""Peak memory after which a process is not used again; all libraries together take 200 MB."""

ORPHAN_GRACE_S = 1.0
"""How much longer than its limit a check may run after the service has died."""

CHECK_FAULT = "check"
"""Where an `InternalFault` happened: a check raised what it should not."""


@dataclass(frozen=True, slots=True)
class CheckJob:
    """Checks a case; the result is the finding."""

    check: Check
    case: Case

    def load(self) -> None:
        self.check.load()

    def run(self) -> Any:
        return asdict(self.check.check(self.case))


@dataclass(frozen=True, slots=True)
class CompileJob:
    """Compiles what the caller wrote; the result is the first fault, or None."""

    checks: Mapping[Location, Check]

    def load(self) -> None:
        """Nothing is missing: what checks compile needs no large library."""

    def run(self) -> Any:
        for location, check in self.checks.items():
            try:
                check.compile()
            except ValidationError as error:
                fault = error.errors(include_url=False, include_input=False)[0]
                return {"location": (*location, *fault["loc"]), "message": fault["msg"]}
        return None


Job = CheckJob | CompileJob


def main() -> None:
    """Answer requests until the service closes the pipe."""
    memory_bytes_max = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes_max, memory_bytes_max))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A terminal sends its interrupt to the whole process group, but the service decides what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What the metrics' libraries print must not come between the frames.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    serve(sys.stdin.buffer, answers)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Send an empty frame as the sign of being ready, then answer each request in turn.

    Before each answer goes another empty frame: what the check needs is loaded, and its time runs.
    """
    _send(answers, {})
    while length := requests.read(LENGTH_BYTES):
        job: Job
        job, time_max_s = pickle.loads(  # noqa: S301 - the service's own bytes
            requests.read(int.from_bytes(length))
        )
        with suppress(Exception):  # the check itself fails for the same reason, and says so
            job.load()
        _send(answers, {})
        # The alarm's default action ends the process even inside a C extension.
        signal.setitimer(signal.ITIMER_REAL, time_max_s + ORPHAN_GRACE_S)
        answer = run(job)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _send(answers, {**answer, "too_large": resident_bytes_peak() > RESIDENT_BYTES_MAX})


def run(job: Job) -> Mapping[str, Any]:
    """The `result`; or a `reason` and a `message`, and for an unexpected error its `fault`."""
    try:
        return {"result": job.run()}
    except NotApplicable as error:
        return {"reason": error.reason, "message": error.message}
    except MemoryError:
        return {"reason": "check_error", "message": "The check needs more memory than is allowed."}
    except Exception as error:  # noqa: BLE001 - a bug in one check must not end the process
        return {
            "reason": "check_error",
            "message": failure_message(error),
            "fault": asdict(internal_fault(CHECK_FAULT, error)),
        }


def failure_message(error: Exception) -> str:
    """What the caller reads of an unexpected error: its type, and none of its text."""
    return f"The check failed with {type(error).__name__}."


def resident_bytes_peak() -> int:
    """The most memory that this program has held.

    On Linux `ru_maxrss` includes the peak of the process that started this one, which may be a
    service with hundreds of megabytes in flight. `/proc` counts from the start of the program.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = next(line for line in lines if line.startswith("VmHWM:"))
        return int(peak.split()[1]) * 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _send(answers: BinaryIO, answer: Mapping[str, Any]) -> None:
    frame = json.dumps(answer, ensure_ascii=False).encode("utf-8", "surrogatepass")
    answers.write(len(frame).to_bytes(LENGTH_BYTES) + frame)
    answers.flush()


if __name__ == "__main__":
    main()
