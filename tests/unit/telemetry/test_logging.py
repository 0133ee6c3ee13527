"""Log lines as an operator and a collector read them."""

import io
import json
import logging
import re
from dataclasses import replace

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.domain.completion import Caller, Usage
from assay.domain.events import (
    AttemptFinished,
    BreakerChanged,
    FallbackTaken,
    KeyQuarantined,
    QueueRefused,
    RecordsDegraded,
    RequestFinished,
    StoreDegraded,
)
from assay.domain.faults import internal_fault
from assay.domain.trace_context import CURRENT, TraceContext
from assay.telemetry.logging import EventLog, configure_logging
from assay.telemetry.redaction import escape, mask

CALLER = Caller(tenant="acme", request_id="req_1")
REQUEST = RequestFinished(CALLER, "POST", "/v1/evaluations", 200, 0.0123, 42)


@pytest.fixture(autouse=True)
def restored_logging():
    """Leave the process-wide logging as it was found."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before[0], before[1]
    for name in ("uvicorn.access", "aiohttp.access"):
        logging.getLogger(name).disabled = False
    structlog.reset_defaults()


@pytest.fixture
def out():
    return io.StringIO()


def lines(out):
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_fault_is_an_error_line_with_its_traceback_and_none_of_the_callers_text(out):
    """The line has the place, the type of the error and the request id; the message stays out."""
    configure_logging("info", out)
    text = "what the caller wrote"
    with pytest.raises(ValueError, match=text) as raised:
        raise ValueError(text)
    EventLog().emit(internal_fault("batch_row", raised.value, "req_1"))
    (line,) = lines(out)
    assert (line["level"], line["event"]) == ("error", "internal_fault")
    assert (line["where"], line["error"], line["request_id"]) == (
        "batch_row",
        "ValueError",
        "req_1",
    )
    assert "test_logging.py" in line["exception"]
    assert text not in out.getvalue()


def attempt(outcome):
    return AttemptFinished(
        CALLER, "openai", "openai/a", outcome, 0.4, 0.1, usage=Usage(5, 2), cost_usd=0.01
    )


def test_a_request_is_one_json_line(out):
    """Off a terminal a request is one JSON object with caller, route, status and duration."""
    configure_logging("info", out)
    EventLog().emit(REQUEST)
    (line,) = lines(out)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "request",
        "level": "info",
        "logger": "assay",
        "request_id": "req_1",
        "tenant": "acme",
        "method": "POST",
        "route": "/v1/evaluations",
        "status": 200,
        "duration_ms": 12.3,
        "body_bytes": 42,
    }


def test_a_failed_attempt_warns_and_a_good_one_is_for_debugging(out):
    """At info level only the failed upstream call is written."""
    configure_logging("info", out)
    log = EventLog()
    log.emit(attempt("ok"))
    log.emit(attempt("provider_silent"))
    (line,) = lines(out)
    assert (line["level"], line["outcome"], line["tenant"]) == (
        "warning",
        "provider_silent",
        "acme",
    )


def test_the_cause_of_a_failed_attempt_is_logged(out):
    """Host, class and message; what looks like a secret is masked."""
    configure_logging("info", out)
    said = "openai: TLS: certificate verify failed, sk-0123456789abcdef0123"
    EventLog().emit(
        replace(attempt("tls_failed"), host="api.acme.test", error="TlsFailed", message=said)
    )
    (line,) = lines(out)
    assert (line["host"], line["error"]) == ("api.acme.test", "TlsFailed")
    assert line["message"] == "openai: TLS: certificate verify failed, ***"


def test_debug_shows_every_attempt(out):
    """The level is configurable."""
    configure_logging("debug", out)
    EventLog().emit(attempt("ok"))
    assert lines(out)[0]["level"] == "debug"


def test_fallbacks_and_the_store_are_reported(out):
    """A fallback warns, a lost store is an error, a regained one is information."""
    configure_logging("info", out)
    log = EventLog()
    log.emit(FallbackTaken(CALLER, "openai/a", "anthropic/b", "provider_down"))
    log.emit(StoreDegraded(available=False))
    log.emit(StoreDegraded(available=True))
    log.emit(RecordsDegraded(available=False, fault="disk full"))
    log.emit(RecordsDegraded(available=True))
    log.emit(object())
    said = [(line["level"], line["event"]) for line in lines(out)]
    assert said == [
        ("warning", "fallback"),
        ("error", "store_unavailable"),
        ("info", "store_recovered"),
        ("error", "records_unavailable"),
        ("info", "records_recovered"),
    ]


def test_breakers_keys_and_refusals_are_reported(out):
    """An open breaker warns, a closed one informs, a rejected key is an error."""
    configure_logging("info", out)
    log = EventLog()
    log.emit(BreakerChanged("openai/a", "closed", "open", "failures"))
    log.emit(BreakerChanged("openai/a", "half_open", "closed", "probes"))
    log.emit(KeyQuarantined("openai", "openai/a", 60.0))
    log.emit(QueueRefused(CALLER, "openai/a", "local_slot", "full_count"))
    said = [(line["level"], line["event"], line["model"]) for line in lines(out)]
    assert said == [
        ("warning", "breaker", "openai/a"),
        ("info", "breaker", "openai/a"),
        ("error", "provider_key_rejected", "openai/a"),
        ("warning", "queue_refused", "openai/a"),
    ]


def test_other_libraries_write_in_the_same_form(out):
    """uvicorn's and asyncio's lines are JSON too; access lines are left to us."""
    configure_logging("info", out)
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 7)
    logging.getLogger("asyncio").warning("slow callback")
    logging.getLogger("uvicorn.access").info("GET /secret?key=1")
    said = [(line["logger"], line["event"]) for line in lines(out)]
    assert said == [
        ("uvicorn.error", "Started server process [7]"),
        ("asyncio", "slow callback"),
    ]


def test_secrets_are_masked_by_name_and_by_look(out):
    """Neither a field that is called a secret nor a text that looks like one is written."""
    configure_logging("info", out)
    key = "sk-proj-abcdefghijklmnopqrstuvwxyz"
    structlog.get_logger("assay").warning("refused", api_key="short", sent=f"Bearer {key}")
    logging.getLogger("uvicorn.error").error("redis://user:hunter2@redis:6379 with %s", key)
    text = out.getvalue()
    assert "short" not in text
    assert "hunter2" not in text
    assert key[8:] not in text
    assert "redis:6379" in text


def test_a_traceback_is_kept_readable_and_masked(out):
    """An exception's trace is in the line, without the secret that its message carries."""
    configure_logging("info", out)
    try:
        {}["sk-abcdefghijklmnopqrstuvwxyz"]
    except KeyError:
        logging.getLogger("uvicorn.error").exception("failed")
    (line,) = lines(out)
    assert line["exception"].startswith("Traceback")
    assert "\n" in line["exception"]
    assert "abcdefghij" not in line["exception"]


def test_plain_addresses_are_not_masked():
    """A port or a token count is no secret."""
    text = "http://127.0.0.1:8080/v1 input_tokens=5 task-management-and-others"
    assert mask(text) == text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("as_json", [True, False])
@given(text=st.text(max_size=40))
def test_no_value_can_forge_a_line(as_json, text):
    """Whatever a value holds, one log call writes one line without raw control characters."""
    out = io.StringIO()
    configure_logging("info", out, as_json=as_json)
    text = f"a\r\n\x1b[2Jb\u2028c{text}"
    caller = Caller(tenant=text, request_id=text)
    EventLog().emit(RequestFinished(caller, "POST", "/x", 200, 0.1, 1))
    logging.getLogger("uvicorn.error").info("path %s", text)
    written = re.sub("\x1b\\[[0-9;]*m", "", out.getvalue())  # the console form has colours
    assert written.count("\n") == 2
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]", written)


def test_escape_is_reversible_by_eye():
    """Control characters show as their code."""
    assert escape("a\nb\x1b\u2028") == "a\\nb\\x1b\\u2028"


def test_long_values_are_cut(out):
    """A value cannot fill the disk."""
    configure_logging("info", out)
    structlog.get_logger("assay").warning("x", detail="y" * 1_000_000)
    assert len(out.getvalue()) < 3_000


def test_lines_have_the_ids_of_their_trace_where_that_is_asked_for():
    """Lines outside of any trace have none, and without OpenTelemetry no line has."""
    for correlated in (True, False):
        out = io.StringIO()
        configure_logging("info", out, correlated=correlated)
        log = structlog.get_logger()
        log.info("outside")
        token = CURRENT.set(TraceContext("a" * 32, "b" * 16))
        try:
            log.info("inside")
            logging.getLogger("library").warning("inside, too")
        finally:
            CURRENT.reset(token)
        outside, *inside = map(json.loads, out.getvalue().splitlines())
        ids = {"trace_id": "a" * 32, "span_id": "b" * 16}
        assert not outside.keys() & ids.keys()
        for line in inside:
            assert {name: line.get(name) for name in ids} == (
                ids if correlated else {"trace_id": None, "span_id": None}
            )
