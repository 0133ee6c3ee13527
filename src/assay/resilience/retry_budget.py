"""The retry budget: what keeps retries from doubling the load on a provider in trouble."""

from __future__ import annotations

import time
from collections.abc import Callable

from assay.domain.policy import RetryBudgetPolicy
from assay.resilience.sliding_counts import SlidingCounts

WINDOW_S = 10
"""Requests and retries are weighed over this sliding window, kept second by second."""


class RetryBudget:
    """Allows retries up to a share of recent requests plus a steady trickle.

    One budget serves all models of a process. Over any window: retries ≤ `budget_share` ×
    requests + `budget_per_s` × seconds.
    """

    def __init__(
        self, policy: RetryBudgetPolicy, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.policy = policy
        self._counts = SlidingCounts(2, WINDOW_S, WINDOW_S, clock_s)

    def note_request(self) -> None:
        """Count a first call, which earns a share of a retry."""
        self._counts.add(1, 0)

    @property
    def left_share(self) -> float:
        """The part of the budget that is left, 0 to 1."""
        allowed, retries = self._allowed_and_spent()
        return max(0.0, 1.0 - retries / allowed) if allowed else 0.0

    def spend(self) -> bool:
        """Take one retry out of the budget; False where none is left."""
        allowed, retries = self._allowed_and_spent()
        if retries + 1 > allowed:
            return False
        self._counts.add(0, 1)
        return True

    def _allowed_and_spent(self) -> tuple[float, int]:
        requests, retries = self._counts.totals()
        policy = self.policy
        return policy.budget_share * requests + policy.budget_per_s * WINDOW_S, retries
