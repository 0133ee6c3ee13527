"""Removes rows of batches, and what is known of them, from Redis at once."""

from __future__ import annotations

from typing import Any

import orjson

from assay.domain.batches import Batch
from assay.domain.erasure import ErasureTarget
from assay.redis.client import Client
from assay.redis.outages import store_unavailable
from assay.store.batches.deferred import RedisDeferredCalls
from assay.store.batches.keys import RESULTS_PER_KEY, BatchKeys, row_key
from assay.store.batches.rows import row_names
from assay.store.packing import pack, unpack

ROWS_AT_ONCE = 200
ERASED = orjson.dumps(
    {
        "object": "evaluation",
        "status": "failed",
        "error": {"code": "erased", "message": "The row was erased."},
    }
)
"""Stands in the place of a result, so that the others keep theirs."""


class RedisEraser:
    """See `BatchEraser`."""

    def __init__(self, client: Client) -> None:
        self._client: Any = client  # the library types replies for texts and bytes at once

    async def erase(self, batch: Batch, what: ErasureTarget) -> int:
        keys = BatchKeys(batch.id)
        with store_unavailable():
            # A row that has a result has no content any more.
            erased = [] if batch.status == "completed" else await self._rows(keys, what)
            for start in range(0, batch.total, RESULTS_PER_KEY):
                erased += await self._results(keys, start, batch.expires_ms, what)
            count = len(erased)
            if erased:
                await RedisDeferredCalls(self._client).erase(batch.id, frozenset(erased))
            async for field, record in self._client.hscan_iter(keys.bad):
                if field != b"_" and what.covers(orjson.loads(record)[2], None):
                    count += await self._client.hdel(keys.bad, field)
        return count

    async def _rows(self, keys: BatchKeys, what: ErasureTarget) -> list[str]:
        """Remove the content of rows that have no result yet: their result will say so."""
        erased = []
        async for names in row_names(self._client, keys):
            for start in range(0, len(names), ROWS_AT_ONCE):
                some = names[start : start + ROWS_AT_ONCE]
                for name, packed in zip(some, await self._client.mget(some), strict=True):
                    meant = packed is not None and _is_meant(packed, what)
                    if meant and await self._client.unlink(name):
                        erased.append(name.removeprefix(keys.row("")))
        return erased

    async def _results(
        self, keys: BatchKeys, start: int, expires_ms: int, what: ErasureTarget
    ) -> list[str]:
        name = keys.results(start)
        meant = {
            index: row_key(unpack(packed)[0])
            async for index, packed in self._client.hscan_iter(name, count=ROWS_AT_ONCE)
            if _is_meant(packed, what)
        }
        if meant:
            await self._client.hset(name, mapping=dict.fromkeys(meant, pack("", ERASED)))
            await self._client.pexpireat(name, expires_ms)
            await self._client.hdel(keys.ids, *meant.values())
        return list(meant.values())


def _is_meant(packed: bytes, what: ErasureTarget) -> bool:
    item_id, body = unpack(packed)
    return what.covers(item_id, orjson.loads(body).get("metadata"))
