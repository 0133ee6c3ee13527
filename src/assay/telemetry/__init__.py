"""Metrics and logs: they subscribe to domain events, and nothing that works knows of them."""

from assay.telemetry.logging import EventLog, configure_logging
from assay.telemetry.metrics import LabelUniverse, Metrics
from assay.telemetry.sinks import Sinks

__all__ = ["EventLog", "LabelUniverse", "Metrics", "Sinks", "configure_logging"]
