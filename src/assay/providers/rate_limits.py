"""What is left of a provider's quota, by the headers of a response.

Sources: https://platform.openai.com/docs/guides/rate-limits (Azure and many compatible servers
send the same) and https://docs.anthropic.com/en/api/rate-limits; Gemini sends none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from assay.domain.policy import BucketName, Costs

_REQUESTS = ("x-ratelimit-remaining-requests", "anthropic-ratelimit-requests-remaining")
_TOKENS = ("x-ratelimit-remaining-tokens", "anthropic-ratelimit-tokens-remaining")
_TOKENS_BY_KIND = (
    "anthropic-ratelimit-input-tokens-remaining",
    "anthropic-ratelimit-output-tokens-remaining",
)


def quota_left(headers: Mapping[str, str]) -> Costs:
    """What is left of the quota, as far as the provider says.

    The `reset` headers are ignored. They say when the whole quota is back, but our own balance
    refills continuously, and a 429 has its own `Retry-After`.
    """
    requests, tokens = _least(headers, _REQUESTS), _least(headers, _TOKENS)
    if tokens is None:
        tokens = _least(headers, _TOKENS_BY_KIND)
    left: dict[BucketName, float | None] = {"requests": requests, "tokens": tokens}
    return {name: amount for name, amount in left.items() if amount is not None}


def _least(headers: Mapping[str, str], names: tuple[str, ...]) -> float | None:
    amounts = [_amount(headers[name]) for name in names if name in headers]
    return min([amount for amount in amounts if amount is not None], default=None)


def _amount(text: str) -> float | None:
    """The count in a header; None for anything else that a gateway may write."""
    try:
        amount = float(text)
    except ValueError:
        return None
    return max(amount, 0.0) if math.isfinite(amount) else None
