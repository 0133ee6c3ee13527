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
class Kind:
    """What every problem of one code has in common."""

    status: int
    title: str
    passes: bool = False
    """Waiting helps: the answer carries `Retry-After`."""


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "malformed_http": Kind(400, "The request is not valid HTTP"),
        "malformed_json": Kind(400, "The body is not valid JSON"),
        "unauthenticated": Kind(401, "A valid API key is required"),
        "forbidden": Kind(403, "The key does not permit this"),
        "not_found": Kind(404, "There is nothing here"),
        "method_not_allowed": Kind(405, "The resource does not support this method"),
        "request_timeout": Kind(408, "The body did not arrive in time"),
        "conflict": Kind(409, "The resource is in another state"),
        "body_too_large": Kind(413, "The body is over the limit"),
        "unsupported_media_type": Kind(415, "The body must be JSON"),
        "invalid_request": Kind(422, "The request is not valid"),
        "idempotency_key_reused": Kind(422, "The idempotency key stands for another request"),
        "unknown_criterion": Kind(422, "There is no such type of criterion"),
        "unknown_model": Kind(422, "There is no such model or judge"),
        "tenant_rate_limited": Kind(429, "Your rate limit is reached", passes=True),
        "quota_exhausted": Kind(429, "The provider's quota is spent", passes=True),
        "internal": Kind(500, "An error of the service"),
        "overloaded": Kind(503, "The service is at its limit", passes=True),
        "providers_unavailable": Kind(503, "No judge can be reached", passes=True),
        "store_unavailable": Kind(503, "The store does not answer", passes=True),
        "deadline_exceeded": Kind(504, "The request ran out of time"),
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
        return KINDS[self.code].status


class Refused(Exception):
    """Ends the handling of a request with a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


INTERNAL = Problem("internal")


def problem_of(error: AssayError) -> Problem:
    """The problem that tells an error of the domain."""
    if error.code not in KINDS or error.code == "internal":
        return INTERNAL
    errors = error.errors if isinstance(error, RequestError) else ()
    wait_s = error.retry_after_s if isinstance(error, ModelError) else None
    return Problem(error.code, error.message, errors, wait_s)


def render(problem: Problem, request_id: str) -> tuple[list[tuple[str, str]], bytes]:
    """The headers (without `X-Request-ID`) and the body of a problem's answer."""
    kind = KINDS[problem.code]
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
