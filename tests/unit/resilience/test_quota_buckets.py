"""Quotas as capacities and rates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.domain.policy import Quota
from assay.resilience.quota.buckets import buckets_from_quota


@given(
    limit=st.floats(0.01, 1e9, allow_nan=False),
    burst_share=st.floats(0.001, 1.0, allow_nan=False),
)
def test_a_minute_never_holds_more_than_the_limit(limit, burst_share):
    """Capacity and a minute's refill are the limit together, and there is always a rate."""
    (bucket,) = buckets_from_quota(Quota(requests_per_minute=limit, burst_share=burst_share))
    assert bucket.capacity + 60 * bucket.rate_per_s <= limit * (1 + 1e-9)
    assert bucket.rate_per_s > 0


def test_a_small_limit_still_lets_one_request_through():
    """Five percent of ten is less than a request; the rate makes up for it."""
    (bucket,) = buckets_from_quota(Quota(requests_per_minute=10))
    assert bucket.capacity == 1
    assert bucket.rate_per_s == pytest.approx(9 / 60)


def test_a_limit_that_is_not_set_has_no_bucket():
    """None is unlimited."""
    assert buckets_from_quota(Quota()) == ()


def test_a_limit_of_nothing_is_an_error():
    """It would make callers wait for ever."""
    with pytest.raises(ValueError, match="lets nothing through"):
        buckets_from_quota(Quota(tokens_per_minute=0))
