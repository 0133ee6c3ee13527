"""POST /v1/erasures: remove at once what is kept of an item, or about a person."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, model_validator

from assay.api.batches.requests import ItemId
from assay.api.batches.services import Batches
from assay.api.problem_codes import JSON_BODY, RECORD
from assay.api.routes import add_route, json_response
from assay.api.validation import validate
from assay.criteria.frozen import Frozen
from assay.criteria.locations import require_one
from assay.domain.erasure import ErasureTarget
from assay.domain.exact_json import loads
from assay.domain.ports import BatchEraser
from assay.http.body import read_json

BATCHES_AT_ONCE = 100
SUBJECT_CHARS_MAX = 1_000


class ErasureRequest(Frozen):
    """What to remove: items with an id, or items and labels with a `subject` in their metadata."""

    item: ItemId | None = None
    subject: Annotated[str, Field(min_length=1, max_length=SUBJECT_CHARS_MAX)] | None = None

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        require_one(self, "item", "subject")
        return self


class ErasureResponse(BaseModel):
    """How much was removed."""

    object: Literal["erasure"] = "erasure"
    items: int = Field(description="Items of datasets, in all their versions.")
    labels: int
    examples: int = Field(description="Examples of evaluators.")
    rows: int = Field(description="Rows of batches, with their results.")
    batches: int = Field(description="Whole batches whose metadata has the subject.")
    batches_running: list[str] = Field(
        description="Batches whose workers may have held such a row, or were copying it to the "
        "records: repeat when they have ended."
    )


class Erasures:
    """The resource of erasures."""

    def __init__(self, batches: Batches, erasure: BatchEraser) -> None:
        self._batches = batches
        self._erasure = erasure

    def router(self) -> APIRouter:
        """Its route."""
        router = APIRouter(tags=["erasures"])
        codes = (*JSON_BODY, *RECORD, "store_unavailable")
        path, body = "/v1/erasures", ErasureRequest
        add_route(router, "POST", path, self.create_erasure, ErasureResponse, codes, body=body)
        return router

    async def create_erasure(self, request: Request) -> Response:
        """Remove items, rows, results and labels of an item id or a subject, now and for good."""
        tenant = await self._batches.services.admit(request)
        wanted = validate(ErasureRequest, (await read_json(request)).document)
        what = ErasureTarget(wanted.item, wanted.subject)
        stores = await self._batches.services.open_stores()
        counts = await self._rows(tenant, what)
        # After the rows, which are copied from there to here.
        erased = await stores.eraser.erase(tenant, what)
        counts |= {"items": erased.items, "labels": erased.labels, "examples": erased.examples}
        return json_response({"object": "erasure", **counts})

    async def _rows(self, tenant: str, what: ErasureTarget) -> dict[str, object]:
        lasting, rows, batches, before = self._batches.lasting, 0, 0, ""
        running: list[str] = []
        while page := await lasting.list(tenant, before, BATCHES_AT_ONCE):
            for batch in page:
                if what.covers(None, loads(batch.shown).get("metadata")):
                    await lasting.delete(batch)
                    batches += 1
                    continue
                if not batch.recorded:
                    rows += await self._erasure.erase(batch, what)
                if batch.status == "running" or (batch.ended and batch.uncopied):
                    running.append(batch.id)
            before = page[-1].id
        return {"rows": rows, "batches": batches, "batches_running": running}
