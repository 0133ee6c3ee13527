"""What the HTTP layer works with, handed in by the composition root."""

from __future__ import annotations

from dataclasses import dataclass, field

from assay.http.access import Access
from assay.http.lifecycle import Lifecycle, Load
from assay.domain.ports import EventSink, IdempotencyStore, ModelDirectory
from assay.evaluation.ports import Compares, Evaluates


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one process; sizes in bytes, times in the unit of their name."""

    max_body_bytes: int = 2_097_152
    body_timeout_s: float = 10.0
    request_timeout_ms: int = 30_000
    default_timeout_ms: int = 20_000
    inflight_max: int = 1_000
    inflight_bytes_max: int = 512 * 1_048_576
    drain_delay_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Services:
    """The parts that the resources call."""

    evaluator: Evaluates
    comparer: Compares
    access: Access
    idempotency: IdempotencyStore
    models: ModelDirectory
    events: EventSink
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    load: Load = field(default_factory=Load)
