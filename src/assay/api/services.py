"""What the HTTP layer works with, handed in by the composition root."""

from __future__ import annotations

from dataclasses import dataclass, field

from assay.domain.ports import EventSink, IdempotencyStore, ModelDirectory
from assay.evaluation.ports import Compares, Evaluates
from assay.http.access import Access
from assay.http.lifecycle import Lifecycle, Load


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
