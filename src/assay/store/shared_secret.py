"""A secret that all pods share: made once, by the first process that needs it."""

from __future__ import annotations

import secrets
from typing import Any

from assay.redis.client import Client
from assay.redis.outages import OUTAGES
from assay.redis.time_budget import TimeBudget

SECRET_BYTES = 32
START_BUDGET_S = 1.0
"""What this may add to the start of a process."""


async def shared_secret(redis: Client, name: str) -> bytes:
    """The secret of this name; without Redis, one that this process alone has."""
    try:
        async with TimeBudget(START_BUDGET_S):
            return await stored_secret(redis, name)
    except OUTAGES:
        return secrets.token_bytes(SECRET_BYTES)


async def stored_secret(redis: Any, name: str) -> bytes:
    """The secret of this name, for those who cannot do with another one; raises `OUTAGES`."""
    key = f"assay:v1:{{secret:{name}}}"
    await redis.set(key, secrets.token_bytes(SECRET_BYTES), nx=True)
    shared: bytes = await redis.get(key)
    return shared
