"""Runs a request once, however often it is sent with the same idempotency key."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from assay.domain.errors import FieldError
from assay.domain.policy import Deadline
from assay.domain.ports import IdempotencyLease, IdempotencyStore, StoredResponse
from assay.http.problems import Problem, ProblemError

KEY_HEADER = "idempotency-key"
REPLAYED_HEADER = ("Idempotency-Replayed", "true")
KEY = re.compile(r"[\x21-\x7e]{1,255}")
KEPT_HEADERS = ("content-type", "location", "retry-after", "ratelimit-policy", "ratelimit")
"""What is given again besides status and body; all else belongs to one exchange."""
TOO_MANY_REQUESTS = 429
SERVER_ERROR = 500


def is_keyed(request: Request) -> bool:
    """Whether a request carries an idempotency key, for which its body must be digested."""
    return KEY_HEADER in request.headers


async def run_idempotently(
    request: Request,
    body_sha256: str,
    store: IdempotencyStore,
    *,
    tenant: str,
    deadline: Deadline,
    work: Callable[[], Awaitable[Response]],
) -> Response:
    """The answer of `work`, or the one that was given to the same key before.

    Without the header nothing touches the store. Answers that a retry could better (429 and
    5xx) are not kept, nor is anything where the first caller went away.
    """
    key = request.headers.get(KEY_HEADER)
    if key is None:
        return await work()
    if not KEY.fullmatch(key):
        fault = FieldError("", "Idempotency-Key must be 1 to 255 visible ASCII characters")
        raise ProblemError(
            Problem("invalid_request", "The idempotency key is not valid.", (fault,))
        )
    claim = await store.claim(tenant, key, digest_of(request, body_sha256), deadline)
    if isinstance(claim, StoredResponse):
        return _replayed(claim)
    return await _run(claim, work)


def digest_of(request: Request, body_sha256: str) -> str:
    """What makes two requests the same: method, path and every byte of the body."""
    identity = f"{request.method} {request.url.path}\n{body_sha256}"
    return hashlib.sha256(identity.encode()).hexdigest()


async def _run(lease: IdempotencyLease, work: Callable[[], Awaitable[Response]]) -> Response:
    kept = False
    try:
        response = await work()
        if response.status_code < SERVER_ERROR and response.status_code != TOO_MANY_REQUESTS:
            headers = tuple(
                (name, response.headers[name]) for name in KEPT_HEADERS if name in response.headers
            )
            # A caller who leaves while the answer is written must not undo it.
            answer = StoredResponse(response.status_code, headers, bytes(response.body))
            kept = True
            await asyncio.shield(lease.keep(answer))
        return response
    finally:
        if not kept:
            await asyncio.shield(lease.release())


def _replayed(answer: StoredResponse) -> Response:
    response = Response(answer.body, answer.status, dict(answer.headers))
    response.headers[REPLAYED_HEADER[0]] = REPLAYED_HEADER[1]
    return response
