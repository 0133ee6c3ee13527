"""Contexts and readers of calls that tests make themselves."""

from __future__ import annotations

from assay.domain.completion import CallContext, Caller, Completion
from assay.domain.policy import Deadline

ANYONE = Caller()


def call(seconds: float = 5.0, caller: Caller = ANYONE, **fields: object) -> CallContext:
    """The context of a call that has `seconds` left."""
    return CallContext(caller, Deadline.after(seconds), **fields)  # type: ignore[arg-type]


def read_text(completion: Completion[object]) -> str:
    """Read a completion as its plain text."""
    return completion.text
