"""GET /v1/criteria: the catalogue of criteria."""

from __future__ import annotations

import asyncio
import functools
from typing import Any, Literal

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from assay.api.problem_codes import AUTHENTICATED
from assay.api.routes import add_route
from assay.api.services import Services
from assay.criteria import CRITERIA
from assay.criteria.catalogue import entry


class LevelResponse(BaseModel):
    """One level of a scale: the judge's label, its score, and when it applies."""

    label: str
    score: float = Field(ge=0, le=1)
    description: str


class CriterionResponse(BaseModel):
    """One type of criterion, with the JSON Schema of its fields and an example request."""

    type: str
    object: Literal["criterion"] = "criterion"
    family: str
    description: str
    judged: bool = Field(description="Whether the criterion asks a model.")
    scale: str = Field(description="The scores it can give; higher is better.")
    levels: list[LevelResponse] | None = Field(
        description="The levels of a ready-made criterion, best first."
    )
    default_threshold: float = Field(description="Lowest passing score, unless `threshold` is set.")
    needs: list[str] = Field(
        description="Fields of the request without which the criterion is unscored."
    )
    source: str | None = Field(description="Where its definition comes from.")
    parameters: dict[str, Any] = Field(alias="schema", description="JSON Schema of the criterion.")
    example: dict[str, Any] = Field(description="An example request, without `judge`.")


class CriterionListResponse(BaseModel):
    """The catalogue."""

    object: Literal["list"] = "list"
    data: list[CriterionResponse]


def criteria_router(services: Services) -> APIRouter:
    """The route of the catalogue."""
    router = APIRouter(tags=["catalogue"])

    async def list_criteria(request: Request) -> Response:
        """List every type of criterion, with its JSON Schema and an example."""
        await services.admit(request)
        return Response(await asyncio.to_thread(_catalogue), media_type="application/json")

    add_route(router, "GET", "/v1/criteria", list_criteria, CriterionListResponse, AUTHENTICATED)
    return router


@functools.cache
def _catalogue() -> bytes:
    """The same for every caller; made when it is first asked for, as its schemas take a while."""
    return orjson.dumps({"object": "list", "data": [entry(name) for name in CRITERIA]})
