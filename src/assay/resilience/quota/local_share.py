"""The quota while Redis is unavailable: each process uses its own part of the rate."""

from __future__ import annotations

import time
from collections.abc import Sequence

from assay.domain.policy import Costs
from assay.resilience.quota.buckets import Bucket

SHARE = 0.8
"""Part of the rate that all processes together use without coordination."""
BURST_S = 1.0


class LocalShare:
    """The same token buckets on the process's monotonic clock, at `0.8 × rate ÷ pods`.

    They start empty at each outage, because calls just before it still count in the provider's
    minute. Callers get their sending times in the order in which they ask.
    """

    def __init__(self, buckets: Sequence[Bucket], pods_max: int) -> None:
        rates = [SHARE * bucket.rate_per_s / pods_max for bucket in buckets]
        self._buckets = tuple(
            Bucket(bucket.name, rate * BURST_S, rate)
            for bucket, rate in zip(buckets, rates, strict=True)
        )
        self._blocked_s = 0.0
        self._unreported = [0.0] * len(self._buckets)
        self.restart()

    def restart(self) -> None:
        """Begin an outage with empty buckets; a block that the provider asked for still holds."""
        self._at_s = time.monotonic()
        self._balances = [0.0] * len(self._buckets)

    def reserve(self, costs: Costs, queued: Costs, wait_max_s: float) -> tuple[float, int, bool]:
        """The wait behind `queued` in seconds, and the number of the bucket that binds (0: none).

        Last, whether the wait was within `wait_max_s` and the costs are taken.
        """
        now_s = time.monotonic()
        self._advance(now_s)
        send_s, binding = max(self._at_s, self._blocked_s), 0
        for number, bucket in enumerate(self._buckets, start=1):
            cost = min(costs.get(bucket.name, 0.0), bucket.capacity)
            need = cost + queued.get(bucket.name, 0.0) - self._balances[number - 1]
            ready_s = self._at_s + need / bucket.rate_per_s
            if need > 0 and ready_s > send_s:
                send_s, binding = ready_s, number
        taken = send_s - now_s <= wait_max_s
        if taken:
            self._advance(send_s)
            self.charge(costs)
        return send_s - now_s, binding, taken

    def charge(self, costs: Costs) -> None:
        """Take `costs` whatever the balance; what was used beyond a reservation is a debt."""
        for index, bucket in enumerate(self._buckets):
            cost = costs.get(bucket.name, 0.0)
            self._balances[index] -= cost
            self._unreported[index] += cost

    @property
    def unreported(self) -> Costs:
        """What was taken here, and is missing from the shared buckets; empty if nothing was."""
        names = (bucket.name for bucket in self._buckets)
        return dict(zip(names, self._unreported, strict=True)) if any(self._unreported) else {}

    def reported(self, costs: Costs) -> None:
        """Take `costs` off what is unreported: the shared buckets have them now."""
        for index, bucket in enumerate(self._buckets):
            self._unreported[index] -= costs.get(bucket.name, 0.0)

    def block(self, seconds: float) -> None:
        """Send nothing for `seconds`: the provider asked for it."""
        self._blocked_s = max(self._blocked_s, time.monotonic() + seconds)

    def _advance(self, to_s: float) -> None:
        seconds = max(0.0, to_s - self._at_s)
        for index, bucket in enumerate(self._buckets):
            filled = self._balances[index] + bucket.rate_per_s * seconds
            self._balances[index] = min(bucket.capacity, filled)
        self._at_s += seconds
