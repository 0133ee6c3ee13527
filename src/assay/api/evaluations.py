"""POST /v1/evaluations, and its short form POST /evaluate."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from assay.api.judged_request import JudgedRoute, handle_judged_request
from assay.api.problem_codes import JUDGED
from assay.api.requests import EvaluationRequest
from assay.api.responses import EvaluationResponse, render, transient_problem
from assay.api.routes import add_route
from assay.api.services import Services
from assay.criteria.judge import judge_spec
from assay.domain.completion import Caller
from assay.domain.evaluation import NamedVersion
from assay.domain.events import CaseJudged
from assay.domain.policy import Deadline
from assay.http.limits import Limits
from assay.http.problems import ProblemError


def evaluations_router(services: Services, limits: Limits) -> APIRouter:
    """The routes that judge one case and respond with its results."""
    router = APIRouter(tags=["evaluations"], route_class=JudgedRoute)

    async def create_evaluation(request: Request) -> Response:
        """Judge an output by criteria; each is scored, or unscored with the reason."""
        return await handle_judged_request(request, services, limits, EvaluationRequest, _evaluate)

    for path, name in (("/v1/evaluations", "create_evaluation"), ("/evaluate", "evaluate")):
        add_route(
            router, "POST", path, create_evaluation, EvaluationResponse,
            (*JUDGED, "unknown_criterion"), body=EvaluationRequest, replayed=True,
            operation_id=name,
        )  # fmt: skip
    return router


async def _evaluate(
    services: Services,
    payload: EvaluationRequest,
    caller: Caller,
    deadline: Deadline,
    named: NamedVersion | None,
) -> Response:
    await services.evaluator.compile(payload.criteria, caller=caller, deadline=deadline)
    outcome = await services.evaluator.evaluate(
        payload.to_case(),
        payload.criteria,
        judge=judge_spec(payload.judge),
        caller=caller,
        deadline=deadline,
        metadata=payload.metadata,
        named=named,
    )
    evaluation = outcome.evaluation
    problem = transient_problem(evaluation.results, outcome.retry, "No criterion could be scored")
    if problem is not None:
        raise ProblemError(problem)
    subject = payload.subject.to_domain() if payload.subject else None
    services.events.emit(CaseJudged(caller, evaluation, subject))
    return Response(render(evaluation), media_type="application/json")
