"""The RateLimit fields of a 429: which quota is exhausted, and when to retry.

Source: draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4.
"""

from __future__ import annotations

import math

WINDOW_S = 60


def rate_limit_fields(
    limit: str, quota: float, wait_s: float, *, per_minute: bool = True
) -> tuple[tuple[str, str], ...]:
    """`RateLimit-Policy` and `RateLimit` as headers; none if they cannot hold the limit's name.

    They count what a client can count: not a judge's tokens.
    """
    name = _string(limit)
    if name is None:
        return ()
    policy = f"{name};q={math.floor(quota)}" + (f";w={WINDOW_S}" if per_minute else "")
    left = f"{name};r=0;t={max(1, math.ceil(wait_s))}"
    return ("ratelimit-policy", policy), ("ratelimit", left)


def _string(text: str) -> str | None:
    """A String of structured fields (RFC 9651, section 3.3.3): printable ASCII."""
    if not (text.isascii() and text.isprintable()):
        return None
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
