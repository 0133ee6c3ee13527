"""The problems that routes can end in, composed from what the routes have in common."""

from __future__ import annotations

from assay.domain.problem_codes import ProblemCode

AUTHENTICATED: tuple[ProblemCode, ...] = (
    "unauthenticated",
    "tenant_rate_limited",
    "internal",
    "overloaded",
)
"""Every route that takes an API key."""

BODY: tuple[ProblemCode, ...] = (
    *AUTHENTICATED,
    "forbidden",
    "request_timeout",
    "body_too_large",
    "unsupported_media_type",
    "invalid_request",
)
"""Every route that reads a body."""

JSON_BODY: tuple[ProblemCode, ...] = (*BODY, "malformed_json")

IDEMPOTENT: tuple[ProblemCode, ...] = (
    "forbidden",
    "invalid_request",
    "idempotency_key_reused",
    "store_unavailable",
    "deadline_exceeded",
)
"""Every route that takes an `Idempotency-Key`."""

JUDGED: tuple[ProblemCode, ...] = (
    *JSON_BODY,
    *IDEMPOTENT,
    "unknown_model",
    "quota_exhausted",
    "providers_unavailable",
    "records_unavailable",
    "input_unavailable",
)
"""Every route whose response needs a judge."""

RECORD: tuple[ProblemCode, ...] = (*AUTHENTICATED, "not_found", "records_unavailable")
"""Every route of one record."""

BATCH: tuple[ProblemCode, ...] = (*AUTHENTICATED, "not_found", "store_unavailable")
"""Every route of one batch."""
