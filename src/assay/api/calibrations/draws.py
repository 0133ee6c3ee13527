"""/v1/labels/draws: which rows people should label next."""

from __future__ import annotations

import asyncio
import secrets
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from assay.api.calibrations.requests import SEED_MAX, DrawRequest, check_criterion, results_of
from assay.api.calibrations.responses import DrawListResponse, DrawResponse
from assay.api.problem_codes import JSON_BODY, RECORD
from assay.api.routes import add_route, json_response, list_document
from assay.api.services import Services
from assay.api.validation import validate
from assay.batches.calibrating import drawn
from assay.batches.labelled import LabelledBatches
from assay.catalog.judged_labels import JudgedBatch, WantedLabels
from assay.domain.errors import RequestError
from assay.domain.ids import new_id, shown_time
from assay.domain.records import DRAW_ID_KIND, StoredObject
from assay.http.body import read_json
from assay.http.pagination import Paging
from assay.http.problems import invalid_request

PAGE = Paging(largest=100, default=20, cursor_pattern=DRAW_ID_KIND + "_[0-9a-f]{32}")


class LabelDraws:
    """The resource of draws."""

    def __init__(self, services: Services, labelled: LabelledBatches) -> None:
        self._services = services
        self._labelled = labelled

    def router(self) -> APIRouter:
        """Its routes."""
        router = APIRouter(tags=["labels"])
        route = partial(add_route, router)
        path, one = "/v1/labels/draws", "/v1/labels/draws/{draw_id}"
        codes, of_one = (*JSON_BODY, *RECORD, "store_unavailable"), (*RECORD, "store_unavailable")
        route("POST", path, self.create_draw, DrawResponse, codes, body=DrawRequest, status=201)
        listed = (*RECORD, "invalid_request")
        route("GET", path, self.list_draws, DrawListResponse, listed, page=PAGE)
        route("GET", one, self.get_draw, DrawResponse, (*of_one, "invalid_request"))
        route("DELETE", one, self.delete_draw, None, (*RECORD, "forbidden"), status=204)
        return router

    async def create_draw(self, request: Request) -> Response:
        """Draw rows to label: more of those that the judge is unsure of, and some of all."""
        tenant = await self._services.admit(request)
        wanted = validate(DrawRequest, (await read_json(request)).document)
        results = await results_of(self._labelled, tenant, wanted)
        check_criterion(results, criterion := wanted.criterion, "/criterion")
        judged = await self._labelled.read(results, [criterion], WantedLabels())
        seed = secrets.randbelow(SEED_MAX) if wanted.seed is None else wanted.seed
        if not any(judged.item_ids):
            raise invalid_request("/batch", "the batch has no results")
        document = await asyncio.to_thread(
            drawn, judged, criterion, labels=wanted.labels, half_width=wanted.half_width,
            confidence=wanted.confidence, floor=wanted.floor, seed=seed,
        )  # fmt: skip
        document |= {
            "batch": results.batch.id,
            "dataset": results.dataset_name,
            "criterion": criterion,
        }
        objects = (await self._services.open_stores()).objects
        kept = await objects.add(tenant, StoredObject(new_id(DRAW_ID_KIND), DRAW_ID_KIND, document))
        return json_response(_shown(kept, judged), 201)

    async def list_draws(self, request: Request) -> Response:
        """List draws, newest first, without their rows."""
        tenant, limit = await self._services.admit(request), PAGE.limit(request)
        objects = (await self._services.open_stores()).objects
        found = await objects.page(
            tenant, DRAW_ID_KIND, "", after=PAGE.cursor(request), limit=limit + 1,
            descending=True, by_update=False,
        )  # fmt: skip
        return json_response(list_document([_outline(one) for one in found], limit))

    async def get_draw(self, request: Request, draw_id: str) -> Response:
        """A draw, with the rows that have no label yet."""
        tenant = await self._services.admit(request)
        objects = (await self._services.open_stores()).objects
        found = await objects.find(tenant, DRAW_ID_KIND, draw_id)
        if found is None:
            raise RequestError("not_found", "No draw has this id.")
        results = await self._labelled.find(tenant, found.document["batch"])
        judged = await self._labelled.read(results, [found.document["criterion"]], WantedLabels())
        return json_response(_shown(found, judged))

    async def delete_draw(self, request: Request, draw_id: str) -> Response:
        """Forget a draw; its labels stay."""
        tenant = await self._services.admit(request)
        objects = (await self._services.open_stores()).objects
        if not await objects.delete(tenant, DRAW_ID_KIND, draw_id):
            raise RequestError("not_found", "No draw has this id.")
        return Response(status_code=204)


def _outline(found: StoredObject) -> dict[str, Any]:
    document = dict(found.document)
    drawn_rows = document.pop("drawn")
    return {
        "id": found.id,
        "object": "draw",
        "created_at": shown_time(found.created_ms),
        **document,
        "size": len(drawn_rows),
    }


def _shown(found: StoredObject, judged: JudgedBatch) -> dict[str, Any]:
    document = _outline(found)
    items = dict(zip(judged.places, judged.item_ids, strict=True))
    human = judged.criteria[document["criterion"]].human
    labelled = {judged.places[row] for row, _ in human}
    data = [
        {
            "row": place,
            "item_id": items.get(place) or None,
            "probability": probability,
            "labelled": place in labelled,
        }
        for place, probability in found.document["drawn"]
    ]
    return {
        **document,
        "unlabelled": sum(not one["labelled"] for one in data),
        "data": data,
    }
