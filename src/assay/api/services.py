"""What the HTTP layer works with, handed in by the composition root."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from assay.catalog.stores import OpenStores, without_records
from assay.domain.audit import AuditLog
from assay.domain.ports import EventSink, IdempotencyStore, Judges, ModelDirectory
from assay.domain.tenants import OPEN_GATE, TenantGate
from assay.domain.usage import UsageRecords
from assay.evaluation.ports import Compares, Evaluates
from assay.http.access import Access, Role, authenticate
from assay.http.lifecycle import Lifecycle, Load


@dataclass(frozen=True, slots=True)
class Services:
    """The parts that the resources call."""

    evaluator: Evaluates
    comparer: Compares
    access: Access
    idempotency: IdempotencyStore
    models: ModelDirectory
    judges: Judges
    usage: UsageRecords
    audit: AuditLog
    events: EventSink
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    load: Load = field(default_factory=Load)
    gate: TenantGate = OPEN_GATE
    open_stores: OpenStores = without_records
    seen: Callable[[], Mapping[str, Any]] = dict
    """What this process has seen since it started."""
    upload_bytes_max: int = 2**30

    async def admit(self, request: Request, needs: Role | None = None) -> str:
        """The tenant of a request, which counts as one of its requests.

        Raises `ProblemError` (`unauthenticated`), `RequestError` (`forbidden`), `TenantLimited`.
        """
        tenant = authenticate(request, self.access, needs).tenant
        await self.gate.count_request(tenant)
        return tenant
