"""GET /v1/status: what this process has seen since it started."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field

from assay import __version__
from assay.api.problem_codes import AUTHENTICATED
from assay.api.responses import Shape
from assay.api.routes import add_route, json_response
from assay.api.services import Services
from assay.http.access import Role, authenticate


class CallTimesResponse(Shape):
    """How long the calls of a model took; null where it is above the last bound."""

    p50_ms: float | None
    p95_ms: float | None


class StatusResponse(Shape):
    """Counts of one process, of all tenants together; `/metrics` has more."""

    object: Literal["status"]
    version: str = Field(description="The version of the service.")
    tenant: str = Field(description="For whom the API key of this request acts.")
    role: Role = Field(description="What it permits.")
    requests: int
    server_errors: int = Field(description="Answers with a status from 500 on.")
    in_flight: int = Field(description="Requests that this process is answering.")
    judged_p50_ms: float | None = Field(
        description="Half of the evaluations and comparisons were answered within this time."
    )
    judged_p95_ms: float | None = Field(description="And 95 % of them.")
    calls: dict[str, CallTimesResponse] = Field(description="Calls of providers, by model.")
    waiting: dict[str, int] = Field(description="Calls that wait, by what they wait for.")
    criteria_scored: int
    criteria_unscored: dict[str, int] = Field(description="By the reason.")


def status_router(services: Services) -> APIRouter:
    """The route."""
    router = APIRouter(tags=["catalogue"])

    async def get_status(request: Request) -> Response:
        """Show what this process has seen since it started: one of all that may answer."""
        await services.admit(request)
        caller = authenticate(request, services.access)
        about = {"version": __version__, "tenant": caller.tenant, "role": caller.role}
        seen = {"object": "status", **about, "in_flight": services.load.requests, **services.seen()}
        return json_response(seen)

    add_route(router, "GET", "/v1/status", get_status, StatusResponse, AUTHENTICATED)
    return router
