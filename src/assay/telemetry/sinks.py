"""Several event sinks behind one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import structlog

from assay.domain.events import Event
from assay.domain.ports import EventSink


class Sinks:
    """An `EventSink` that passes each event to all its sinks; a failing one harms nothing else."""

    def __init__(self, sinks: Iterable[EventSink]) -> None:
        self._sinks = tuple(sinks)
        self._reported: set[tuple[type, type]] = set()

    def emit(self, event: Event) -> None:
        """Pass the event on; an error of a sink is logged once for each kind of event."""
        for sink in self._sinks:
            try:
                sink.emit(event)
            except Exception:  # noqa: BLE001  # a sink must never stop the work
                self._report(sink, event)

    def _report(self, sink: EventSink, event: Event) -> None:
        kind = (type(sink), type(event))
        if kind not in self._reported:
            self._reported.add(kind)
            with contextlib.suppress(Exception):  # the log itself may be what fails
                structlog.get_logger().bind(logger="assay.telemetry").exception(
                    "sink_failed", sink=kind[0].__name__, of=kind[1].__name__
                )
