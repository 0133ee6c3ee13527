"""The configured models: their present state, and commands to their breakers."""

from __future__ import annotations

from datetime import date
from functools import partial
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from assay.api.problem_codes import AUTHENTICATED, JSON_BODY
from assay.api.routes import add_route, json_response
from assay.api.services import Services
from assay.api.validation import validate
from assay.domain.models import ModelKind
from assay.domain.ports import BreakerCommand, BreakerState, ModelStatus
from assay.domain.sampling import Effort
from assay.http.body import read_json


class ModelResponse(BaseModel):
    """A model, the state of its breaker, what is left of its quota, and its price."""

    id: str
    object: Literal["model"] = "model"
    provider: str
    name: str
    kind: ModelKind = Field(
        description="`chat` judges, `embedding` embeds texts, `http` is a host of HTTP criteria."
    )
    dimensions: int | None = Field(description="Length that its embeddings are asked to have.")
    breaker: BreakerState
    requests_left: float | None
    tokens_left: float | None
    context_tokens: int | None
    max_output_tokens: int
    input_usd_per_mtok: float | None
    output_usd_per_mtok: float | None
    cached_input_usd_per_mtok: float | None = Field(
        description="For input that the provider read from its cache; null: as for other input."
    )
    cache_write_usd_per_mtok: float | None = Field(
        description="For input that the provider wrote to its cache; null: as for other input."
    )
    price_source: str | None = Field(
        description="Where the price comes from: `configuration`, or a list and its version."
    )
    price_date: date | None = Field(description="How old the list of prices is.")
    end_of_life: date | None = Field(description="Day on which the provider ends the model.")
    simulated: bool
    vision: bool = Field(description="Whether it takes images.")
    reasoning: bool = Field(description="Whether it thinks before it answers.")
    reasoning_effort: Effort | None
    thinking_budget_tokens: int | None
    refused_parameters: list[str] = Field(
        description="What its API was found to refuse, and is therefore sent no more."
    )


class ModelListResponse(BaseModel):
    """All configured models."""

    object: Literal["list"] = "list"
    data: list[ModelResponse]


class BreakerRequest(BaseModel):
    """An operator's command to a breaker; it holds in every process until the next command."""

    model_config = ConfigDict(extra="forbid")

    state: BreakerCommand = Field(
        description="`forced_open` refuses every call, `disabled` lets every call through, "
        "`reset` returns to normal operation."
    )


def models_router(services: Services) -> APIRouter:
    """The routes that list the models and control their breakers."""
    router = APIRouter(tags=["catalogue"])

    async def list_models(request: Request) -> Response:
        """List the models with breaker state, remaining quota and price."""
        await services.admit(request)
        data = [_model_document(status) for status in await services.models.statuses()]
        return json_response({"object": "list", "data": data})

    async def order_breaker(request: Request, model_id: str) -> Response:
        """Force a model's circuit breaker open, disable it, or reset it, in every process.

        Needs an API key with `role=operator`.
        """
        await services.admit(request, "operator")
        body = await read_json(request)
        wanted = validate(BreakerRequest, body.document)
        request.state.audit_detail = wanted.state
        status = await services.models.set_breaker(model_id, wanted.state)
        return json_response(_model_document(status))

    commanded = (*JSON_BODY, "not_found", "store_unavailable")
    route, breaker = partial(add_route, router), "/v1/models/{model_id:path}/breaker"
    route("GET", "/v1/models", list_models, ModelListResponse, AUTHENTICATED)
    route("PUT", breaker, order_breaker, ModelResponse, commanded, body=BreakerRequest)
    return router


def _model_document(status: ModelStatus) -> dict[str, Any]:
    model = status.model
    return {
        "id": model.id,
        "object": "model",
        "provider": model.provider,
        "name": model.name,
        "kind": model.kind,
        "dimensions": model.dimensions,
        "breaker": status.breaker,
        "requests_left": status.requests_left,
        "tokens_left": status.tokens_left,
        "context_tokens": model.context_tokens,
        "max_output_tokens": model.max_output_tokens,
        "input_usd_per_mtok": model.input_usd_per_mtok,
        "output_usd_per_mtok": model.output_usd_per_mtok,
        "cached_input_usd_per_mtok": model.cached_input_usd_per_mtok,
        "cache_write_usd_per_mtok": model.cache_write_usd_per_mtok,
        "price_source": model.price_source,
        "price_date": model.price_date,
        "end_of_life": model.end_of_life,
        "simulated": model.simulated,
        "vision": model.capabilities.vision,
        "reasoning": model.reasoning,
        "reasoning_effort": model.reasoning_effort,
        "thinking_budget_tokens": model.thinking_budget_tokens,
        "refused_parameters": sorted(status.refused),
    }
