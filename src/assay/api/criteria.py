"""GET /v1/criteria: the catalogue of criteria."""

from __future__ import annotations

import inspect
from typing import Any, Literal

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from assay.api.documents import problems
from assay.api.services import Services
from assay.evaluation.criteria import CRITERIA


class CriterionAnswer(BaseModel):
    """One type of criterion, with the JSON Schema of its fields and a request that shows it."""

    type: str
    object: Literal["criterion"] = "criterion"
    family: str
    description: str
    parameters: dict[str, Any] = Field(alias="schema", description="JSON Schema of the criterion.")
    example: dict[str, Any] = Field(description="A request without `judge`.")


class CriteriaAnswer(BaseModel):
    """The catalogue."""

    object: Literal["list"] = "list"
    data: list[CriterionAnswer]


def criteria_router(services: Services) -> APIRouter:
    """The catalogue is the same for every caller, so it is written once."""
    router = APIRouter(tags=["catalogue"])
    catalogue = orjson.dumps({"object": "list", "data": [_entry(name) for name in CRITERIA]})

    @router.get(
        "/v1/criteria",
        operation_id="list_criteria",
        response_model=None,
        responses={200: {"model": CriteriaAnswer}, **problems("unauthenticated", "overloaded")},
    )
    async def list_criteria(request: Request) -> Response:
        """Every type of criterion, with its JSON Schema and an example."""
        identity = services.access.identify(request.headers.get("authorization"))
        request.state.tenant = identity.tenant
        return Response(catalogue, media_type="application/json")

    return router


def _entry(name: str) -> dict[str, Any]:
    criterion = CRITERIA[name]
    return {
        "type": name,
        "object": "criterion",
        "family": criterion.family,
        "description": inspect.getdoc(criterion) or "",
        "schema": criterion.model_json_schema(),
        "example": criterion.example,
    }
