"""Metrics and logs: they subscribe to domain events, and no code that emits events imports them."""

from assay.telemetry.logging import EventLog, configure_logging
from assay.telemetry.metrics import LabelUniverse, Metrics
from assay.telemetry.sinks import Sinks

__all__ = ["EventLog", "LabelUniverse", "Metrics", "Sinks", "configure_logging"]
