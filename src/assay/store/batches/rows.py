"""The keys that hold the contents of rows: one for each row that has no result yet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from assay.store.batches.keys import BatchKeys

SWEEP_ROWS = 1_000


async def row_names(client: Any, keys: BatchKeys) -> AsyncIterator[list[str]]:
    """The names of the keys, up to `SWEEP_ROWS` at a time."""
    names: list[str] = []
    async for field, _ in client.hscan_iter(keys.ids, count=SWEEP_ROWS):
        names.append(keys.row(field.decode()))
        if len(names) == SWEEP_ROWS:
            yield names
            names = []
    if names:
        yield names


async def expire_rows(client: Any, keys: BatchKeys, expires_ms: int) -> None:
    """Let the keys expire at this time."""
    async for names in row_names(client, keys):
        async with client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.pexpireat(name, expires_ms)
            await pipe.execute()
