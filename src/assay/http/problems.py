"""Problem documents (RFC 9457), and the one table from codes to HTTP statuses.

Errors reach a caller in one of two ways. `DomainError`, the error tree of the domain, says what is
wrong with the content of a request or with the work on it; resources raise only these.
`ProblemError` says what is wrong with the HTTP exchange: authentication, headers, sizes, times and
admission. It may carry headers, which the domain does not know. `problem_of` turns both into
problems.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import orjson

from assay.domain.completion import Attempt
from assay.domain.errors import DomainError, FieldError, ModelError, RequestError
from assay.domain.problem_codes import ProblemCode
from assay.domain.tenants import TenantLimited
from assay.http.rate_limits import rate_limit_fields

MEDIA_TYPE = "application/problem+json"
CLOSE = (("connection", "close"),)
"""The headers of a problem after which the connection is of no more use."""
ERRORS_MAX = 20
"""Faults listed in one problem; of more, the first ones are listed."""
ATTEMPTS_MAX = 20
"""Upstream calls listed in one problem; of more, the first ones are listed."""
BAD_LINES_MAX = 1_000
"""After so many bad lines an upload is not read any further: it is probably the wrong file."""
RETRY_AFTER_S = 1.0
"""Sent with a temporary problem when no better time is known."""


@dataclass(frozen=True, slots=True)
class ProblemType:
    """What all problems of one code have in common."""

    status: int
    title: str
    temporary: bool = False
    """Waiting helps: the response carries `Retry-After`."""


PROBLEM_TYPES: Mapping[ProblemCode, ProblemType] = MappingProxyType(
    {
        "malformed_http": ProblemType(400, "The request is not valid HTTP"),
        "malformed_json": ProblemType(400, "The body is not valid JSON"),
        "unauthenticated": ProblemType(401, "A valid API key is required"),
        "forbidden": ProblemType(403, "The API key does not permit this"),
        "not_found": ProblemType(404, "Resource not found"),
        "method_not_allowed": ProblemType(405, "The resource does not support this method"),
        "request_timeout": ProblemType(408, "The body did not arrive in time"),
        "conflict": ProblemType(409, "The resource's current state does not allow this"),
        "body_too_large": ProblemType(413, "The body is too large"),
        "unsupported_media_type": ProblemType(415, "The body's media type is not supported"),
        "invalid_request": ProblemType(422, "The request is not valid"),
        "idempotency_key_reused": ProblemType(
            422, "The idempotency key belongs to a different request"
        ),
        "unknown_criterion": ProblemType(422, "Unknown type of criterion"),
        "unknown_model": ProblemType(422, "Unknown model or judge"),
        "tenant_rate_limited": ProblemType(429, "Rate limit exceeded", temporary=True),
        "quota_exhausted": ProblemType(429, "Provider quota exhausted", temporary=True),
        "internal": ProblemType(500, "Internal server error"),
        "overloaded": ProblemType(503, "The service is overloaded", temporary=True),
        "providers_unavailable": ProblemType(503, "No judge is available", temporary=True),
        "input_unavailable": ProblemType(503, "An image cannot be fetched", temporary=True),
        "store_unavailable": ProblemType(503, "Storage is unavailable", temporary=True),
        "records_unavailable": ProblemType(503, "The records are unavailable", temporary=True),
        "deadline_exceeded": ProblemType(504, "The deadline was exceeded"),
    }
)
"""Every code of the contract, by status."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a request, all of it safe to show to the caller.

    `attempts` are the calls to judges that failed.
    """

    code: ProblemCode
    detail: str = ""
    errors: tuple[FieldError, ...] = ()
    retry_after_s: float | None = None
    headers: tuple[tuple[str, str], ...] = ()
    attempts: tuple[Attempt, ...] = ()

    @property
    def status(self) -> int:
        return PROBLEM_TYPES[self.code].status


class ProblemError(Exception):
    """Ends the handling of a request with a problem of the HTTP exchange."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


INTERNAL = Problem("internal")


def problem_of(error: Exception) -> Problem:
    """The problem that an error becomes; an internal one shows nothing of the inside."""
    if isinstance(error, ProblemError):
        return error.problem
    if not isinstance(error, DomainError) or error.code == "internal":
        return INTERNAL
    if isinstance(error, TenantLimited):
        fields = rate_limit_fields(
            error.limit, error.quota, error.retry_after_s, per_minute=error.per_minute
        )
        return Problem(error.code, error.message, (), error.retry_after_s, fields)
    errors = error.errors if isinstance(error, RequestError) else ()
    if isinstance(error, ModelError):
        wait_s, attempts = error.retry_after_s, error.attempts
        return Problem(error.code, error.message, (), wait_s, attempts=attempts)
    return Problem(error.code, error.message, errors)


def invalid_request(pointer: str, message: str) -> RequestError:
    """The error for one fault of a request.

    Without a pointer, as for a header or a parameter of the query, `message` names the place.
    """
    return RequestError(
        "invalid_request", fault_sentence(pointer, message), (FieldError(pointer, message),)
    )


def bad_lines(bad: Mapping[int, str]) -> RequestError:
    """The error for an upload that is rejected for some of its lines."""
    numbers = sorted(bad)
    shown = ", ".join(map(str, numbers[:BAD_LINES_MAX]))
    more = " and more" if len(numbers) > BAD_LINES_MAX else ""
    detail = f"Nothing was stored, because these lines cannot be used: {shown}{more}. "
    detail += fault_sentence(f"Line {numbers[0]}", bad[numbers[0]])
    faults = [FieldError("", f"line {number}: {bad[number]}") for number in numbers]
    return RequestError("invalid_request", detail, faults)


def fault_sentence(place: str, message: str) -> str:
    """A fault with its place, as the detail of a problem."""
    text = f"{place}: {message}" if place else message
    return text if text.endswith(("?", ".")) else text + "."


def render(problem: Problem, request_id: str) -> tuple[list[tuple[str, str]], bytes]:
    """The headers (without `X-Request-ID`) and the body of a problem's response."""
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
            {"pointer": fault.pointer, "message": fault.message}
            for fault in problem.errors[:ERRORS_MAX]
        ]
    if problem.attempts:
        document["attempts"] = problem.attempts[:ATTEMPTS_MAX]
    if kind.temporary:
        wait_s = max(1, math.ceil(problem.retry_after_s or RETRY_AFTER_S))
        document["retry_after_s"] = wait_s
        headers.append(("retry-after", str(wait_s)))
    body = orjson.dumps(document)
    headers.append(("content-length", str(len(body))))
    return headers, body
