"""The trace that calls carry."""

from __future__ import annotations

import contextvars
import re

import pytest

from assay.domain.trace_context import (
    CURRENT,
    SENT_SPAN_ID,
    TraceContext,
    is_judge_call,
    outgoing_headers,
    work_online,
)

TRACE = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", sampled=True)


def headers(trace: TraceContext | None, *, passes: bool = True, online: bool = False) -> dict:
    """The headers of a call in that trace, and the span id that it was sent with."""

    def call() -> dict:
        CURRENT.set(trace)
        if online:
            work_online()
        return {**outgoing_headers(passes=passes), "sent": SENT_SPAN_ID.get()}

    return contextvars.copy_context().run(call)


def test_a_call_without_a_trace_has_no_headers():
    """Nothing is made up where nothing traces."""
    assert headers(None) == {"sent": ""}


def test_a_call_is_a_span_of_its_own_in_the_trace():
    """The span id is new with each call, and kept for the span that is made afterwards."""
    first, second = headers(TRACE), headers(TRACE)
    assert first["traceparent"] == f"00-{TRACE.trace_id}-{first['sent']}-01"
    assert first["tracestate"] == "assay=judge"
    assert len({first["sent"], second["sent"], TRACE.span_id}) == 3


def test_a_provider_that_is_not_told_has_no_headers():
    """Unless the call is for an online rule: then it has to be known when it comes back."""
    assert headers(TRACE, passes=False) == {"sent": ""}
    assert headers(TRACE, passes=False, online=True)["tracestate"] == "assay=judge"


def test_a_call_for_an_online_rule_has_a_trace_in_any_case():
    """Also where nothing is exported: its own call must never be judged again."""
    sent = headers(None, passes=False, online=True)
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", sent["traceparent"])
    assert is_judge_call(sent["tracestate"])


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("vendor=1,other=a b", "assay=judge,vendor=1,other=a b"),
        ("assay=app, vendor=1", "assay=judge,vendor=1"),
        ("vendor=1\r\nX-Evil: 1,ok=2", "assay=judge,ok=2"),
        ("é=1,=,x,UPPER=1," + "a" * 300 + "=1", "assay=judge"),
        (",".join(f"m{n}=1" for n in range(40)), 32),
    ],
)
def test_what_the_caller_wrote_in_tracestate_goes_on(state, expected):
    """Ours comes first, and what is malformed or too much is left out."""
    sent = headers(TraceContext(TRACE.trace_id, TRACE.span_id, state=state))["tracestate"]
    assert (len(sent.split(",")) if isinstance(expected, int) else sent) == expected


def test_only_our_own_member_marks_a_judges_call():
    """Not one with another value, nor another's name that ends like it."""
    assert is_judge_call("vendor=1 , assay=judge")
    assert not is_judge_call("notassay=judge,assay=judges,assay=app")
