"""POST /v1/evaluations, and its short form POST /evaluate."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request, Response

from assay.api.answers import EvaluationAnswer, problem_of_unscored, render_evaluation
from assay.api.body import read_json
from assay.api.documents import REPLAYED_HEADER, problems, request_body
from assay.api.problems import Refused
from assay.api.replay import is_keyed, run_once
from assay.api.schemas import EvaluationRequest
from assay.api.services import Limits, Services
from assay.api.validation import invalid, validate
from assay.domain.completion import Caller
from assay.domain.policy import Deadline
from assay.evaluation.criteria.base import judge_spec

CODES = (
    "malformed_json",
    "unauthenticated",
    "request_timeout",
    "body_too_large",
    "unsupported_media_type",
    "invalid_request",
    "idempotency_key_reused",
    "unknown_criterion",
    "unknown_model",
    "tenant_rate_limited",
    "quota_exhausted",
    "internal",
    "overloaded",
    "providers_unavailable",
    "store_unavailable",
    "deadline_exceeded",
)


def evaluations_router(services: Services, limits: Limits) -> APIRouter:
    """The routes that judge one case and answer with its scores."""
    router = APIRouter(tags=["evaluations"])

    async def create_evaluation(request: Request) -> Response:
        """Judge an output by criteria; each is scored, or unscored with the reason."""
        tenant = services.access.identify(request.headers.get("authorization")).tenant
        request.state.tenant = tenant
        body = await read_json(request, digested=is_keyed(request))
        asked = validate(EvaluationRequest, body.document)
        deadline = deadline_of(asked.timeout_ms, limits)
        caller = Caller(tenant, request.state.request_id)
        return await run_once(
            request,
            body.sha256,
            services.idempotency,
            tenant=tenant,
            deadline=deadline,
            work=partial(_evaluate, services, asked, caller, deadline),
        )

    for path, name in (("/v1/evaluations", "create_evaluation"), ("/evaluate", "evaluate")):
        router.add_api_route(
            path,
            create_evaluation,
            methods=["POST"],
            operation_id=name,
            response_model=None,
            responses={200: {"model": EvaluationAnswer, **REPLAYED_HEADER}, **problems(*CODES)},
            openapi_extra=request_body(EvaluationRequest),
        )
    return router


def deadline_of(timeout_ms: int | None, limits: Limits) -> Deadline:
    """When the answer is due; raises `Refused` where the caller asks for more than there is."""
    if timeout_ms is None:
        timeout_ms = min(limits.default_timeout_ms, limits.request_timeout_ms)
    if timeout_ms > limits.request_timeout_ms:
        raise invalid("/timeout_ms", f"must be at most {limits.request_timeout_ms}")
    return Deadline.after(timeout_ms / 1_000)


async def _evaluate(
    services: Services, asked: EvaluationRequest, caller: Caller, deadline: Deadline
) -> Response:
    evaluation = await services.evaluator.evaluate(
        asked.case(),
        asked.criteria,
        judge=judge_spec(asked.judge),
        caller=caller,
        deadline=deadline,
        metadata=asked.metadata,
    )
    problem = problem_of_unscored(evaluation)
    if problem is not None:
        raise Refused(problem)
    return Response(render_evaluation(evaluation), media_type="application/json")
