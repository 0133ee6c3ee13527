"""/v1/batches: listed, read, started, cancelled, deleted."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from assay.api.batches.responses import BatchListResponse, BatchResponse, batch_document
from assay.api.batches.services import Batches
from assay.api.problem_codes import BATCH, IDEMPOTENT
from assay.api.routes import json_response, list_document
from assay.batches.creation import retry_spec
from assay.catalog.names import find_version
from assay.domain.batches import BATCH_ID, Batch
from assay.domain.errors import RequestError
from assay.domain.events import BatchEnded
from assay.domain.exact_json import loads
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
        found = await batches.lasting.list(tenant, cursor, limit + 1)
        return json_response(list_document([batch_document(batch) for batch in found], limit))

    @router.get(
        "/v1/batches/{batch_id}",
        operation_id="get_batch",
        response_model=None,
        responses={200: {"model": BatchResponse}, **problems(*BATCH)},
    )
    async def get_batch(request: Request, batch_id: str) -> Response:
        """Read a batch: counts, score so far, cost, rate and estimated end."""
        return json_response(await batches.describe(await batches.requested(request, batch_id)))

    @router.delete(
        "/v1/batches/{batch_id}",
        operation_id="delete_batch",
        status_code=204,
        response_model=None,
        responses=problems(*BATCH, "forbidden"),
    )
    async def delete_batch(request: Request, batch_id: str) -> Response:
        """Delete a batch with its rows and results, whatever its state."""
        await batches.lasting.delete(await batches.requested(request, batch_id))
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

    again = {**documented, "status_code": 201}
    again["responses"] = {201: documented["responses"][200], **problems(*BATCH, "conflict")}

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

    @router.post("/v1/batches/{batch_id}/retry", operation_id="retry_batch", **again)
    async def retry_batch(request: Request, batch_id: str) -> Response:
        """Judge the rows that have no complete result again, as a batch of their own.

        It needs a batch over a dataset: of others the rows are not kept.
        """
        batch = await batches.requested(request, batch_id)
        work = partial(_retry, batches, batch)
        return await batches.run_idempotently(request, batch.tenant, work)


async def _start(batches: Batches, batch: Batch) -> Response:
    _refuse_recorded(batch)
    await batches.store.start(batch.id)
    await batches.store.durable(batch.id)
    return json_response(await batches.describe(await batches.found(batch.tenant, batch.id)))


async def _cancel(batches: Batches, batch: Batch) -> Response:
    _refuse_recorded(batch)
    await batches.store.cancel(batch.id)
    await batches.store.durable(batch.id)
    if batch.status != "cancelled":
        batches.services.events.emit(BatchEnded(batch.id, "cancelled"))
    return json_response(await batches.describe(await batches.found(batch.tenant, batch.id)))


async def _retry(batches: Batches, batch: Batch) -> Response:
    shown = loads(batch.shown)
    request = await batches.lasting.request(batch)
    if not batch.ended:
        raise RequestError("conflict", "The batch has not ended.")
    if shown.get("dataset") is None or request is None:
        raise RequestError("conflict", "The batch is not over a dataset.")
    store = (await batches.open()).datasets
    dataset = await find_version(store, batch.tenant, shown["dataset"], "/dataset")
    if dataset is None:
        raise RequestError("conflict", f"The dataset {shown['dataset']} was deleted.")
    spec = retry_spec(batch, request, dataset)
    async with batches.creator.filled(spec) as made:
        if not await batches.creator.fill_unscored(made, batch, batches.lasting, dataset):
            raise RequestError("conflict", "Every row of the batch is scored.")
    document = await batches.describe(await batches.found(batch.tenant, made.id))
    return json_response(document, 201, {"location": f"/v1/batches/{made.id}"})


def _refuse_recorded(batch: Batch) -> None:
    """A batch that Redis has let go has ended."""
    if batch.recorded:
        raise RequestError("conflict", f"The batch is {batch.status}.")
