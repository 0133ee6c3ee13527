"""The queue of rows: a Redis stream for each batch, with one consumer group of all workers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile
from typing import Any, Literal, cast

import orjson

from assay.domain.batches import (
    ENDED,
    Backlog,
    Batch,
    BatchStatus,
    Claim,
    FinishedRows,
    GateStep,
    NewRow,
    RowResult,
    SettleOutcome,
    WebhookClaim,
)
from assay.domain.ids import now_ms
from assay.redis.client import Client
from assay.redis.outages import store_unavailable
from assay.redis.scripts import Argument, load_script
from assay.store.batches.keys import ACTIVE, BatchKeys
from assay.store.batches.rows import expire_rows
from assay.store.packing import pack, unpack

CLAIM = load_script(__package__, "prelude", "claim")
RENEW = load_script(__package__, "renew")
SETTLE = load_script(__package__, "prelude", "settle")
RETURN = load_script(__package__, "prelude", "return")
PARK = load_script(__package__, "park")
STALLED = load_script(__package__, "stalled")
RELEASE = load_script(__package__, "release")
END = load_script(__package__, "prelude", "end")
DECIDE = load_script(__package__, "prelude", "decide")
WEBHOOK = load_script(__package__, "prelude", "webhook")

LEASE_S = 12.0
"""A row that its worker has not renewed for this long is handed to another."""
ACTIVE_MAX = 1_000
"""Batches that workers look at in one round; the next round continues with the others."""
BACKLOG_BATCHES_MAX = 10_000
"""Batches whose rows are summed up for the backlog."""
BACKLOG_SLICE = 500
FORGET_OPEN_AFTER_S = 120.0
"""A listed batch that does not run is forgotten after this time: a start takes much less."""
WEBHOOK_CLAIM_S = 60.0
"""How long one worker has the right to call a webhook."""
GROUPS_MAX = 20_000
"""Sums by group that a batch keeps: two for each criterion and group."""
RATE_WINDOW_MS = 10_000
DECIDING_S = 5.0
"""How long other workers leave the decision on a batch's gates to one of them."""
UNDECIDED_ROWS_MAX = 256
"""If more finished rows wait for a decision that is due, no further rows are begun."""
DECIDED_AT_ONCE = 1_000


class RedisJobQueue:
    """See `JobQueue`; `worker` must be unique among all processes."""

    def __init__(self, client: Client, worker: str, *, lease_s: float = LEASE_S) -> None:
        self._client: Any = client  # the library types replies for texts and bytes at once
        self._worker = worker
        self._lease_ms = round(lease_s * 1_000)
        self._looked_at = 0

    async def active(self) -> Sequence[str]:
        with store_unavailable():
            count: int = await self._client.zcard(ACTIVE)
            # One tenant's thousand batches, or webhooks that do not answer, must not hide others.
            first = self._looked_at if self._looked_at < count else 0
            self._looked_at = first + ACTIVE_MAX
            names: list[bytes] = await self._client.zrange(ACTIVE, first, first + ACTIVE_MAX - 1)
        return [name.decode() for name in names]

    async def backlog(self) -> Backlog:
        counts: list[tuple[bytes | None, ...]] = []
        with store_unavailable():
            names: list[bytes] = await self._client.zrange(ACTIVE, 0, BACKLOG_BATCHES_MAX - 1)
            for start in range(0, len(names), BACKLOG_SLICE):
                async with self._client.pipeline(transaction=False) as pipe:
                    for name in names[start : start + BACKLOG_SLICE]:
                        meta = BatchKeys(name.decode()).meta
                        pipe.hmget(meta, ["status", "total", "settled", "parked"])
                    counts += await pipe.execute()
        rows = parked = 0
        for status, *numbers in counts:
            if status == b"running":
                total, settled, waiting = (int(number or 0) for number in numbers)
                rows += total - settled - waiting
                parked += waiting
        return Backlog(rows, parked)

    async def claim(
        self, batch_id: str, count: int
    ) -> Sequence[Claim] | BatchStatus | Literal["due"] | None:
        keys = BatchKeys(batch_id)
        names = [keys.meta, keys.queue, keys.later, keys.done, keys.stalls]
        names += [keys.ids, keys.order, keys.waiting]
        deciding_ms = round(DECIDING_S * 1_000)
        limits = [self._lease_ms, deciding_ms, UNDECIDED_ROWS_MAX]
        with store_unavailable():
            status, *rows = await CLAIM.run(self._client, names, [self._worker, count, *limits])
            if status != b"running":
                return None if status == b"missing" else status.decode()
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
                stalls=int(stalls),
                resumed=bool(int(resumed)),
            )
            for (entry, index, key, attempt, deliveries, stalls, resumed), packed in zip(
                rows, contents, strict=True
            )
        ]

    async def renew(self, claims: Sequence[Claim]) -> None:
        by_batch: dict[str, list[Argument]] = {}
        for claim in claims:
            by_batch.setdefault(claim.batch_id, [self._worker]).append(claim.entry)
        with store_unavailable():
            for batch_id, arguments in by_batch.items():
                await RENEW.run(self._client, [BatchKeys(batch_id).queue], arguments)

    async def settle(self, claim: Claim, result: RowResult) -> SettleOutcome:
        keys = BatchKeys(claim.batch_id)
        names = [keys.meta, keys.queue, keys.later, keys.done, keys.results(claim.index)]
        names += [keys.row(claim.key), keys.tally, keys.groups]
        names += [keys.order, keys.waiting]
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
            claim.key,
            orjson.dumps(result.gate_scores),
            *_pairs(result.sums),
            *_pairs(result.tally),
            *_pairs(result.groups),
        ]
        with store_unavailable():
            answer: bytes = await SETTLE.run(self._client, names, arguments)
        return cast("SettleOutcome", answer.decode())

    async def park(
        self, claim: Claim, calls: Collection[str], document: bytes | None = None
    ) -> None:
        keys = BatchKeys(claim.batch_id)
        names = [keys.meta, keys.queue, keys.parked, *map(keys.call, sorted(calls))]
        with store_unavailable():
            await self._replace(claim, document)
            await PARK.run(
                self._client, names, [claim.entry, claim.index, claim.key, claim.attempt]
            )

    async def _replace(self, claim: Claim, document: bytes | None) -> None:
        if document is not None and claim.payload is not None:
            content = pack(claim.payload.item_id, document)
            name = BatchKeys(claim.batch_id).row(claim.key)
            await self._client.set(name, content, xx=True, keepttl=True)

    async def give_back(
        self, claim: Claim, delay_s: float = 0.0, document: bytes | None = None
    ) -> None:
        keys = BatchKeys(claim.batch_id)
        attempts = claim.attempt + (1 if delay_s else 0)
        with store_unavailable():
            await self._replace(claim, document)
            await RETURN.run(
                self._client,
                [keys.meta, keys.queue, keys.later],
                [claim.entry, claim.index, claim.key, attempts, round(delay_s * 1_000)],
            )

    async def count_stall(self, batch_id: str, key: str) -> None:
        keys = BatchKeys(batch_id)
        with store_unavailable():
            await STALLED.run(self._client, [keys.meta, keys.stalls], [key])

    async def fail(self, batch_id: str, error: str) -> None:
        keys = BatchKeys(batch_id)
        with store_unavailable():
            await END.run(self._client, [keys.meta, *keys.work], ["failed", error])

    async def finished_rows(self, batch_id: str) -> FinishedRows:
        keys = BatchKeys(batch_id)
        with store_unavailable():
            async with self._client.pipeline() as pipe:  # a transaction: they belong together
                pipe.hmget(keys.meta, ["total", "prefix"])
                pipe.get(keys.rules)
                (total, prefix), state = await pipe.execute()
            first = int(prefix or 0)
            places = list(map(str, range(first, first + DECIDED_AT_ONCE)))
            found = await self._client.hmget(keys.waiting, places)
        scores = [orjson.loads(one) for one in takewhile(lambda one: one is not None, found)]
        return FinishedRows(int(total or 0), first, state or b"", scores)

    async def decide(self, batch_id: str, first: int, step: GateStep) -> bool:
        keys = BatchKeys(batch_id)
        names = [keys.meta, keys.rules, keys.waiting, *keys.work]
        known = orjson.dumps(step.gates)
        arguments: list[Argument] = [first, step.finished, step.state, known, step.status or ""]
        with store_unavailable():
            return bool(await DECIDE.run(self._client, names, arguments))

    async def claim_webhook(self, batch_id: str) -> WebhookClaim | None:
        keys = BatchKeys(batch_id)
        with store_unavailable():
            answer = await WEBHOOK.run(
                self._client, [keys.meta, keys.webhook], ["claim", int(WEBHOOK_CLAIM_S * 1_000)]
            )
        return WebhookClaim(int(answer[0]), answer[1]) if answer else None

    async def record_webhook(
        self, batch_id: str, outcome: str, next_delay_s: float | None = None
    ) -> None:
        keys = BatchKeys(batch_id)
        again: Argument = "" if next_delay_s is None else round(next_delay_s * 1_000)
        with store_unavailable():
            await WEBHOOK.run(self._client, [keys.meta, keys.webhook], [outcome, again])

    async def release(self, batch: Batch, expires_ms: int) -> None:
        keys = BatchKeys(batch.id)
        with store_unavailable():
            # What a cancelled batch had still to do has rows, too.
            await expire_rows(self._client, keys, expires_ms)
            await RELEASE.run(self._client, keys.everything(batch.total), [expires_ms])

    async def forget(self, batch_id: str) -> None:
        with store_unavailable():
            status, hook, kept = await self._client.hmget(
                BatchKeys(batch_id).meta, ["status", "hook", "kept"]
            )
            since_ms = await self._client.zscore(ACTIVE, batch_id)
            is_old = now_ms() - (since_ms or 0) > FORGET_OPEN_AFTER_S * 1_000
            if hook == b"due" or status == b"running" or kept == b"uncopied":
                return
            if is_old or (status is not None and status.decode() in ENDED):
                await self._client.zrem(ACTIVE, batch_id)


def _pairs(increments: Mapping[str, int]) -> list[Argument]:
    return [part for pair in increments.items() for part in pair]
