"""POST /v1/comparisons: two outputs, one winner."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from assay.api.judged_request import JudgedRoute, handle_judged_request
from assay.api.problem_codes import JUDGED
from assay.api.requests import ComparisonRequest
from assay.api.responses import ComparisonResponse, render, transient_problem
from assay.api.routes import add_route
from assay.api.services import Services
from assay.criteria.judge import judge_spec
from assay.domain.completion import Caller
from assay.domain.policy import Deadline
from assay.http.limits import Limits
from assay.http.problems import ProblemError


def comparisons_router(services: Services, limits: Limits) -> APIRouter:
    """The route that compares two outputs."""
    router = APIRouter(tags=["comparisons"], route_class=JudgedRoute)

    async def create_comparison(request: Request) -> Response:
        """Judge two outputs in both orders; a verdict that flips with the order is a tie."""
        return await handle_judged_request(request, services, limits, ComparisonRequest, _compare)

    add_route(
        router, "POST", "/v1/comparisons", create_comparison, ComparisonResponse, JUDGED,
        body=ComparisonRequest, replayed=True,
    )  # fmt: skip
    return router


async def _compare(
    services: Services, payload: ComparisonRequest, caller: Caller, deadline: Deadline, _: object
) -> Response:
    outcome = await services.comparer.compare(
        payload.to_case(),
        payload.other_output(),
        payload.criteria,
        judge=judge_spec(payload.judge),
        caller=caller,
        deadline=deadline,
        metadata=payload.metadata,
    )
    comparison = outcome.comparison
    problem = transient_problem(
        comparison.orders, outcome.retry, "The outputs could not be compared"
    )
    if problem is not None:
        raise ProblemError(problem)
    return Response(render(comparison), media_type="application/json")
