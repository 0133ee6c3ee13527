"""The codes of problems: what a caller's program can tell them apart by."""

from __future__ import annotations

from typing import Literal

ProblemCode = Literal[
    "malformed_http",
    "malformed_json",
    "unauthenticated",
    "forbidden",
    "not_found",
    "method_not_allowed",
    "request_timeout",
    "conflict",
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
    "input_unavailable",
    "store_unavailable",
    "records_unavailable",
    "deadline_exceeded",
]
"""Every code of a problem, as callers read it; `http/problems.py` gives each its HTTP status."""
