"""/v1/batches: listed, read, started, cancelled, deleted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from fastapi import APIRouter, Request, Response

from assay.api.batches.responses import BatchListResponse, BatchResponse, batch_document
from assay.api.batches.services import Batches
from assay.api.problem_codes import BATCH, IDEMPOTENT
from assay.api.routes import add_route, json_response, list_document
from assay.batches.creation import retry_spec
from assay.catalog.names import find_version
from assay.domain.batches import BATCH_ID, Batch
from assay.domain.errors import RequestError
from assay.domain.events import BatchEnded
from assay.domain.exact_json import loads
from assay.http.pagination import Paging

PAGE = Paging(largest=100, default=20, cursor_pattern=BATCH_ID.pattern)


class BatchResource:
    """The resource of existing batches."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def router(self) -> APIRouter:
        """Its routes; to repeat a change of a batch's state is harmless."""
        router = APIRouter(tags=["batches"])
        route = partial(add_route, router)
        one, listed = "/v1/batches/{batch_id}", (*BATCH, "invalid_request")
        route("GET", "/v1/batches", self.list_batches, BatchListResponse, listed, page=PAGE)
        route("GET", one, self.get_batch, BatchResponse, BATCH)
        route("DELETE", one, self.delete_batch, None, (*BATCH, "forbidden"), status=204)
        codes = (*BATCH, *IDEMPOTENT, "conflict")
        change = partial(route, "POST", response=BatchResponse, codes=codes, replayed=True)
        change(one + "/start", self.start_batch)
        change(one + "/cancel", self.cancel_batch)
        change(one + "/retry", self.retry_batch, status=201)
        return router

    async def list_batches(self, request: Request) -> Response:
        """List the tenant's batches, newest first."""
        tenant = await self._batches.services.admit(request)
        cursor, limit = PAGE.cursor(request), PAGE.limit(request)
        found = await self._batches.lasting.list(tenant, cursor, limit + 1)
        return json_response(list_document([batch_document(batch) for batch in found], limit))

    async def get_batch(self, request: Request, batch_id: str) -> Response:
        """Read a batch: counts, score so far, cost, rate and estimated end."""
        batch = await self._batches.requested(request, batch_id)
        return json_response(await self._batches.describe(batch))

    async def delete_batch(self, request: Request, batch_id: str) -> Response:
        """Delete a batch with its rows and results, whatever its state."""
        await self._batches.lasting.delete(await self._batches.requested(request, batch_id))
        return Response(status_code=204)

    async def start_batch(self, request: Request, batch_id: str) -> Response:
        """Start work on the rows that were uploaded."""
        return await self._change(request, batch_id, _start)

    async def cancel_batch(self, request: Request, batch_id: str) -> Response:
        """Cancel the rows that wait; rows in flight still get their result."""
        return await self._change(request, batch_id, _cancel)

    async def retry_batch(self, request: Request, batch_id: str) -> Response:
        """Judge the rows that have no complete result again, as a batch of their own.

        It needs a batch over a dataset: of others the rows are not kept.
        """
        return await self._change(request, batch_id, _retry)

    async def _change(
        self,
        request: Request,
        batch_id: str,
        change: Callable[[Batches, Batch], Awaitable[Response]],
    ) -> Response:
        batch = await self._batches.requested(request, batch_id)
        work = partial(change, self._batches, batch)
        return await self._batches.run_idempotently(request, batch.tenant, work)


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
