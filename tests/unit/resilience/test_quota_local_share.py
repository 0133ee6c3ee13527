"""The share of one process while Redis is gone."""

from __future__ import annotations

import pytest

from assay.resilience.quota.buckets import Bucket
from assay.resilience.quota.local_share import LocalShare

BUCKETS = (Bucket("requests", 10, 10.0), Bucket("tokens", 100, 1_000.0))


def share() -> LocalShare:
    """Four requests and four hundred tokens a second for each of two processes."""
    return LocalShare(BUCKETS, pods_max=2)


def test_an_outage_begins_with_nothing():
    """What Redis let through just before still counts in the provider's minute."""
    wait_s, binding, taken = share().reserve({"requests": 1}, {}, 10)
    assert taken
    assert wait_s == pytest.approx(0.25, abs=0.02)
    assert binding == 1


def test_callers_are_spaced_at_the_local_rate():
    """In order of asking, each behind the one before."""
    local = share()
    waits = [local.reserve({"requests": 1}, {}, 10)[0] for _ in range(4)]
    assert waits == pytest.approx([0.25, 0.5, 0.75, 1.0], abs=0.02)


def test_the_slower_bucket_binds():
    """Two hundred tokens take longer than one request."""
    wait_s, binding, _ = share().reserve({"requests": 1, "tokens": 200}, {}, 10)
    assert wait_s == pytest.approx(0.5, abs=0.02)
    assert binding == 2


def test_a_wait_that_is_too_long_takes_nothing():
    """The next caller's wait is as before."""
    local = share()
    *_, taken = local.reserve({"requests": 1}, {}, 0.1)
    assert not taken
    wait_s, *_ = local.reserve({"requests": 1}, {}, 10)
    assert wait_s == pytest.approx(0.25, abs=0.02)


def test_those_before_a_caller_are_waited_for():
    """What they are going to take is not there for it."""
    wait_s, *_ = share().reserve({"requests": 1}, {"requests": 3}, 0)
    assert wait_s == pytest.approx(1.0, abs=0.02)


def test_a_cost_beyond_the_capacity_is_a_debt_not_an_endless_wait():
    """It goes when the bucket is full, and the next caller pays."""
    local = share()
    wait_s, _, taken = local.reserve({"tokens": 800}, {}, 10)
    assert taken
    assert wait_s == pytest.approx(1.0, abs=0.02)
    wait_s, *_ = local.reserve({"tokens": 40}, {}, 10)
    assert wait_s == pytest.approx(2.1, abs=0.02)


def test_a_block_by_the_provider_outlives_the_start_of_an_outage():
    """Nobody sends while the provider asked for silence."""
    local = share()
    local.block(30)
    local.restart()
    wait_s, *_ = local.reserve({"requests": 1}, {}, 0)
    assert wait_s == pytest.approx(30, abs=0.1)
