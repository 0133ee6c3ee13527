"""The configured models: how they stand now, and what an operator orders their breakers."""

from __future__ import annotations

from typing import Any, Literal

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from assay.api.services import Services
from assay.api.validation import validate
from assay.domain.ports import BreakerCommand, BreakerState, ModelStatus
from assay.http.body import read_json
from assay.http.openapi import problems, request_body
from assay.http.problems import Problem, ProblemError

OPERATOR = "operator"
"""The `role` attribute of a key that may steer the service."""


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


class BreakerRequest(BaseModel):
    """What an operator orders a breaker to do, in every process, until the next order."""

    model_config = ConfigDict(extra="forbid")

    state: BreakerCommand = Field(
        description="`forced_open` refuses every call, `disabled` lets every call through, "
        "`reset` goes back to work."
    )


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

    @router.put(
        "/v1/models/{model_id:path}/breaker",
        operation_id="order_breaker",
        response_model=None,
        openapi_extra=request_body(BreakerRequest, idempotent=False),
        responses={
            200: {"model": ModelAnswer},
            **problems(
                "malformed_json",
                "unauthenticated",
                "forbidden",
                "not_found",
                "request_timeout",
                "body_too_large",
                "unsupported_media_type",
                "invalid_request",
                "overloaded",
            ),
        },
    )
    async def order_breaker(request: Request, model_id: str) -> Response:
        """Hold a model's circuit breaker open, switch it off, or reset it, in every process.

        Needs a key with `role=operator`.
        """
        identity = services.access.identify(request.headers.get("authorization"))
        request.state.tenant = identity.tenant
        if identity.attributes.get("role") != OPERATOR:
            raise ProblemError(Problem("forbidden", "This needs a key with role=operator."))
        body = await read_json(request)
        wanted = validate(BreakerRequest, body.document)
        status = await services.models.set_breaker(model_id, wanted.state)
        return Response(orjson.dumps(_entry(status)), media_type="application/json")

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
