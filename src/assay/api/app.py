"""The API application: the resources, inside the layers that every request passes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from assay import __version__
from assay.api.comparisons import comparisons_router
from assay.api.criteria import criteria_router
from assay.api.evaluations import evaluations_router
from assay.api.models import models_router
from assay.api.services import Services
from assay.domain.errors import AssayError
from assay.http.admission import Admission
from assay.http.disconnect import CancelOnDisconnect
from assay.http.limits import Limits
from assay.http.openapi import describe
from assay.http.problems import INTERNAL, Problem, ProblemError, problem_of, render
from assay.http.request_id import RequestIdMiddleware

CODES_BY_STATUS = {404: "not_found", 405: "method_not_allowed"}
"""What the framework itself refuses; anything else that it says is an error of ours."""

STREAMED_ROUTES = (("PUT", re.compile(r"/v1/batches/[^/]{1,64}/items")),)
"""Resources that read their bodies as they come, and bound each row instead of the whole."""


def create_app(services: Services, limits: Limits, routers: Sequence[APIRouter] = ()) -> FastAPI:
    """The API with its own resources and those of `routers`."""
    app = FastAPI(
        title="Assay",
        version=__version__,
        redirect_slashes=False,
        middleware=[
            Middleware(RequestIdMiddleware, events=services.events),
            Middleware(
                Admission,
                limits=limits,
                lifecycle=services.lifecycle,
                load=services.load,
                events=services.events,
                streamed_routes=STREAMED_ROUTES,
            ),
            Middleware(CancelOnDisconnect),
        ],
    )
    for router in (
        evaluations_router(services, limits),
        comparisons_router(services, limits),
        criteria_router(services),
        models_router(services),
        *routers,
    ):
        app.include_router(router)
    app.add_exception_handler(ProblemError, _refused)
    app.add_exception_handler(AssayError, _failed)
    app.add_exception_handler(HTTPException, _unrouted)
    app.openapi = _once(app)  # type: ignore[method-assign]  # FastAPI's documented way
    return app


def problem_response(request: Request, problem: Problem) -> Response:
    """A problem as a response of the framework."""
    headers, body = render(problem, request.state.request_id)
    return Response(body, problem.status, dict(headers))


async def _refused(request: Request, error: Exception) -> Response:
    problem = error.problem if isinstance(error, ProblemError) else INTERNAL
    return problem_response(request, problem)


async def _failed(request: Request, error: Exception) -> Response:
    return problem_response(
        request, problem_of(error) if isinstance(error, AssayError) else INTERNAL
    )


async def _unrouted(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        return problem_response(request, INTERNAL)
    code = CODES_BY_STATUS.get(error.status_code, "internal")
    headers = tuple((name.lower(), value) for name, value in (error.headers or {}).items())
    return problem_response(request, Problem(code, headers=headers))


def _once(app: FastAPI) -> Any:
    """Describe the app at the first request for its document."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = describe(app)
        return app.openapi_schema

    return openapi
