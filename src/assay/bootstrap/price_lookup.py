"""A program of its own: reads [[url, model], ...] from stdin and prints what each one costs.

The package's data takes a second to import and 15 MB to keep, and is needed once.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from itertools import chain
from typing import Any

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import TieredPrices


def look_up(url: str, name: str) -> dict[str, Any] | None:
    """Window and prices of a model: one price from each size of the prompt on; None if unknown."""
    try:
        _, model = get_snapshot().find_provider_model(name, None, None, url)
    except LookupError:
        return None
    prices = model.get_prices(dt.datetime.now(dt.UTC))
    kinds = [
        _steps(getattr(prices, f"{kind}_mtok", None))
        for kind in ("input", "output", "cache_read", "cache_write")
    ]
    prices_from = [
        (start, *(_at(start, steps) for steps in kinds)) for start in sorted({*chain(*kinds)})
    ]
    return {"context_tokens": model.context_window, "prices": prices_from if kinds[0] else []}


def _steps(price: Any) -> dict[int, float]:
    if price is None:
        return {}
    if isinstance(price, TieredPrices):
        return {0: float(price.base)} | {tier.start: float(tier.price) for tier in price.tiers}
    return {0: float(price)}


def _at(start: int, steps: dict[int, float]) -> float | None:
    return steps[max(step for step in steps if step <= start)] if steps else None


if __name__ == "__main__":
    json.dump([look_up(url, name) for url, name in json.load(sys.stdin)], sys.stdout)
