"""A check's own process: it reads a check and a case, and answers with the finding.

It is started as `python -m assay.evaluation.sandbox.worker`, without the environment of the
service (which holds keys) and with a limit on its memory. Frames are a length of 8 bytes, big-endian, and that
many bytes: requests are pickles from the service; answers are JSON, because a process that has
parsed hostile text is not trusted to make the service unpickle anything.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from assay.criteria.base import Check
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case

LENGTH_BYTES = 8
RESIDENT_BYTES_MAX = 512 * 1024**2
"""Peak memory after which a worker is not used again; all libraries together take 200 MB."""

ORPHAN_GRACE_S = 1.0
"""How much longer than its limit a check may run whose service died without killing it."""


def main() -> None:
    """Answer requests until the service closes the pipe; `argv[1]` is the memory limit in bytes."""
    memory_bytes_max = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes_max, memory_bytes_max))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A terminal's interrupt goes to the whole process group; the service decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Prints and warnings of the metrics' libraries must not get between the frames.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    serve(sys.stdin.buffer, answers)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Say that this process is ready, then answer each frame of `requests` in turn."""
    _send(answers, {})
    while length := requests.read(LENGTH_BYTES):
        check, case, time_max_s = pickle.loads(  # noqa: S301 - the service's own bytes
            requests.read(int.from_bytes(length))
        )
        # Left at its default, the alarm ends the process even from inside a C extension.
        signal.setitimer(signal.ITIMER_REAL, time_max_s + ORPHAN_GRACE_S)
        answer = answered(check, case)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _send(answers, {**answer, "swollen": swollen()})


def answered(check: Check, case: Case) -> Mapping[str, Any]:
    """What came of the check: a finding, why it could not judge, or what broke it."""
    try:
        return {"finding": asdict(check.check(case))}
    except NotApplicable as cannot:
        return {"reason": cannot.reason, "message": cannot.message}
    except MemoryError:
        return {"reason": "check_error", "message": "the check needs more memory than it may have"}
    except Exception as error:  # noqa: BLE001 - a bug in one check must not end the worker
        return {"reason": "check_error", "message": broken(error)}


def swollen() -> bool:
    """Whether a check has left this process too large to keep."""
    return resident_bytes_peak() > RESIDENT_BYTES_MAX


def resident_bytes_peak() -> int:
    """The most memory that this program has held.

    Linux carries `ru_maxrss` over from the process that started us, which may be a service with
    hundreds of megabytes in flight; the kernel's own figure begins anew with the program.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = next(line for line in lines if line.startswith("VmHWM:"))
        return int(peak.split()[1]) * 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def broken(error: Exception) -> str:
    """A message for a check that raised: the kind of error, and none of the caller's text."""
    return f"the check failed with {type(error).__name__}"


def _send(answers: BinaryIO, answer: Mapping[str, Any]) -> None:
    frame = json.dumps(answer).encode()
    answers.write(len(frame).to_bytes(LENGTH_BYTES) + frame)
    answers.flush()


if __name__ == "__main__":
    main()
