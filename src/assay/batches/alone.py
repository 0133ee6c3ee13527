"""What one worker at a time does for all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from assay.domain.errors import DeadlineExceeded
from assay.domain.policy import Deadline
from assay.domain.ports import IdempotencyStore, StoredResponse


@asynccontextmanager
async def held_alone(leases: IdempotencyStore, owner: str, key: str) -> AsyncIterator[bool]:
    """Whether this worker has the lease, until the end of the block; else another one has it.

    `owner` stands in the place of a tenant and is the name of none. Raises `StoreUnavailable`.
    """
    try:
        lease = await leases.claim(owner, key, "", Deadline.after(0))
    except DeadlineExceeded:
        lease = None
    if lease is None or isinstance(lease, StoredResponse):
        yield False
        return
    try:
        yield True
    finally:
        await lease.release()
