"""What the resources of batches work with, and what they have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from assay.api.batches.responses import BAD_ROWS_SHOWN_MAX, batch_document
from assay.api.judged_request import deadline_of
from assay.api.services import Services
from assay.batches.creation import BatchCreator
from assay.batches.lasting import LastingBatches
from assay.catalog.stores import OpenStores
from assay.domain.batches import BATCH_ID, BadRow, Batch
from assay.domain.errors import RequestError
from assay.domain.ports import BatchStore
from assay.domain.tenants import TenantStorage
from assay.http.idempotency import run_idempotently
from assay.http.limits import Limits
from assay.http.readers import ReaderPlaces


@dataclass(frozen=True, slots=True)
class Batches:
    """The parts that the resources of batches call."""

    services: Services
    limits: Limits
    store: BatchStore
    lasting: LastingBatches
    creator: BatchCreator
    storage: TenantStorage
    private_webhooks: bool
    readers: ReaderPlaces = field(default_factory=ReaderPlaces)

    @property
    def open(self) -> OpenStores:
        """Opens the stores of records."""
        return self.services.open_stores

    async def requested(self, request: Request, batch_id: str) -> Batch:
        """The batch that a request names.

        Raises what `Services.admit` does, and `RequestError` (`not_found`), also for another
        tenant's batch.
        """
        return await self.found(await self.services.admit(request), batch_id)

    async def found(self, tenant: str, batch_id: str) -> Batch:
        """The tenant's batch as it stands; raises `RequestError` (`not_found`)."""
        batch = await self.lasting.find(tenant, batch_id) if BATCH_ID.fullmatch(batch_id) else None
        if batch is None:
            raise RequestError("not_found", "No batch has this id.")
        return batch

    def hold_reader(self, request: Request, tenant: str) -> None:
        """Take a place for a response that waits for its reader, until it is sent.

        Raises `TenantLimited` and `ProblemError` (`overloaded`).
        """
        request.state.held.enter_context(self.readers.held(tenant))

    async def describe(self, batch: Batch) -> dict[str, Any]:
        """The batch as callers read it, with its summary so far."""
        sums = await self.lasting.sums(batch, by_group=batch.ended)
        bad: Sequence[BadRow] = ()
        if batch.rejected:
            bad = await self.lasting.bad_rows(batch, BAD_ROWS_SHOWN_MAX)
        return batch_document(batch, sums=sums, bad=bad)

    async def run_idempotently(
        self,
        request: Request,
        tenant: str,
        work: Callable[[], Awaitable[Response]],
        body_sha256: str = "",
    ) -> Response:
        """Run `work` once for each idempotency key of the tenant."""
        return await run_idempotently(
            request,
            body_sha256,
            self.services.idempotency,
            tenant=tenant,
            deadline=deadline_of(None, self.limits),
            work=work,
        )
