"""Problem documents (RFC 9457), and the one table from codes to HTTP statuses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import orjson

from assay.domain.errors import AssayError, FieldError, ModelError, RequestError

MEDIA_TYPE = "application/problem+json"
ERRORS_MAX = 20
"""Faults listed in one problem; a request with more of them is told of the first."""
RETRY_AFTER_S = 1.0
"""Said with a problem that will pass, where nothing better is known."""


@dataclass(frozen=True, slots=True)
class ProblemType:
    """What every problem of one code has in common."""

    status: int
    title: str
    passes: bool = False
    """Waiting helps: the answer carries `Retry-After`."""


PROBLEM_TYPES: Mapping[str, ProblemType] = MappingProxyType(
    {
        "malformed_http": ProblemType(400, "The request is not valid HTTP"),
        "malformed_json": ProblemType(400, "The body is not valid JSON"),
        "unauthenticated": ProblemType(401, "A valid API key is required"),
        "forbidden": ProblemType(403, "The key does not permit this"),
        "not_found": ProblemType(404, "There is nothing here"),
        "method_not_allowed": ProblemType(405, "The resource does not support this method"),
        "request_timeout": ProblemType(408, "The body did not arrive in time"),
        "conflict": ProblemType(409, "The resource is in another state"),
        "body_too_large": ProblemType(413, "The body is over the limit"),
        "unsupported_media_type": ProblemType(415, "The body must be JSON"),
        "invalid_request": ProblemType(422, "The request is not valid"),
        "idempotency_key_reused": ProblemType(
            422, "The idempotency key stands for another request"
        ),
        "unknown_criterion": ProblemType(422, "There is no such type of criterion"),
        "unknown_model": ProblemType(422, "There is no such model or judge"),
        "tenant_rate_limited": ProblemType(429, "Your rate limit is reached", passes=True),
        "quota_exhausted": ProblemType(429, "The provider's quota is spent", passes=True),
        "internal": ProblemType(500, "An error of the service"),
        "overloaded": ProblemType(503, "The service is at its limit", passes=True),
        "providers_unavailable": ProblemType(503, "No judge can be reached", passes=True),
        "store_unavailable": ProblemType(503, "The store does not answer", passes=True),
        "deadline_exceeded": ProblemType(504, "The request ran out of time"),
    }
)
"""Every code of the contract; one that is not here is answered as `internal`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One refusal, ready to be told; `detail` and `errors` are safe to show to the caller."""

    code: str
    detail: str = ""
    errors: tuple[FieldError, ...] = ()
    retry_after_s: float | None = None
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def status(self) -> int:
        return PROBLEM_TYPES[self.code].status


class ProblemError(Exception):
    """Ends the handling of a request with a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


INTERNAL = Problem("internal")


def problem_of(error: AssayError) -> Problem:
    """The problem that tells an error of the domain."""
    if error.code not in PROBLEM_TYPES or error.code == "internal":
        return INTERNAL
    errors = error.errors if isinstance(error, RequestError) else ()
    wait_s = error.retry_after_s if isinstance(error, ModelError) else None
    return Problem(error.code, error.message, errors, wait_s)


def render(problem: Problem, request_id: str) -> tuple[list[tuple[str, str]], bytes]:
    """The headers (without `X-Request-ID`) and the body of a problem's answer."""
    kind = PROBLEM_TYPES[problem.code]
    document: dict[str, Any] = {
        "type": f"urn:assay:problem:{problem.code}",
        "title": kind.title,
        "status": kind.status,
        "code": problem.code,
        "request_id": request_id,
    }
    headers = [("content-type", MEDIA_TYPE), *problem.headers]
    if problem.detail:
        document["detail"] = problem.detail
    if problem.errors:
        document["errors"] = [
            {"pointer": each.pointer, "message": each.message}
            for each in problem.errors[:ERRORS_MAX]
        ]
    if kind.passes:
        wait_s = max(1, math.ceil(problem.retry_after_s or RETRY_AFTER_S))
        document["retry_after_s"] = wait_s
        headers.append(("retry-after", str(wait_s)))
    body = orjson.dumps(document)
    headers.append(("content-length", str(len(body))))
    return headers, body
