"""A secret that all pods share: made once, by the first process that needs it."""

from __future__ import annotations

import secrets

from assay.redis.client import Client
from assay.redis.outages import OUTAGES
from assay.redis.time_budget import TimeBudget

SECRET_BYTES = 32
START_BUDGET_S = 1.0
"""What this may add to the start of a process."""


async def shared_secret(redis: Client, name: str) -> bytes:
    """The secret of this name; without Redis, one that this process alone has."""
    key, own = f"assay:v1:{{secret:{name}}}", secrets.token_bytes(SECRET_BYTES)
    try:
        async with TimeBudget(START_BUDGET_S):
            await redis.set(key, own, nx=True)
            shared = await redis.get(key)
    except OUTAGES:
        return own
    return shared if isinstance(shared, bytes) else own
