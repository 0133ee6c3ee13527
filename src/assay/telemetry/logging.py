"""Structured logs on stderr: one line for each event worth reading, never a caller's content."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Literal, TextIO

import structlog

from assay.domain.completion import Caller, Usage
from assay.domain.events import (
    ActionTaken,
    AttemptFinished,
    BatchEnded,
    BreakerChanged,
    Event,
    FallbackTaken,
    InternalFault,
    JudgeDrifted,
    KeyQuarantined,
    ParameterRefused,
    QueueRefused,
    RecordsDegraded,
    RequestFinished,
    RulePaused,
    StoreDegraded,
    UsageLost,
    WebhookAttempted,
)
from assay.domain.hedging import SUPERSEDED
from assay.domain.trace_context import CURRENT
from assay.telemetry.redaction import redacted

Level = Literal["debug", "info", "warning", "error"]

# They repeat what `RequestFinished` logs.
SILENCED = ("uvicorn.access", "aiohttp.access")
SHARED: tuple[structlog.typing.Processor, ...] = (
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    redacted,
)
"""The processors of our own lines and of those from the standard library's loggers."""
REROUTED = ("uvicorn", "uvicorn.error", "uvicorn.asgi", "asyncio", "aiohttp")


def configure_logging(
    level: Level = "info",
    stream: TextIO | None = None,
    *,
    as_json: bool | None = None,
    correlated: bool = False,
) -> None:
    """Write our lines and those of uvicorn and asyncio to `stream` (stderr) in one format.

    With `as_json` None, the format is JSON lines unless the stream is a terminal. `correlated`
    lines have the ids of the trace in which they are written. Start uvicorn
    with `log_config=None`, or it installs its own handlers again.
    """
    stream = stream or sys.stderr
    renderer = _renderer(not stream.isatty() if as_json is None else as_json)
    shared = (*SHARED, _add_trace) if correlated else SHARED
    # Our own lines bypass the standard library, which would build each of them twice.
    structlog.configure(
        processors=[structlog.processors.add_log_level, *shared, renderer],
        logger_factory=structlog.WriteLoggerFactory(stream),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                *shared,
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in REROUTED:
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    for name in SILENCED:
        logging.getLogger(name).disabled = True


LEVELS: Mapping[Level, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
Line = tuple[Level, str, Callable[[], dict[str, Any]]]
"""The level of a line, its event and what makes its fields, where the line is written at all."""


def _add_trace(
    _: structlog.typing.WrappedLogger, __: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    trace = CURRENT.get()
    if trace is not None:
        line["trace_id"], line["span_id"] = trace.trace_id, trace.span_id
    return line


class EventLog:
    """An `EventSink` that writes a line for each event that an operator reads."""

    def __init__(self) -> None:
        self._log = structlog.get_logger().bind(logger="assay")

    def emit(self, event: Event) -> None:
        """Log the event; one that is not in `LINES` gets no line."""
        to_line = LINES.get(type(event))
        if to_line is not None:
            level, name, fields = to_line(event)
            if self._log.is_enabled_for(LEVELS[level]):
                getattr(self._log, level)(name, **fields())


def _request_finished(event: RequestFinished) -> Line:
    names = ("caller", "method", "route", "status", "seconds", "body_bytes")
    key = {"key": event.key_name} if event.key_name else {}
    return "info", "request", lambda: _fields(event, *names) | key


def _action_taken(event: ActionTaken) -> Line:
    return "info", "audit", lambda: asdict(event.action)


def _attempt_finished(event: AttemptFinished) -> Line:
    names = ("caller", "provider", "host", "model", "outcome", "error", "message", "seconds")
    level: Level = "debug" if event.outcome in ("ok", SUPERSEDED) else "warning"
    return level, "attempt", lambda: _fields(event, *names, "usage", "cost_usd")


def _breaker_changed(event: BreakerChanged) -> Line:
    level: Level = "info" if event.to_state == "closed" else "warning"
    return level, "breaker", lambda: _fields(event, "model", "from_state", "to_state", "reason")


def _key_quarantined(event: KeyQuarantined) -> Line:
    fields = _fields(event, "provider", "model") | {"set_aside_s": event.seconds}
    return "error", "provider_key_rejected", lambda: fields


def _webhook_attempted(event: WebhookAttempted) -> Line:
    level: Level = "info" if event.outcome == "delivered" else "warning"
    return level, "webhook", lambda: _fields(event, "batch_id", "outcome", "tries")


def _internal_fault(event: InternalFault) -> Line:
    fields = {"error": event.error_type, "exception": event.trace}
    return "error", "internal_fault", lambda: fields | _fields(event, "where", "request_id")


def _store_degraded(event: StoreDegraded) -> Line:
    if event.available:
        return "info", "store_recovered", dict
    return "error", "store_unavailable", lambda: {"error": event.fault}


def _records_degraded(event: RecordsDegraded) -> Line:
    if event.available:
        return "info", "records_recovered", dict
    return "error", "records_unavailable", lambda: {"error": event.fault}


def _fields(event: Event, *names: str) -> dict[str, Any]:
    """The named fields of an event, in the form that lines have."""
    fields: dict[str, Any] = {}
    for name in names:
        match getattr(event, name):
            case Caller() as caller:
                fields |= {"request_id": caller.request_id, "tenant": caller.tenant}
            case Usage() as usage:
                fields |= asdict(usage)
            case value if name == "seconds":
                fields["duration_ms"] = round(value * 1000, 1)
            case value:
                fields["batch" if name == "batch_id" else name] = value
    return fields


def _line(level: Level, name: str, *fields: str) -> Callable[[Any], Line]:
    return lambda event: (level, name, lambda: _fields(event, *fields))


LINES: Mapping[type, Callable[[Any], Line]] = {
    ActionTaken: _action_taken,
    RequestFinished: _request_finished,
    AttemptFinished: _attempt_finished,
    FallbackTaken: _line("warning", "fallback", "caller", "from_model", "to_model", "outcome"),
    BreakerChanged: _breaker_changed,
    KeyQuarantined: _key_quarantined,
    ParameterRefused: _line("warning", "parameter_refused", "provider", "model", "parameter"),
    QueueRefused: _line("warning", "queue_refused", "caller", "model", "waiting_for", "reason"),
    StoreDegraded: _store_degraded,
    RecordsDegraded: _records_degraded,
    BatchEnded: _line("info", "batch_ended", "batch_id", "status"),
    WebhookAttempted: _webhook_attempted,
    UsageLost: _line("error", "usage_lost", "calls"),
    RulePaused: _line("warning", "rule_paused", "rule_id", "reason"),
    JudgeDrifted: _line("warning", "judge_drift", "evaluator_id", "batch_id", "since_batch"),
    InternalFault: _internal_fault,
}


def _renderer(as_json: bool) -> structlog.typing.Processor:
    if as_json:
        encoder = json.JSONEncoder(default=repr)
        return structlog.processors.JSONRenderer(lambda line, **_: encoder.encode(line))
    return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
