"""GET /v1/batches/{id}/compare: two batches compared by item."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from assay.api.batches.responses import BatchComparisonResponse
from assay.api.batches.services import Batches
from assay.api.problem_codes import BATCH
from assay.api.routes import add_route
from assay.batches.comparison import BatchComparison
from assay.batches.rows import BatchSpecError, load_batch_spec
from assay.batches.run_results import RunResults
from assay.domain.batches import BATCH_ID, Batch, StoredResult
from assay.domain.errors import RequestError
from assay.domain.exact_json import dumps, loads
from assay.http.openapi import query_parameter
from assay.http.pagination import Paging
from assay.http.problems import invalid_request

VALUES_MAX = 1_000_000
"""Rows times criteria of one batch: larger ones are compared from files of their results."""
PAGE = Paging(largest=1_000, default=20, cursor_pattern="")
BASE = query_parameter(
    "base",
    "The batch to compare with.",
    {"type": "string", "pattern": f"^{BATCH_ID.pattern}$"},
    required=True,
)


def batch_comparison_router(batches: Batches) -> APIRouter:
    """The route that compares two batches."""
    router = APIRouter(tags=["batches"])

    async def compare_batches(request: Request, batch_id: str) -> Response:
        """Compare a batch that has ended to an earlier one, `base`, by item id.

        For each criterion: the difference with its interval and test, and the rows that changed,
        worst first, at most `limit` of each kind.
        """
        candidate = await batches.requested(request, batch_id)
        base_id = request.query_params.get("base", "")
        limit = PAGE.limit(request)
        if base_id in ("", candidate.id):
            raise invalid_request("", "base must be the id of another batch")
        base = await batches.found(candidate.tenant, base_id)
        for batch in (base, candidate):
            _check(batch)
        batches.hold_reader(request, candidate.tenant)
        earlier, later = [await _results(batches, batch) for batch in (base, candidate)]
        comparison = await asyncio.to_thread(_compare, earlier, later, limit)
        return Response(dumps(comparison), media_type="application/json")

    path, codes = "/v1/batches/{batch_id}/compare", (*BATCH, "invalid_request", "conflict")
    add_route(
        router, "GET", path, compare_batches, BatchComparisonResponse,
        (*codes, "records_unavailable"), parameters=[BASE, PAGE.parameters()[1]],
    )  # fmt: skip
    return router


def _check(batch: Batch) -> None:
    if not batch.ended:
        raise RequestError("conflict", f"The batch {batch.id} has not ended: it is {batch.status}.")
    if batch.total * len(loads(batch.shown)["criteria"]) > VALUES_MAX:
        raise RequestError(
            "conflict",
            f"The batch {batch.id} has more than {VALUES_MAX} values, as rows times criteria: "
            "download the results of both batches and use `assay compare` on the files.",
        )


async def _results(batches: Batches, batch: Batch) -> RunResults:
    shown: dict[str, Any] = loads(batch.shown)
    try:
        criteria = load_batch_spec(await batches.lasting.request(batch)).criteria
    except BatchSpecError:
        criteria = ()
    run = RunResults(
        batch.id,
        shown.get("name"),
        dataset=shown.get("dataset"),
        definitions={one.name or one.type: one.model_dump_json() for one in criteria},
    )
    async for page in batches.lasting.pages(batch):
        await asyncio.to_thread(_add, run, page)
    return run


def _add(run: RunResults, page: Sequence[StoredResult]) -> None:
    for result in page:
        run.add(result.item_id, loads(result.body), result.index)


def _compare(base: RunResults, candidate: RunResults, rows_shown: int) -> BatchComparison:
    from assay.batches.comparing import compare_results  # noqa: PLC0415  # loads the statistics

    return compare_results(base, candidate, rows_shown)
