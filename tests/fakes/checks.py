"""Checks that misbehave in ways that the service must survive."""

from __future__ import annotations

import os
import re
import signal
import time
from typing import ClassVar, Literal

from assay.criteria.base import Check, Finding
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case


class _Fake(Check):
    family: ClassVar[str] = "fake"
    inline_work_max: ClassVar[int] = 0


class ProcessOf(_Fake):
    """Reports the id of its process; runs inline for a case of up to a hundred characters."""

    inline_work_max: ClassVar[int] = 100
    type: Literal["process_of"] = "process_of"

    def check(self, case: Case) -> Finding:
        return Finding(1.0, value=os.getpid(), explanation=str(case.output))


class EnvironmentOf(_Fake):
    """Reports the names of its environment variables."""

    type: Literal["environment_of"] = "environment_of"

    def check(self, case: Case) -> Finding:
        return Finding(1.0, value=sorted(os.environ))


class Stuck(_Fake):
    """Writes its process id to the file named by the output, then never returns.

    It backtracks inside the C regex engine, so no Python signal handler can stop it.
    """

    type: Literal["stuck"] = "stuck"

    def check(self, case: Case) -> Finding:
        with open(str(case.output), "w") as file:  # noqa: PTH123 - one call, nothing to manage
            file.write(str(os.getpid()))
        re.match(r"(a+)+$", "a" * 64 + "b")
        return Finding(1.0)


class Slow(_Fake):
    """Takes as many seconds as the output says."""

    type: Literal["slow"] = "slow"

    def check(self, case: Case) -> Finding:
        time.sleep(float(str(case.output)))
        return Finding(1.0, value=os.getpid())


class Killed(_Fake):
    """Kills its own process, as the kernel does when memory runs out."""

    type: Literal["killed"] = "killed"

    def check(self, case: Case) -> Finding:
        os.kill(os.getpid(), signal.SIGKILL)
        return Finding(1.0)


class Hungry(_Fake):
    """Allocates eight gigabytes."""

    type: Literal["hungry"] = "hungry"

    def check(self, case: Case) -> Finding:
        return Finding(1.0, value=len(bytearray(8 * 1024**3)))


class Greedy(_Fake):
    """Allocates as many megabytes as the output says, and reports its process id."""

    type: Literal["greedy"] = "greedy"

    def check(self, case: Case) -> Finding:
        held = b"x" * (int(str(case.output)) * 1024**2)
        return Finding(1.0, value=os.getpid(), explanation=str(len(held)))


class Unable(_Fake):
    """Is not applicable, as without a reference."""

    inline_work_max: ClassVar[int] = 100
    type: Literal["unable"] = "unable"

    def check(self, case: Case) -> Finding:
        raise NotApplicable("reference_missing", "nothing to compare with")


class Broken(_Fake):
    """Raises an unexpected error with the caller's text in it."""

    inline_work_max: ClassVar[int] = 100
    type: Literal["broken"] = "broken"

    def check(self, case: Case) -> Finding:
        raise KeyError(str(case.output))


class Chatty(_Fake):
    """Writes to both output streams before it answers."""

    type: Literal["chatty"] = "chatty"

    def check(self, case: Case) -> Finding:
        os.write(1, b"progress: 50 %\n")
        os.write(2, b"warning\n")
        return Finding(0.25, label="said")


class SlowToLoad(_Fake):
    """Takes `load_s` seconds to load, and is then quick."""

    type: Literal["slow_to_load"] = "slow_to_load"
    load_s: float

    def load(self) -> None:
        time.sleep(self.load_s)

    def check(self, case: Case) -> Finding:
        return Finding(1.0)
