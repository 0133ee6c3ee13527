"""Batches in Redis: made, filled, started, ended, found and removed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import orjson

from assay.domain.batches import Added, BadRow, Batch, NewBatch, NewRow
from assay.domain.errors import RequestError
from assay.domain.ids import id_time_ms
from assay.redis.client import Argument, Client
from assay.store.batches.calls import load, store_errors
from assay.store.batches.durability import Durability
from assay.store.batches.keys import ACTIVE, BatchKeys, content_digest, of_tenant, row_key
from assay.store.batches.packing import batch_of, pack

ROWS_MAX = 1_000_000
TENANT_BATCHES_MAX = 10_000
BAD_ROWS_MAX = 10_000
"""Bad rows that are kept to be told; the upload that brings more is stopped by the API."""
SWEEP_ROWS = 1_000
REFUSALS = {
    "conflict": "a row with this id and other content was sent before",
    "full": "the batch is full",
}


class RedisBatches:
    """See `BatchStore`."""

    def __init__(self, client: Client, *, rows_max: int = ROWS_MAX) -> None:
        self._client: Any = client  # the library types replies for texts and bytes at once
        self._rows_max = rows_max
        self._durability = Durability(client)
        self._create = load(client, "create")
        self._add = load(client, "add")
        self._report = load(client, "report")
        self._start = load(client, "start")
        self._end = load(client, "end")

    async def create(self, batch: NewBatch) -> None:
        keys = BatchKeys(batch.id)
        index = of_tenant(batch.tenant)
        names = [keys.meta, keys.request, keys.webhook, keys.queue, keys.done, keys.ids]
        names += [keys.bad, keys.tally, keys.groups]
        arguments: list[Argument] = [batch.tenant, batch.created_ms, batch.expires_ms]
        with store_errors():
            await self._client.zremrangebyscore(
                index, "-inf", batch.created_ms - (batch.expires_ms - batch.created_ms)
            )
            if await self._client.zcard(index) >= TENANT_BATCHES_MAX:
                detail = f"There are {TENANT_BATCHES_MAX} batches: delete some of them."
                raise RequestError("conflict", detail)
            await self._create(names, [*arguments, batch.request, batch.webhook])
            # In this order a crash in between leaves an empty batch that nobody knows of, and
            # that expires; the other way round it would leave a name without a batch.
            await self._client.zadd(index, {batch.id: batch.created_ms})
            await self._client.pexpireat(index, batch.expires_ms)

    async def add(self, batch_id: str, rows: Sequence[NewRow]) -> Added:
        keys = BatchKeys(batch_id)
        names = [keys.meta, keys.ids, keys.queue]
        arguments: list[Argument] = [self._rows_max]
        for row in rows:
            key = row_key(row.item_id)
            names.append(keys.row(key))
            arguments += [key, content_digest(row.document), pack(row.item_id, row.document)]
        with store_errors():
            answer = await self._add(names, arguments)
        match answer:
            case [b"missing"]:
                raise RequestError("not_found", "There is no such batch.")
            case [b"closed", bytes(status)]:
                raise RequestError("conflict", f"The batch is {status.decode()}, not open.")
        verdicts = [each.decode() for each in answer[1:]]
        refused = tuple(
            BadRow(row.line, REFUSALS[verdict], row.item_id)
            for row, verdict in zip(rows, verdicts, strict=True)
            if verdict in REFUSALS
        )
        return Added(verdicts.count("new"), verdicts.count("known"), refused)

    async def report(self, batch_id: str, bad: Sequence[BadRow]) -> None:
        keys = BatchKeys(batch_id)
        arguments: list[Argument] = [BAD_ROWS_MAX]
        for row in bad:
            record = orjson.dumps([row.line, row.message, row.item_id])
            arguments += [content_digest(record), record]
        with store_errors():
            await self._report([keys.meta, keys.bad], arguments)

    async def start(self, batch_id: str) -> None:
        keys = BatchKeys(batch_id)
        with store_errors():
            # The name is on the list before the batch runs: a crash in between leaves a name too
            # many, which workers forget, and never a running batch that no worker knows of.
            await self._client.zadd(ACTIVE, {batch_id: _now_ms()})
            answer = (await self._start([keys.meta], [])).decode()
        match answer:
            case "missing":
                raise RequestError("not_found", "There is no such batch.")
            case "empty":
                raise RequestError("conflict", "The batch has no rows.")
            case "cancelled" | "failed":
                raise RequestError("conflict", f"The batch is {answer}.")

    async def cancel(self, batch_id: str) -> None:
        keys = BatchKeys(batch_id)
        with store_errors():
            await self._client.zadd(ACTIVE, {batch_id: _now_ms()})
            answer = (
                await self._end([keys.meta, keys.queue, keys.later], ["cancelled", ""])
            ).decode()
        match answer:
            case "missing":
                raise RequestError("not_found", "There is no such batch.")
            case "completed" | "failed":
                raise RequestError("conflict", f"The batch is {answer}.")

    async def delete(self, batch: Batch) -> None:
        """Nothing of the batch is left; where this is cut short, the rest expires by itself."""
        keys = BatchKeys(batch.id)
        with store_errors():
            await self._client.zrem(of_tenant(batch.tenant), batch.id)
            await self._client.unlink(keys.meta, keys.queue, keys.later)
            rows: list[str] = []
            async for field, _ in self._client.hscan_iter(keys.ids, count=SWEEP_ROWS):
                rows.append(keys.row(field.decode()))
                if len(rows) >= SWEEP_ROWS:
                    await self._client.unlink(*rows)
                    rows.clear()
            rows += keys.everything(batch.total)
            for start in range(0, len(rows), SWEEP_ROWS):
                await self._client.unlink(*rows[start : start + SWEEP_ROWS])
            await self._client.zrem(ACTIVE, batch.id)

    async def durable(self, batch_id: str) -> None:
        with store_errors():
            if not await self._durability.reached(BatchKeys(batch_id).synced):
                raise TimeoutError

    async def find(self, tenant: str, batch_id: str) -> Batch | None:
        with store_errors():
            stored = await self._client.hgetall(BatchKeys(batch_id).meta)
        if not stored or stored.get(b"tenant", b"").decode() != tenant:
            return None
        return batch_of(batch_id, stored)

    async def request(self, batch_id: str) -> bytes | None:
        with store_errors():
            found: bytes | None = await self._client.get(BatchKeys(batch_id).request)
        return found

    async def page(self, tenant: str, before: str, limit: int) -> Sequence[Batch]:
        newest = str(id_time_ms(before)) if before else "+inf"
        found: list[Batch] = []
        for offset in range(0, 2 * TENANT_BATCHES_MAX, limit):
            with store_errors():
                names = await self._client.zrange(
                    of_tenant(tenant), newest, "-inf", desc=True, byscore=True,
                    offset=offset, num=limit,
                )  # fmt: skip
            # Batches of one millisecond sort by their id: the page may end between two of them.
            for name in (each.decode() for each in names if not before or each.decode() < before):
                batch = await self.find(tenant, name)
                if batch is not None:
                    found.append(batch)
                if len(found) == limit:
                    return found
            if len(names) < limit:
                break
        return found

    async def bad_rows(self, batch_id: str, limit: int) -> Sequence[BadRow]:
        found: list[BadRow] = []
        with store_errors():
            async for field, record in self._client.hscan_iter(BatchKeys(batch_id).bad):
                if field != b"_":
                    found.append(BadRow(*orjson.loads(record)))
        return sorted(found, key=lambda row: row.line)[:limit]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
