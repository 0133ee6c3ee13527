"""Runs a request once, even if it is sent several times with the same idempotency key."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from assay.domain.policy import Deadline
from assay.domain.ports import IdempotencyLease, IdempotencyStore, StoredResponse
from assay.http.problems import invalid_request

KEY_HEADER = "idempotency-key"
REPLAYED = {"Idempotency-Replayed": "true"}
KEY = re.compile(r"[\x21-\x7e]{1,255}")
KEPT_HEADERS = ("content-type", "location", "retry-after", "ratelimit-policy", "ratelimit")
"""Headers that a replay repeats; all others belong to one exchange."""
TOO_MANY_REQUESTS = 429
SERVER_ERROR = 500


def is_keyed(request: Request) -> bool:
    """Whether a request carries an idempotency key, which needs a digest of its body."""
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
    """The response of `work`, or the response that the same key got before.

    A request without a key does not touch the store. Responses that a retry could improve (429
    and 5xx) are not kept, and neither is the work of a caller who left.

    Raises `RequestError` (`invalid_request`, `idempotency_key_reused`), `DeadlineExceeded` if the
    first request still runs, and `StoreUnavailable`.
    """
    key = request.headers.get(KEY_HEADER)
    if key is None:
        return await work()
    if not KEY.fullmatch(key):
        raise invalid_request("", "Idempotency-Key must be 1 to 255 visible ASCII characters")
    claim = await store.claim(tenant, key, request_digest(request, body_sha256), deadline)
    if isinstance(claim, StoredResponse):
        return Response(claim.body, claim.status, {**dict(claim.headers), **REPLAYED})
    return await _run(claim, work)


def request_digest(request: Request, body_sha256: str) -> str:
    """Identifies a request by its method, its path and every byte of its body."""
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
            stored = StoredResponse(response.status_code, headers, bytes(response.body))
            kept = True
            # A caller who leaves while the response is stored must not undo it.
            await asyncio.shield(lease.keep(stored))
        return response
    finally:
        if not kept:
            await asyncio.shield(lease.release())
