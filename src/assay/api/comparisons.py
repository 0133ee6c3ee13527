"""POST /v1/comparisons: two outputs, one winner."""

from __future__ import annotations

from typing import Any, Literal

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import Field

from assay.api.judged_request import JudgedRoute, handle_judged_request
from assay.api.problem_codes import JUDGED
from assay.api.requests import ComparisonRequest
from assay.api.responses import (
    NOT_THE_CALLERS,
    JudgeAnswer,
    Shape,
    SuspicionAnswer,
    UsageAnswer,
    judge_document,
    plain,
    plain_fields,
    usage_document,
)
from assay.api.services import Services
from assay.criteria.base import judge_spec
from assay.domain.comparison import Comparison, OrderVerdict, Side, Winner
from assay.domain.completion import Caller
from assay.domain.errors import Reason
from assay.domain.policy import Deadline
from assay.http.limits import Limits
from assay.http.openapi import REPLAYED_RESPONSE, problems, request_body
from assay.http.problems import Problem, ProblemError


def comparisons_router(services: Services, limits: Limits) -> APIRouter:
    """The route that compares two outputs."""
    router = APIRouter(tags=["comparisons"], route_class=JudgedRoute)

    @router.post(
        "/v1/comparisons",
        operation_id="create_comparison",
        response_model=None,
        responses={
            200: {"model": ComparisonAnswer, **REPLAYED_RESPONSE},
            **problems(*JUDGED),
        },
        openapi_extra=request_body(ComparisonRequest),
    )
    async def create_comparison(request: Request) -> Response:
        """Judge two outputs in both orders; a verdict that flips with the order is a tie."""
        return await handle_judged_request(request, services, limits, ComparisonRequest, _compare)

    return router


async def _compare(
    services: Services, asked: ComparisonRequest, caller: Caller, deadline: Deadline
) -> Response:
    comparison = await services.comparer.compare(
        asked.to_case(),
        asked.other_output(),
        asked.criteria,
        judge=judge_spec(asked.judge),
        caller=caller,
        deadline=deadline,
        metadata=asked.metadata,
    )
    problem = problem_of_unjudged(comparison)
    if problem is not None:
        raise ProblemError(problem)
    return Response(render_comparison(comparison), media_type="application/json")


def problem_of_unjudged(comparison: Comparison) -> Problem | None:
    """The problem to answer with where neither order was judged through no fault of the request."""
    reasons = {each.reason for each in comparison.orders}
    if not reasons or not reasons <= NOT_THE_CALLERS.keys():
        return None
    code = next(code for code in NOT_THE_CALLERS if code in reasons)
    waits_s = [each.retry_after_s for each in comparison.orders if each.retry_after_s is not None]
    detail = NOT_THE_CALLERS[code].replace("No criterion could be scored", "Nothing was compared")
    return Problem(code, detail, retry_after_s=max(waits_s, default=None))


def render_comparison(comparison: Comparison) -> bytes:
    """The JSON of a comparison."""
    return orjson.dumps(
        {
            "id": comparison.id,
            "object": "comparison",
            "created_at": comparison.created_at,
            "winner": comparison.winner,
            "consistent": comparison.consistent,
            "preference": comparison.preference,
            "reason": comparison.reason,
            "orders": [_order(each) for each in comparison.orders],
            "usage": usage_document(comparison.usage),
            "cost_usd": comparison.cost_usd,
            "latency_ms": round(comparison.latency_ms, 3),
            "suspect": [plain_fields(each) for each in comparison.suspect],
            "metadata": comparison.metadata,
        },
        default=plain,
        option=orjson.OPT_NON_STR_KEYS,
    )


def _order(order: OrderVerdict) -> dict[str, Any]:
    return {
        "first": order.first,
        "winner": order.winner,
        "preference": order.preference,
        "explanation": order.explanation,
        "reason": order.reason,
        "judge": None if order.judge is None else judge_document(order.judge),
        "usage": usage_document(order.usage),
        "cost_usd": order.cost_usd,
        "latency_ms": round(order.latency_ms, 3),
        "cached": order.cached,
        "simulated": order.simulated,
    }


class OrderAnswer(Shape):
    """The verdict in one order."""

    first: Side = Field(description="The output that was shown first.")
    winner: Winner | None = Field(description="Null where this order is unscored.")
    preference: float | None = Field(ge=0, le=1, description="1 for output a, 0 for output b.")
    explanation: str
    reason: Reason | None = Field(description="Why it is unscored.")
    judge: JudgeAnswer | None
    usage: UsageAnswer
    cost_usd: float
    latency_ms: float
    cached: bool
    simulated: bool


class ComparisonAnswer(Shape):
    """The winner over both orders."""

    id: str
    object: Literal["comparison"]
    created_at: str
    winner: Winner | None = Field(description="Null where an order is unscored: never a guess.")
    consistent: bool | None = Field(description="False: the verdict flips with the order, a tie.")
    preference: float | None = Field(
        ge=0,
        le=1,
        description="1 for output a, 0 for output b; the mean of both orders where the model "
        "gives log-probabilities.",
    )
    reason: Reason | None
    orders: list[OrderAnswer] = Field(
        description="Output a first, then output b; empty where both outputs are the same text."
    )
    usage: UsageAnswer
    cost_usd: float
    latency_ms: float
    suspect: list[SuspicionAnswer] = Field(description="Signs of prompt injection in an output.")
    metadata: dict[str, Any]
