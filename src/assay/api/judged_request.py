"""A request that judges answer: its caller and deadline, run once for each idempotency key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar, cast

from fastapi import Request, Response
from fastapi.routing import APIRoute

from assay.api.requests import JudgedFields
from assay.api.services import Services
from assay.api.validation import validate
from assay.catalog.evaluators import with_criteria
from assay.domain.completion import Caller
from assay.domain.evaluation import NamedVersion
from assay.domain.policy import Deadline
from assay.http.access import authenticate
from assay.http.body import read_json
from assay.http.idempotency import is_keyed, run_idempotently
from assay.http.limits import Limits
from assay.http.problems import invalid_request


class JudgedRoute(APIRoute):
    """A route whose endpoint gets the plain request: FastAPI injects nothing."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return cast("Callable[[Request], Coroutine[Any, Any, Response]]", self.endpoint)


Payload = TypeVar("Payload", bound=JudgedFields)


async def handle_judged_request(
    request: Request,
    services: Services,
    limits: Limits,
    model: type[Payload],
    work: Callable[[Services, Payload, Caller, Deadline, NamedVersion | None], Awaitable[Response]],
) -> Response:
    """The response that `work` makes, or the one that the idempotency key already has.

    Raises `ProblemError`, `RequestError` and `TenantLimited` before anything is spent.
    """
    tenant = authenticate(request, services.access).tenant
    async with services.gate.in_flight(tenant):
        body = await read_json(request, digested=is_keyed(request))
        document, named = await with_criteria(services.open_stores, tenant, body.document)
        payload = validate(model, document, limits.image_hosts)
        payload.check_store(keyed=is_keyed(request))
        deadline = deadline_of(payload.timeout_ms, limits)
        caller = Caller(tenant, request.state.request_id, store=payload.store)
        return await run_idempotently(
            request,
            body.sha256,
            services.idempotency,
            tenant=tenant,
            deadline=deadline,
            work=partial(work, services, payload, caller, deadline, named),
        )


def deadline_of(timeout_ms: int | None, limits: Limits) -> Deadline:
    """The request's deadline; raises `RequestError` if `timeout_ms` is above the limit."""
    if timeout_ms is None:
        timeout_ms = min(limits.default_timeout_ms, limits.request_timeout_ms)
    if timeout_ms > limits.request_timeout_ms:
        raise invalid_request("/timeout_ms", f"must be at most {limits.request_timeout_ms}")
    return Deadline.after(timeout_ms / 1_000)
