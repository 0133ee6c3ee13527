"""What a provider says is left of its quota, in the headers of an answer.

Sources: https://platform.openai.com/docs/guides/rate-limits (Azure and many compatible servers
send the same) and https://docs.anthropic.com/en/api/rate-limits; Gemini says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from assay.domain.completion import RateLimitState

_REQUESTS = ("x-ratelimit-remaining-requests", "anthropic-ratelimit-requests-remaining")
_TOKENS = ("x-ratelimit-remaining-tokens", "anthropic-ratelimit-tokens-remaining")
_TOKENS_BY_KIND = (
    "anthropic-ratelimit-input-tokens-remaining",
    "anthropic-ratelimit-output-tokens-remaining",
)


def rate_limit_of(headers: Mapping[str, str]) -> RateLimitState | None:
    """What is left; None where the provider does not say.

    The `reset` headers beside these tell when the whole quota is back, which nobody has to wait
    for: the balance refills by our own rate, and a 429 brings its own wait.
    """
    requests, tokens = _least(headers, _REQUESTS), _least(headers, _TOKENS)
    if tokens is None:
        tokens = _least(headers, _TOKENS_BY_KIND)
    if requests is None and tokens is None:
        return None
    return RateLimitState(requests, tokens)


def _least(headers: Mapping[str, str], names: tuple[str, ...]) -> float | None:
    amounts = (_amount(headers.get(name)) for name in names)
    return min((each for each in amounts if each is not None), default=None)


def _amount(text: str | None) -> float | None:
    """A count; None for what is none, since a gateway may write anything."""
    try:
        amount = float(text or "")
    except ValueError:
        return None
    return max(amount, 0.0) if math.isfinite(amount) else None
