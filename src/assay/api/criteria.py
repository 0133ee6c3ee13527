"""GET /v1/criteria: the catalogue of criteria."""

from __future__ import annotations

from typing import Any, Literal

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from assay.api.services import Services
from assay.criteria import CRITERIA
from assay.criteria.catalogue import entry
from assay.http.openapi import problems


class LevelAnswer(BaseModel):
    """One level of a scale: what the judge may answer, its score, and when it applies."""

    label: str
    score: float = Field(ge=0, le=1)
    description: str


class CriterionAnswer(BaseModel):
    """One type of criterion, with the JSON Schema of its fields and a request that shows it."""

    type: str
    object: Literal["criterion"] = "criterion"
    family: str
    description: str
    judged: bool = Field(description="Asks a model.")
    scale: str = Field(description="Which scores it can give; higher is better.")
    levels: list[LevelAnswer] | None = Field(description="Of ready-made criteria, best first.")
    default_threshold: float = Field(description="Lowest passing score, unless `threshold` is set.")
    needs: list[str] = Field(description="Fields without which the criterion is unscored.")
    source: str | None = Field(description="Where its definition comes from.")
    parameters: dict[str, Any] = Field(alias="schema", description="JSON Schema of the criterion.")
    example: dict[str, Any] = Field(description="A request without `judge`.")


class CriteriaAnswer(BaseModel):
    """The catalogue."""

    object: Literal["list"] = "list"
    data: list[CriterionAnswer]


def criteria_router(services: Services) -> APIRouter:
    """The catalogue is the same for every caller, so it is written once."""
    router = APIRouter(tags=["catalogue"])
    catalogue = orjson.dumps({"object": "list", "data": [entry(name) for name in CRITERIA]})

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
