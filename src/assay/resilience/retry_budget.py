"""The retry budget: what keeps retries from doubling the load on a provider in trouble."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from assay.domain.policy import RetryPolicy

WINDOW_S = 10
"""Requests and retries are weighed over this sliding window, kept second by second."""


class RetryBudget:
    """Allows retries up to a share of recent requests plus a steady trickle.

    One budget serves all models of a process. Over any window: retries ≤ `budget_share` ×
    requests + `budget_per_s` × seconds.
    """

    def __init__(self, policy: RetryPolicy, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._policy = policy
        self._clock_s = clock_s
        self._seconds: deque[tuple[int, list[int]]] = deque(maxlen=WINDOW_S)

    def note_request(self) -> None:
        """Count a first call, which earns a share of a retry."""
        self._second()[0] += 1

    def spend(self) -> bool:
        """Take one retry out of the budget; False where none is left."""
        second = self._second()
        requests = sum(counts[0] for _, counts in self._seconds)
        retries = sum(counts[1] for _, counts in self._seconds)
        allowed = self._policy.budget_share * requests + self._policy.budget_per_s * WINDOW_S
        if retries + 1 > allowed:
            return False
        second[1] += 1
        return True

    def _second(self) -> list[int]:
        """The counts of requests and retries in the present second."""
        now = int(self._clock_s())
        while self._seconds and self._seconds[0][0] <= now - WINDOW_S:
            self._seconds.popleft()
        if not self._seconds or self._seconds[-1][0] != now:
            self._seconds.append((now, [0, 0]))
        return self._seconds[-1][1]
