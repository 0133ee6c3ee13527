"""The queue of rows: a Redis stream for each batch, with one consumer group of all workers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

from assay.domain.batches import (
    ENDED,
    BatchStatus,
    Claim,
    NewRow,
    RowResult,
    SettleOutcome,
    WebhookClaim,
)
from assay.redis.client import Argument, Client
from assay.store.batches.calls import load, store_errors
from assay.store.batches.keys import ACTIVE, BatchKeys
from assay.store.batches.packing import pack, unpack

LEASE_S = 12.0
"""A row that its worker has not renewed for so long is handed to another."""
ACTIVE_MAX = 1_000
"""Batches that workers look at in one round; where there are more, the next round goes on."""
BACKLOG_BATCHES_MAX = 10_000
"""Batches whose rows are summed up for the backlog."""
FORGET_OPEN_AFTER_S = 120.0
"""A name of the list whose batch does not run: much longer than a start takes."""
HOOK_TURN_S = 60.0
GROUPS_MAX = 20_000
"""Sums by group that a batch keeps: two for each criterion and group."""
RATE_WINDOW_MS = 10_000


class RedisJobQueue:
    """See `JobQueue`; `worker` must be unique among all processes."""

    def __init__(self, client: Client, worker: str, *, lease_s: float = LEASE_S) -> None:
        self._client: Any = client  # the library types replies for texts and bytes at once
        self._worker = worker
        self._lease_ms = round(lease_s * 1_000)
        self._looked_at = 0
        self._claim = load(client, "claim")
        self._renew = load(client, "renew")
        self._settle = load(client, "settle")
        self._return = load(client, "return")
        self._end = load(client, "end")
        self._hook = load(client, "hook")

    async def active(self) -> Sequence[str]:
        with store_errors():
            count: int = await self._client.zcard(ACTIVE)
            # One tenant's thousand batches, or webhooks that nobody answers, must not hide others.
            first = self._looked_at if self._looked_at < count else 0
            self._looked_at = first + ACTIVE_MAX
            names: list[bytes] = await self._client.zrange(ACTIVE, first, first + ACTIVE_MAX - 1)
        return [name.decode() for name in names]

    async def backlog(self) -> int:
        rows = 0
        with store_errors():
            names: list[bytes] = await self._client.zrange(ACTIVE, 0, BACKLOG_BATCHES_MAX - 1)
        for batch_id in (name.decode() for name in names):
            with store_errors():
                status, total, settled = await self._client.hmget(
                    BatchKeys(batch_id).meta, ["status", "total", "settled"]
                )
            if status == b"running":
                rows += int(total) - int(settled)
        return rows

    async def claim(self, batch_id: str, count: int) -> Sequence[Claim] | BatchStatus | None:
        keys = BatchKeys(batch_id)
        with store_errors():
            status, *rows = await self._claim(
                [keys.meta, keys.queue, keys.later, keys.done],
                [self._worker, count, self._lease_ms],
            )
            if status != b"running":
                return None if status == b"missing" else cast("BatchStatus", status.decode())
            contents: list[bytes | None] = []
            if rows:
                contents = await self._client.mget([keys.row(row[2].decode()) for row in rows])
        return [
            Claim(
                batch_id=batch_id,
                entry=entry.decode(),
                index=int(index),
                key=key.decode(),
                attempt=int(attempt),
                deliveries=int(deliveries),
                payload=None if packed is None else NewRow(int(index), *unpack(packed)),
            )
            for (entry, index, key, attempt, deliveries), packed in zip(rows, contents, strict=True)
        ]

    async def renew(self, claims: Sequence[Claim]) -> None:
        by_batch: dict[str, list[Argument]] = {}
        for claim in claims:
            by_batch.setdefault(claim.batch_id, [self._worker]).append(claim.entry)
        with store_errors():
            for batch_id, arguments in by_batch.items():
                await self._renew([BatchKeys(batch_id).queue], arguments)

    async def settle(self, claim: Claim, result: RowResult) -> SettleOutcome:
        keys = BatchKeys(claim.batch_id)
        names = [keys.meta, keys.queue, keys.later, keys.done, keys.results(claim.index)]
        names += [keys.row(claim.key), keys.tally, keys.groups, keys.ids]
        arguments: list[Argument] = [
            claim.entry,
            claim.index,
            pack(result.item_id, result.body),
            result.status,
            GROUPS_MAX,
            RATE_WINDOW_MS,
            len(result.sums),
            len(result.tally),
            len(result.groups),
            *_pairs(result.sums),
            *_pairs(result.tally),
            *_pairs(result.groups),
        ]
        with store_errors():
            answer: bytes = await self._settle(names, arguments)
        return cast("SettleOutcome", answer.decode())

    async def give_back(self, claim: Claim, delay_s: float = 0.0) -> None:
        keys = BatchKeys(claim.batch_id)
        attempts = claim.attempt + (1 if delay_s else 0)
        with store_errors():
            await self._return(
                [keys.meta, keys.queue, keys.later],
                [claim.entry, claim.index, claim.key, attempts, round(delay_s * 1_000)],
            )

    async def fail(self, batch_id: str, error: str) -> None:
        keys = BatchKeys(batch_id)
        with store_errors():
            await self._end([keys.meta, keys.queue, keys.later], ["failed", error])

    async def claim_webhook(self, batch_id: str) -> WebhookClaim | None:
        keys = BatchKeys(batch_id)
        with store_errors():
            answer = await self._hook([keys.meta, keys.webhook], ["take", int(HOOK_TURN_S * 1_000)])
        return WebhookClaim(int(answer[0]), answer[1]) if answer else None

    async def record_webhook(
        self, batch_id: str, outcome: str, next_delay_s: float | None = None
    ) -> None:
        keys = BatchKeys(batch_id)
        again: Argument = "" if next_delay_s is None else round(next_delay_s * 1_000)
        with store_errors():
            await self._hook([keys.meta, keys.webhook], [outcome, again])

    async def forget(self, batch_id: str) -> None:
        with store_errors():
            status, hook = await self._client.hmget(BatchKeys(batch_id).meta, ["status", "hook"])
            since_ms = await self._client.zscore(ACTIVE, batch_id)
            is_old = time.time() * 1_000 - (since_ms or 0) > FORGET_OPEN_AFTER_S * 1_000
            if hook == b"due" or status == b"running":
                return
            if is_old or (status is not None and status.decode() in ENDED):
                await self._client.zrem(ACTIVE, batch_id)


def _pairs(increments: Mapping[str, int]) -> list[Argument]:
    return [each for pair in increments.items() for each in pair]
