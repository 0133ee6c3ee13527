"""/v1/batches: listed, read, started, cancelled, deleted."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from assay.api.batches.responses import BatchListResponse, BatchResponse, batch_document
from assay.api.batches.services import BATCH_ID, Batches
from assay.api.problem_codes import BATCH, IDEMPOTENT
from assay.domain.batches import Batch
from assay.domain.events import BatchEnded
from assay.domain.exact_json import dumps
from assay.http.openapi import REPLAYED_RESPONSE, problems
from assay.http.pagination import Paging

PAGE = Paging(largest=100, default=20, cursor_pattern=BATCH_ID.pattern)


def batches_router(batches: Batches) -> APIRouter:
    """The routes of existing batches."""
    router = APIRouter(tags=["batches"])

    @router.get(
        "/v1/batches",
        operation_id="list_batches",
        response_model=None,
        responses={200: {"model": BatchListResponse}, **problems(*BATCH, "invalid_request")},
        openapi_extra={"parameters": PAGE.parameters()},
    )
    async def list_batches(request: Request) -> Response:
        """List the tenant's batches, newest first."""
        tenant = await batches.services.admit(request)
        cursor, limit = PAGE.cursor(request), PAGE.limit(request)
        found = await batches.store.page(tenant, cursor, limit + 1)
        data = [batch_document(batch) for batch in found[:limit]]
        more = len(found) > limit
        next_cursor = found[limit - 1].id if more else None
        return _json({"object": "list", "data": data, "has_more": more, "next_cursor": next_cursor})

    @router.get(
        "/v1/batches/{batch_id}",
        operation_id="get_batch",
        response_model=None,
        responses={200: {"model": BatchResponse}, **problems(*BATCH)},
    )
    async def get_batch(request: Request, batch_id: str) -> Response:
        """Read a batch: counts, score so far, cost, rate and estimated end."""
        return _json(await batches.describe(await batches.requested(request, batch_id)))

    @router.delete(
        "/v1/batches/{batch_id}",
        operation_id="delete_batch",
        status_code=204,
        response_model=None,
        responses=problems(*BATCH, "forbidden"),
    )
    async def delete_batch(request: Request, batch_id: str) -> Response:
        """Delete a batch with its rows and results, whatever its state."""
        await batches.store.delete(await batches.requested(request, batch_id))
        return Response(status_code=204)

    _add_changes(router, batches)
    return router


def _add_changes(router: APIRouter, batches: Batches) -> None:
    """The routes that change a batch's state; to repeat one is harmless."""
    documented: dict[str, Any] = {
        "response_model": None,
        "responses": {
            200: {"model": BatchResponse, **REPLAYED_RESPONSE},
            **problems(*BATCH, *IDEMPOTENT, "conflict"),
        },
    }

    @router.post("/v1/batches/{batch_id}/start", operation_id="start_batch", **documented)
    async def start_batch(request: Request, batch_id: str) -> Response:
        """Start work on the rows that were uploaded."""
        batch = await batches.requested(request, batch_id)
        work = partial(_start, batches, batch)
        return await batches.run_idempotently(request, batch.tenant, work)

    @router.post("/v1/batches/{batch_id}/cancel", operation_id="cancel_batch", **documented)
    async def cancel_batch(request: Request, batch_id: str) -> Response:
        """Cancel the rows that wait; rows in flight still get their result."""
        batch = await batches.requested(request, batch_id)
        work = partial(_cancel, batches, batch)
        return await batches.run_idempotently(request, batch.tenant, work)


async def _start(batches: Batches, batch: Batch) -> Response:
    await batches.store.start(batch.id)
    await batches.store.durable(batch.id)
    return _json(await batches.describe(await batches.found(batch.tenant, batch.id)))


async def _cancel(batches: Batches, batch: Batch) -> Response:
    await batches.store.cancel(batch.id)
    await batches.store.durable(batch.id)
    if batch.status != "cancelled":
        batches.services.events.emit(BatchEnded(batch.id, "cancelled"))
    return _json(await batches.describe(await batches.found(batch.tenant, batch.id)))


def _json(document: dict[str, Any]) -> Response:
    return Response(dumps(document), media_type="application/json")
