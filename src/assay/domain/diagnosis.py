"""What `assay doctor` finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "wrong"]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The state of one thing, and how to mend it."""

    subject: str
    state: State
    message: str
    remedy: str = ""


CLOCK_S_MAX = 2.0
"""Between the clocks of an installation; a Date header has whole seconds, and was under way."""
FAR_CLOCK_S_MAX = 30.0
"""From a host elsewhere: cloud providers refuse signatures that are minutes old."""


def clock(beside: str, ahead_s: float, ahead_s_max: float) -> Diagnosis:
    """The state of this machine's clock, which is that far ahead of another one."""
    if abs(ahead_s) <= ahead_s_max:
        return Diagnosis("clock", "ok", f"agrees with {beside}")
    where = "ahead of" if ahead_s > 0 else "behind"
    return Diagnosis(
        "clock",
        "warning",
        f"is {abs(ahead_s):.0f} s {where} {beside}",
        "let both machines keep their time by NTP",
    )
