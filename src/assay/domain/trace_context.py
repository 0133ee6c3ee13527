"""The trace that work belongs to, as W3C Trace Context names it; None unless something traces.

It is set where work begins, and found by what runs in the same task or in tasks started from it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace

from assay.domain.ids import random_hex

JUDGE_MEMBER = "assay=judge"
"""The member of `tracestate` that tells a judge's call from a call of an application."""
STATE_MEMBERS_MAX = 32
_MEMBER = re.compile(r"[a-z0-9][a-z0-9_*/@-]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{1,256}")
NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The span in whose name a task works; ids are lower-case hex digits.

    `caller_span_id` is the span of the caller that sent the request, in the same trace. Where the
    work is `online`, for a rule that scores live traffic, every provider is told the trace.
    """

    trace_id: str
    span_id: str
    sampled: bool = False
    state: str = ""
    caller_span_id: str = ""
    online: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """What was judged, as its own trace names it: a span, or the model's response, or both."""

    trace_id: str | None = None
    span_id: str | None = None
    response_id: str | None = None


CURRENT: ContextVar[TraceContext | None] = ContextVar("assay_trace", default=None)
SENT_SPAN_ID: ContextVar[str] = ContextVar("assay_sent_span_id", default="")
"""The span id that the last call of this task was sent with."""


def work_online(trace_id: str = "") -> None:
    """From now on, this task works for an online rule: its calls are known when they come back.

    Where nothing traces, they have this trace id, or a random one.
    """
    trace = CURRENT.get() or TraceContext(trace_id or random_hex(16), random_hex(8))
    CURRENT.set(replace(trace, online=True))


def outgoing_headers(*, passes: bool) -> Mapping[str, str]:
    """The headers that tell a provider the current trace; none where it is not `passes`."""
    trace = CURRENT.get()
    if trace is None or not (passes or trace.online):
        return NO_HEADERS
    span_id = random_hex(8)
    SENT_SPAN_ID.set(span_id)
    return {
        "traceparent": f"00-{trace.trace_id}-{span_id}-{trace.sampled:02x}",
        "tracestate": as_judge(trace.state),
    }


def is_judge_call(state: str) -> bool:
    """Whether a `tracestate` says that the call was a judge's."""
    return JUDGE_MEMBER in (member.strip() for member in state.split(","))


def as_judge(state: str) -> str:
    """A `tracestate` with our member first; what is malformed is left out."""
    members = (member.strip() for member in state.split(","))
    kept = [m for m in members if _MEMBER.fullmatch(m) and not m.startswith("assay=")]
    return ",".join([JUDGE_MEMBER, *kept[: STATE_MEMBERS_MAX - 1]])
