"""The API application: the resources, inside the layers that every request passes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import iter_route_contexts
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from assay import __version__
from assay.api.audit import audit_router
from assay.api.comparisons import comparisons_router
from assay.api.criteria import criteria_router
from assay.api.datasets import Datasets
from assay.api.evaluations import evaluations_router
from assay.api.evaluators import Evaluators
from assay.api.models import models_router
from assay.api.rankings import rankings_router
from assay.api.services import Services
from assay.api.status import status_router
from assay.api.usage import usage_router
from assay.domain.errors import DomainError
from assay.domain.problem_codes import ProblemCode
from assay.http.admission import Admission
from assay.http.disconnect import CancelOnDisconnect
from assay.http.docs import add_docs
from assay.http.limits import Limits
from assay.http.openapi import describe
from assay.http.problems import INTERNAL, Problem, ProblemError, problem_of, render
from assay.http.request_id import RequestIdMiddleware

CODES_BY_STATUS: Mapping[int, ProblemCode] = {404: "not_found", 405: "method_not_allowed"}
"""What the framework itself refuses; any other error of the framework is a fault of ours."""

JUDGED_ROUTERS = (evaluations_router, comparisons_router, rankings_router)
_FORWARDED = "(?:/console/api)?"
STREAMED_ROUTES = (
    ("PUT", re.compile(_FORWARDED + r"/v1/batches/[^/]{1,64}/items")),
    *(
        (method, re.compile(_FORWARDED + r"/v1/datasets/[^/]{1,128}/items"))
        for method in ("PUT", "POST")
    ),
    ("POST", re.compile(r"/v1/files")),
    ("POST", re.compile(r"/v1/traces")),
)
"""Resources that read their bodies as a stream, and bound each row instead of the whole.

The console forwards what a page uploads.
"""


TAGS = {
    "evaluations": "Judge one output.",
    "comparisons": "Choose the better one of two outputs.",
    "rankings": "Rank systems by their outputs.",
    "evaluators": "Criteria with a name and versions.",
    "datasets": "Cases with a name and versions.",
    "batches": "Judge many outputs, and read and compare results.",
    "rules": "Judge live traffic, from the traces of an application.",
    "labels": "What people say of cases, and which cases to label next.",
    "calibrations": "How far a judge agrees with people.",
    "erasures": "Remove what is kept of an item or about a person.",
    "catalogue": "Criteria, models, and what the service has done.",
}
EXPOSED_HEADERS = (
    *("X-Request-Id", "Retry-After", "RateLimit", "RateLimit-Policy"),
    *("Idempotency-Replayed", "Location"),
)
"""What a page of another origin may read, beside the body."""

NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "auto_configure": False,
}
"""FastAPI's own would send what callers wrote to the collector that the environment names."""


def create_app(
    services: Services,
    limits: Limits,
    routers: Sequence[APIRouter] = (),
    cors_origins: Sequence[str] = (),
) -> FastAPI:
    """The API with its own resources and those of `routers`, callable from `cors_origins`."""
    app = FastAPI(
        title="Assay",
        version=__version__,
        description="Scores the outputs of language models against criteria.",
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        telemetry=NO_TELEMETRY,
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
    if cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=cors_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
        )
    add_docs(app)
    for router in (
        *(route(services, limits) for route in JUDGED_ROUTERS),
        *(criteria_router(services), models_router(services), status_router(services)),
        *(usage_router(services), audit_router(services)),
        Evaluators(services, limits).router(),
        Datasets(services, limits).router(),
        *routers,
    ):
        app.include_router(router)
    for kind in (DomainError, ProblemError, HTTPException):
        app.add_exception_handler(kind, _answer_error)
    app.openapi = _described_once(app)  # type: ignore[method-assign]  # FastAPI's documented way
    return app


async def _answer_error(request: Request, error: Exception) -> Response:
    problem = _unrouted(error, request) if isinstance(error, HTTPException) else problem_of(error)
    if problem is INTERNAL:
        raise error  # the outermost layer reports the fault before it answers
    headers, body = render(problem, request.state.request_id)
    return Response(body, problem.status, dict(headers))


def _unrouted(error: HTTPException, request: Request) -> Problem:
    code = CODES_BY_STATUS.get(error.status_code)
    if code is None:
        return INTERNAL
    # The framework names the methods of the first route with this path alone.
    routes = [context.original_route for context in iter_route_contexts(request.app.routes)]
    path = request.url.path
    found = [route for route in routes if isinstance(route, Route) and route.path_regex.match(path)]
    # A fixed path goes before one that it is an example of.
    fixed = [route for route in found if route.path == path]
    methods = {method for route in fixed or found for method in route.methods or ()}
    allow = (("allow", ", ".join(sorted(methods))),)
    return Problem(code, headers=allow if code == "method_not_allowed" else ())


def _described_once(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Describe the app at the first request for its document."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            examples = files("assay.api").joinpath("examples.json").read_bytes()
            app.openapi_schema = describe(app, TAGS, json.loads(examples))
        return app.openapi_schema

    return openapi
