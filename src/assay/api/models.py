"""GET /v1/models: the configured models as they stand now."""

from __future__ import annotations

from typing import Any, Literal

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from assay.api.documents import problems
from assay.api.services import Services
from assay.domain.ports import BreakerState, ModelStatus


class ModelAnswer(BaseModel):
    """A model, the state of its breaker, what is left of its quota, and its price."""

    id: str
    object: Literal["model"] = "model"
    provider: str
    name: str
    breaker: BreakerState
    requests_left: float | None
    tokens_left: float | None
    context_tokens: int | None
    max_output_tokens: int
    input_usd_per_mtok: float | None
    output_usd_per_mtok: float | None
    simulated: bool


class ModelsAnswer(BaseModel):
    """All configured models."""

    object: Literal["list"] = "list"
    data: list[ModelAnswer]


def models_router(services: Services) -> APIRouter:
    """The route that lists the models."""
    router = APIRouter(tags=["catalogue"])

    @router.get(
        "/v1/models",
        operation_id="list_models",
        response_model=None,
        responses={200: {"model": ModelsAnswer}, **problems("unauthenticated", "overloaded")},
    )
    async def list_models(request: Request) -> Response:
        """The models with breaker state, quota left and price."""
        identity = services.access.identify(request.headers.get("authorization"))
        request.state.tenant = identity.tenant
        data = [_entry(each) for each in await services.models.statuses()]
        return Response(
            orjson.dumps({"object": "list", "data": data}), media_type="application/json"
        )

    return router


def _entry(status: ModelStatus) -> dict[str, Any]:
    model = status.model
    return {
        "id": model.id,
        "object": "model",
        "provider": model.provider,
        "name": model.name,
        "breaker": status.breaker,
        "requests_left": status.requests_left,
        "tokens_left": status.tokens_left,
        "context_tokens": model.context_tokens,
        "max_output_tokens": model.max_output_tokens,
        "input_usd_per_mtok": model.input_usd_per_mtok,
        "output_usd_per_mtok": model.output_usd_per_mtok,
        "simulated": model.simulated,
    }
