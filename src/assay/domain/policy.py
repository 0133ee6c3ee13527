"""Limits as values: deadlines, quotas, breaker and retry policies."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

BucketName = Literal["requests", "tokens"]
Costs = Mapping[BucketName, float]
"""Amounts by the bucket of a quota; a bucket that is not named is left alone."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on the monotonic clock that the whole of a call must keep to."""

    at_s: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds)

    def remaining_s(self) -> float:
        """Seconds left; negative once past."""
        return self.at_s - time.monotonic()

    def earlier_by(self, seconds: float) -> Deadline:
        return Deadline(self.at_s - seconds)


@dataclass(eq=False, slots=True)
class CostBudget:
    """What one request may still spend on judges, in US dollars; shared by all its calls.

    Budgets are compared by identity: two equal budgets are different budgets.

    A call takes its upper bound before it is sent and gives back what it did not use, so that
    calls side by side cannot overspend together.
    """

    left_usd: float

    def reserve(self, usd: float) -> bool:
        """Set `usd` aside; False, with nothing taken, if less is left."""
        if usd > self.left_usd:
            return False
        self.left_usd -= usd
        return True

    def release(self, usd: float) -> None:
        """Return what a call did not use; negative where it used more."""
        self.left_usd += usd


@dataclass(frozen=True, slots=True)
class Quota:
    """What a provider allows one model in any sliding minute; None is unlimited.

    `burst_share` is the part of a minute's limit that may be sent at once: a bucket of capacity
    C refilled at rate R sends at most C + 60 R in a minute, so C = limit × burst_share and
    R = (limit − C) ÷ 60.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    burst_share: float = 0.05


UNLIMITED = Quota()


@dataclass(frozen=True, slots=True)
class SpentQuota:
    """The limit that a call was refused for: so many `requests` in a minute, for this model."""

    model: str
    requests_per_minute: float


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens and how it probes."""

    window_s: float
    calls_min: int
    failed_share: float
    slow_share: float
    slow_s: float
    open_s: float
    open_max_s: float
    probes: int
    buckets: int = 10


@dataclass(frozen=True, slots=True)
class RetryBudgetPolicy:
    """How often a failed call may be repeated, over all callers of this process."""

    budget_share: float
    budget_per_s: float
    backoff_s: float
