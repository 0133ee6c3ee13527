"""GET /v1/batches/{id}/compare: two batches compared by item."""

from __future__ import annotations

import re
from dataclasses import asdict
from functools import partial
from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from assay.api.batches.responses import (
    BatchComparisonResponse,
    ChangedRowListResponse,
    ComparisonProgressResponse,
)
from assay.api.batches.services import Batches
from assay.api.problem_codes import BATCH
from assay.api.routes import add_route, json_response, page_document, text_parameters
from assay.batches.kept_comparisons import KINDS, KeptComparison, KeptComparisons, Progress
from assay.domain.batches import BATCH_ID, Batch
from assay.domain.errors import RequestError
from assay.domain.exact_json import loads
from assay.http.openapi import query_parameter
from assay.http.pagination import Paging
from assay.http.problems import invalid_request

VALUES_MAX = 1_000_000
"""Rows times criteria of one batch: larger ones are compared from files of their results."""
PAGE = Paging(largest=1_000, default=20, cursor_pattern="[0-9]{1,9}")
WAIT_S_MAX = 30
NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,400})?(e[-+]?[0-9]{1,3})?", re.IGNORECASE)
BASE = query_parameter(
    "base",
    "The batch to compare with.",
    {"type": "string", "pattern": f"^{BATCH_ID.pattern}$"},
    required=True,
)
WAIT = query_parameter(
    "wait_s",
    "How long to wait for a comparison that is being computed.",
    {"type": "number", "minimum": 0, "maximum": WAIT_S_MAX, "default": WAIT_S_MAX},
)
CRITERION = query_parameter(
    "criterion", "The criterion whose rows are listed.", {"type": "string"}, required=True
)
KIND = query_parameter("kind", "What became of the rows.", {"enum": list(KINDS)}, required=True)


class BatchComparisons:
    """The resource of comparisons of two batches."""

    def __init__(self, batches: Batches, comparisons: KeptComparisons) -> None:
        self._batches = batches
        self._comparisons = comparisons

    def router(self) -> APIRouter:
        """Its routes."""
        router = APIRouter(tags=["batches"])
        path, codes = "/v1/batches/{batch_id}/compare", (*BATCH, "invalid_request", "conflict")
        route = partial(
            add_route, router, "GET", codes=(*codes, "records_unavailable"),
            others={HTTPStatus.ACCEPTED: {"model": ComparisonProgressResponse}},
        )  # fmt: skip
        route(path, self.compare_batches, BatchComparisonResponse,
              parameters=[BASE, WAIT, PAGE.parameters()[1]])  # fmt: skip
        route(f"{path}/rows", self.list_changed_rows, ChangedRowListResponse,
              page=PAGE, parameters=[BASE, CRITERION, KIND, WAIT])  # fmt: skip
        return router

    async def compare_batches(self, request: Request, batch_id: str) -> Response:
        """Compare a batch that has ended to an earlier one, `base`, by item id.

        For each criterion: the difference with its interval and test, and the rows that changed,
        worst first, at most `limit` of each kind. A comparison is computed once and kept for 30
        days, or until something is erased; while it is computed, the response is a 202.
        """
        limit = PAGE.limit(request)
        found = await self._found(request, batch_id)
        if isinstance(found, Progress):
            return _progress(found)
        return json_response(await found.with_rows(limit))

    async def list_changed_rows(self, request: Request, batch_id: str) -> Response:
        """List the rows of a criterion that are worse, better or unscored in one of two batches.

        At most 10,000 of a kind are kept, the worst first.
        """
        limit, cursor = PAGE.limit(request), int(PAGE.cursor(request) or 0)
        given = text_parameters(request, ("criterion", "kind"))
        if given.get("kind") not in KINDS:
            raise invalid_request("", f"kind must be one of {', '.join(KINDS)}")
        found = await self._found(request, batch_id)
        if isinstance(found, Progress):
            return _progress(found)
        rows = await found.rows(given.get("criterion", ""), given["kind"], cursor, limit + 1)
        next_cursor = str(cursor + limit) if len(rows) > limit else None
        return json_response(page_document(rows[:limit], next_cursor))

    async def _found(self, request: Request, batch_id: str) -> KeptComparison | Progress:
        """The comparison that a request is about, or how far it is."""
        candidate = await self._batches.requested(request, batch_id)
        base_id, wait_s = request.query_params.get("base", ""), _wait_s(request)
        if base_id in ("", candidate.id):
            raise invalid_request("", "base must be the id of another batch")
        base = await self._batches.found(candidate.tenant, base_id)
        for batch in (base, candidate):
            _check(batch)
        self._batches.hold_reader(request, candidate.tenant)
        return await self._comparisons.find(base, candidate, wait_s)


def _progress(found: Progress) -> Response:
    about = {"object": "batch.comparison.progress", **asdict(found)}
    return json_response(about, HTTPStatus.ACCEPTED, {"Retry-After": "1"})


def _wait_s(request: Request) -> float:
    given = request.query_params.get("wait_s", str(WAIT_S_MAX))
    if not NUMBER.fullmatch(given) or not 0 <= float(given) <= WAIT_S_MAX:
        raise invalid_request("", f"wait_s must be from 0 to {WAIT_S_MAX}")
    return float(given)


def _check(batch: Batch) -> None:
    if not batch.ended:
        raise RequestError("conflict", f"The batch {batch.id} has not ended: it is {batch.status}.")
    if batch.total * len(loads(batch.shown)["criteria"]) > VALUES_MAX:
        raise RequestError(
            "conflict",
            f"The batch {batch.id} has more than {VALUES_MAX} values, as rows times criteria: "
            "download the results of both batches and use `assay compare` on the files.",
        )
