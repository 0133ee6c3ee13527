"""What counts as an outage of Redis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisClusterException, RedisError

from assay.domain.errors import StoreUnavailable

OUTAGES = (RedisError, RedisClusterException, OSError, TimeoutError)
"""What a call raises where Redis, or the way to it, fails. An unreachable cluster
raises no `RedisError`."""

UNAVAILABLE = "Storage is unavailable."


@contextmanager
def store_unavailable(message: str = UNAVAILABLE) -> Iterator[None]:
    """Raise `StoreUnavailable` for an outage within the block."""
    try:
        yield
    except OUTAGES as outage:
        raise StoreUnavailable(message) from outage
