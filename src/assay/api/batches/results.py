"""GET /v1/batches/{id}/results: the results of the rows, in pages or as JSON Lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import orjson
from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from assay.api.batches.responses import BatchItemListResponse, render_result
from assay.api.batches.result_filter import ResultFilter, filtered_page
from assay.api.batches.services import Batches
from assay.api.batches.tables import TABLES, columns
from assay.api.problem_codes import BATCH
from assay.api.routes import add_route
from assay.domain.batches import Batch, StoredResult
from assay.domain.exact_json import loads
from assay.http.pagination import Paging

PAGE = Paging(largest=1_000, default=100, cursor_pattern="[0-9]{1,16}")
NDJSON = "application/x-ndjson"


def batch_results_router(batches: Batches) -> APIRouter:
    """The route that results are read from."""
    router = APIRouter(tags=["batches"])

    async def list_batch_results(request: Request, batch_id: str) -> Response:
        """List results in the order of the items.

        All of them with `Accept: application/x-ndjson`, `text/csv` or
        `application/vnd.apache.parquet`.

        Before the batch has ended they stop at the first row without a result, so that a cursor
        never passes a row that may still get one.

        With conditions a page may be short or empty although there are more: a request looks
        through at most 2,000 rows.
        """
        batch = await batches.requested(request, batch_id)
        wanted = ResultFilter.read(request, batch)
        cursor, limit = int(PAGE.cursor(request) or 0), PAGE.limit(request)
        batches.hold_reader(request, batch.tenant)
        accepted = request.headers.get("accept", "")
        if NDJSON in accepted:
            return StreamingResponse(_lines(batches, batch, cursor, wanted), media_type=NDJSON)
        for media_type, table in TABLES.items():
            if media_type in accepted:
                names = [criterion["name"] for criterion in loads(batch.shown)["criteria"]]
                rows = table(columns(names), pages(batches, batch, cursor, wanted))
                return StreamingResponse(rows, media_type=media_type)
        return await _page(batches, batch, cursor, limit, wanted)

    add_route(
        router, "GET", "/v1/batches/{batch_id}/results", list_batch_results, BatchItemListResponse,
        (*BATCH, "invalid_request"), page=PAGE, downloads=(NDJSON, *TABLES),
        parameters=ResultFilter.parameters(),
    )  # fmt: skip
    return router


async def _page(
    batches: Batches, batch: Batch, cursor: int, limit: int, wanted: ResultFilter | None
) -> Response:
    if wanted is None:
        page = await batches.lasting.page(batch, cursor, limit)
    else:
        page = await filtered_page(batches.lasting, batch, wanted, cursor, limit)
    data = b",".join(map(render_result, page.results))
    more = orjson.dumps(
        {"has_more": page.has_more, "next_cursor": str(page.cursor) if page.has_more else None}
    )
    body = b'{"object":"list","data":[' + data + b"]," + more[1:]
    return Response(body, media_type="application/json")


async def _lines(
    batches: Batches, batch: Batch, cursor: int, wanted: ResultFilter | None
) -> AsyncIterator[bytes]:
    async for results in pages(batches, batch, cursor, wanted):
        yield b"".join(render_result(result) + b"\n" for result in results)


async def pages(
    batches: Batches, batch: Batch, cursor: int = 0, wanted: ResultFilter | None = None
) -> AsyncIterator[Sequence[StoredResult]]:
    """All results from `cursor` on that are wanted, a few at a time."""
    async for found in batches.lasting.pages(batch, cursor):
        yield found if wanted is None else await asyncio.to_thread(wanted.among, found)
