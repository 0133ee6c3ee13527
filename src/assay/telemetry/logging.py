"""Structured logs on stderr: one line for each event worth reading, never a caller's content."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal, TextIO

import structlog

from assay.domain.completion import Caller
from assay.domain.events import (
    AttemptFinished,
    BatchEnded,
    BreakerChanged,
    Event,
    FallbackTaken,
    InternalFault,
    KeyQuarantined,
    ParameterRefused,
    QueueRefused,
    RecordsDegraded,
    RequestFinished,
    StoreDegraded,
    UsageLost,
    WebhookAttempted,
)
from assay.telemetry.redaction import escape_values, mask_secrets

Level = Literal["debug", "info", "warning", "error"]

# They repeat what `RequestFinished` logs.
SILENCED = ("uvicorn.access", "aiohttp.access")
SHARED: tuple[structlog.typing.Processor, ...] = (
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    mask_secrets,
    escape_values,
)
"""The processors of our own lines and of those from the standard library's loggers."""
REROUTED = ("uvicorn", "uvicorn.error", "uvicorn.asgi", "asyncio", "aiohttp")


def configure_logging(
    level: Level = "info", stream: TextIO | None = None, *, as_json: bool | None = None
) -> None:
    """Write our lines and those of uvicorn and asyncio to `stream` (stderr) in one format.

    With `as_json` None, the format is JSON lines unless the stream is a terminal. Start uvicorn
    with `log_config=None`, or it installs its own handlers again.
    """
    stream = stream or sys.stderr
    renderer = _renderer(not stream.isatty() if as_json is None else as_json)
    # Our own lines bypass the standard library, which would build each of them twice.
    structlog.configure(
        processors=[structlog.processors.add_log_level, *SHARED, renderer],
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
                *SHARED,
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


class EventLog:
    """An `EventSink` that writes a line for each event that an operator reads."""

    def __init__(self) -> None:
        self._log = structlog.get_logger().bind(logger="assay")
        self._handlers: Mapping[type, Callable[[Any], None]] = {
            RequestFinished: self._request_finished,
            AttemptFinished: self._attempt_finished,
            FallbackTaken: self._fallback_taken,
            BreakerChanged: self._breaker_changed,
            KeyQuarantined: self._key_quarantined,
            ParameterRefused: self._parameter_refused,
            QueueRefused: self._queue_refused,
            StoreDegraded: self._store_degraded,
            RecordsDegraded: self._records_degraded,
            BatchEnded: self._batch_ended,
            WebhookAttempted: self._webhook_attempted,
            UsageLost: self._usage_lost,
            InternalFault: self._internal_fault,
        }

    def emit(self, event: Event) -> None:
        """Log the event; an event without a handler gets no line."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def _request_finished(self, event: RequestFinished) -> None:
        self._log.info(
            "request",
            **_who(event.caller),
            method=event.method,
            route=event.route,
            status=event.status,
            duration_ms=_ms(event.seconds),
            body_bytes=event.body_bytes,
            **({"key": event.key_name} if event.key_name else {}),
        )

    def _attempt_finished(self, event: AttemptFinished) -> None:
        level = logging.DEBUG if event.outcome == "ok" else logging.WARNING
        self._log.log(
            level,
            "attempt",
            **_who(event.caller),
            provider=event.provider,
            host=event.host,
            model=event.model,
            outcome=event.outcome,
            error=event.error,
            message=event.message,
            duration_ms=_ms(event.seconds),
            input_tokens=event.usage.input_tokens,
            output_tokens=event.usage.output_tokens,
            thinking_tokens=event.usage.thinking_tokens,
            cached_tokens=event.usage.cached_tokens,
            cost_usd=event.cost_usd,
        )

    def _fallback_taken(self, event: FallbackTaken) -> None:
        self._log.warning(
            "fallback",
            **_who(event.caller),
            from_model=event.from_model,
            to_model=event.to_model,
            outcome=event.outcome,
        )

    def _breaker_changed(self, event: BreakerChanged) -> None:
        level = logging.INFO if event.to_state == "closed" else logging.WARNING
        self._log.log(
            level,
            "breaker",
            model=event.model,
            from_state=event.from_state,
            to_state=event.to_state,
            reason=event.reason,
        )

    def _key_quarantined(self, event: KeyQuarantined) -> None:
        self._log.error(
            "provider_key_rejected",
            provider=event.provider,
            model=event.model,
            set_aside_s=event.seconds,
        )

    def _parameter_refused(self, event: ParameterRefused) -> None:
        self._log.warning(
            "parameter_refused",
            provider=event.provider,
            model=event.model,
            parameter=event.parameter,
        )

    def _queue_refused(self, event: QueueRefused) -> None:
        self._log.warning(
            "queue_refused",
            **_who(event.caller),
            model=event.model,
            waiting_for=event.waiting_for,
            reason=event.reason,
        )

    def _batch_ended(self, event: BatchEnded) -> None:
        self._log.info("batch_ended", batch=event.batch_id, status=event.status)

    def _webhook_attempted(self, event: WebhookAttempted) -> None:
        level = logging.INFO if event.outcome == "delivered" else logging.WARNING
        self._log.log(
            level, "webhook", batch=event.batch_id, outcome=event.outcome, tries=event.tries
        )

    def _internal_fault(self, event: InternalFault) -> None:
        self._log.error(
            "internal_fault",
            where=event.where,
            error=event.error_type,
            request_id=event.request_id,
            exception=event.trace,
        )

    def _usage_lost(self, event: UsageLost) -> None:
        self._log.error("usage_lost", calls=event.calls)

    def _store_degraded(self, event: StoreDegraded) -> None:
        if event.available:
            self._log.info("store_recovered")
        else:
            self._log.error("store_unavailable", error=event.fault)

    def _records_degraded(self, event: RecordsDegraded) -> None:
        if event.available:
            self._log.info("records_recovered")
        else:
            self._log.error("records_unavailable", error=event.fault)


def _who(caller: Caller) -> dict[str, str]:
    return {"request_id": caller.request_id, "tenant": caller.tenant}


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _renderer(as_json: bool) -> structlog.typing.Processor:  # one private caller
    if as_json:
        encoder = json.JSONEncoder(default=repr)
        return structlog.processors.JSONRenderer(lambda line, **_: encoder.encode(line))
    return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
