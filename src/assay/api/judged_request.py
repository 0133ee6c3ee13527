"""A request that judges answer: who asks and until when, run once for each idempotency key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar, cast

from fastapi import Request, Response
from fastapi.routing import APIRoute

from assay.api.requests import ComparisonRequest, EvaluationRequest
from assay.api.services import Services
from assay.api.validation import validate
from assay.domain.completion import Caller
from assay.domain.policy import Deadline
from assay.http.access import authenticate
from assay.http.body import read_json
from assay.http.idempotency import is_keyed, run_idempotently
from assay.http.limits import Limits
from assay.http.problems import invalid_request


class JudgedRoute(APIRoute):
    """A route whose endpoint takes the request as it is: there is nothing to be injected."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return cast("Callable[[Request], Coroutine[Any, Any, Response]]", self.endpoint)


Asked = TypeVar("Asked", EvaluationRequest, ComparisonRequest)


async def handle_judged_request(
    request: Request,
    services: Services,
    limits: Limits,
    model: type[Asked],
    work: Callable[[Services, Asked, Caller, Deadline], Awaitable[Response]],
) -> Response:
    """What `work` makes of the request, or the answer that its idempotency key already has.

    Raises `ProblemError` and `RequestError` before anything is spent.
    """
    tenant = authenticate(request, services.access).tenant
    body = await read_json(request, digested=is_keyed(request))
    asked = validate(model, body.document)
    deadline = deadline_of(asked.timeout_ms, limits)
    caller = Caller(tenant, request.state.request_id)
    return await run_idempotently(
        request,
        body.sha256,
        services.idempotency,
        tenant=tenant,
        deadline=deadline,
        work=partial(work, services, asked, caller, deadline),
    )


def deadline_of(timeout_ms: int | None, limits: Limits) -> Deadline:
    """The request's deadline; raises `RequestError` if `timeout_ms` is above the limit."""
    if timeout_ms is None:
        timeout_ms = min(limits.default_timeout_ms, limits.request_timeout_ms)
    if timeout_ms > limits.request_timeout_ms:
        raise invalid_request("/timeout_ms", f"must be at most {limits.request_timeout_ms}")
    return Deadline.after(timeout_ms / 1_000)
