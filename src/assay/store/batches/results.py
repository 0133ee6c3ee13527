"""Results of batches in Redis, read in the order of the items."""

from __future__ import annotations

from typing import Any

from assay.domain.batches import Batch, ResultPage, StoredResult, Sums
from assay.redis.client import Client
from assay.redis.outages import store_unavailable
from assay.store.batches.keys import RESULTS_PER_KEY, BatchKeys
from assay.store.packing import unpack

SLICE = 100
PAGE_BYTES_MAX = 8 * 1_048_576
"""A page ends early if its results are larger, whatever limit was asked for."""


class RedisResults:
    """See `ResultStore`."""

    def __init__(self, client: Client) -> None:
        self._client: Any = client  # the library types replies for texts and bytes at once

    async def page(self, batch: Batch, cursor: int, limit: int) -> ResultPage:
        results: list[StoredResult] = []
        size = 0
        while len(results) < limit and cursor < batch.total and size < PAGE_BYTES_MAX:
            wanted = self._next(cursor, batch.total, limit - len(results))
            for index, packed in zip(wanted, await self._slice(batch.id, wanted), strict=True):
                if packed is None and not batch.ended:
                    return ResultPage(results, index, has_more=True)
                cursor = index + 1
                if packed is not None:
                    item_id, body = unpack(packed)
                    results.append(StoredResult(index, item_id, body))
                    size += len(body)
                if size >= PAGE_BYTES_MAX:
                    break
        return ResultPage(results, cursor, has_more=cursor < batch.total)

    async def sums(self, batch_id: str, *, by_group: bool) -> Sums:
        keys = BatchKeys(batch_id)
        with store_unavailable():
            tally = await self._client.hgetall(keys.tally)
            groups = await self._client.hgetall(keys.groups) if by_group else {}
        return Sums(_numbers(tally), _numbers(groups))

    @staticmethod
    def _next(cursor: int, total: int, wanted: int) -> range:
        """Indexes from `cursor` that lie in one key."""
        key_ends = (cursor // RESULTS_PER_KEY + 1) * RESULTS_PER_KEY
        return range(cursor, min(cursor + SLICE, cursor + wanted, total, key_ends))

    async def _slice(self, batch_id: str, wanted: range) -> list[bytes | None]:
        key = BatchKeys(batch_id).results(wanted.start)
        with store_unavailable():
            found: list[bytes | None] = await self._client.hmget(key, list(map(str, wanted)))
        return found


def _numbers(stored: dict[bytes, bytes]) -> dict[str, int]:
    return {name.decode(): int(value) for name, value in stored.items()}
