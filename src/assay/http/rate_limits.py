"""The RateLimit fields of a 429: which quota is exhausted, and when to retry.

Source: draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4.
"""

from __future__ import annotations

import math

from assay.domain.policy import SpentQuota

WINDOW_S = 60


def rate_limit_fields(spent: SpentQuota, wait_s: float) -> tuple[tuple[str, str], ...]:
    """`RateLimit-Policy` and `RateLimit` as headers; none if they cannot hold the model's name.

    They count requests only: a client cannot count a judge's tokens.
    """
    name = _string(spent.model)
    if name is None:
        return ()
    policy = f"{name};q={math.floor(spent.requests_per_minute)};w={WINDOW_S}"
    left = f"{name};r=0;t={max(1, math.ceil(wait_s))}"
    return ("ratelimit-policy", policy), ("ratelimit", left)


def _string(text: str) -> str | None:
    """A String of structured fields (RFC 9651, section 3.3.3): printable ASCII."""
    if not (text.isascii() and text.isprintable()):
        return None
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
