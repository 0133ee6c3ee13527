"""Buckets: a quota as capacities and rates, so that the sliding minute holds."""

from __future__ import annotations

from dataclasses import dataclass

from assay.domain.policy import BucketName, Quota


@dataclass(frozen=True, slots=True)
class Bucket:
    """A token bucket: sends at most `capacity + 60 × rate_per_s` in any minute."""

    name: BucketName
    capacity: float
    rate_per_s: float


def buckets_from_quota(quota: Quota) -> tuple[Bucket, ...]:
    """The buckets of the limits that are set.

    The capacity is `limit × burst_share`, but at least one request, and never more than half of
    the limit, so that there is a rate at all: below two requests a minute one request is more
    than the capacity, waits for the full bucket and is paid off before the next.
    """
    limits: tuple[tuple[BucketName, float | None], ...] = (
        ("requests", quota.requests_per_minute),
        ("tokens", quota.tokens_per_minute),
    )
    return tuple(
        _bucket(name, limit, quota.burst_share) for name, limit in limits if limit is not None
    )


def _bucket(name: BucketName, limit: float, burst_share: float) -> Bucket:
    if limit <= 0:
        raise ValueError(f"a quota of {limit} {name} a minute lets nothing through")
    capacity = min(max(1.0, limit * burst_share), limit / 2)
    return Bucket(name, capacity, (limit - capacity) / 60)
