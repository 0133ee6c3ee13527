"""Batches in Redis: created, filled, started, ended, found and removed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import orjson

from assay.domain.batches import ROW_STATUSES, Added, BadRow, Batch, BatchStatus, NewBatch, NewRow
from assay.domain.errors import RequestError
from assay.domain.ids import id_time_ms, now_ms
from assay.redis.client import Client
from assay.redis.durability import Durability
from assay.redis.outages import store_unavailable
from assay.redis.scripts import Argument, load_script
from assay.store.batches.deferred import RedisDeferredCalls
from assay.store.batches.keys import ACTIVE, BatchKeys, content_digest, row_key, tenant_index
from assay.store.batches.rows import SWEEP_ROWS, expire_rows, row_names
from assay.store.packing import pack

CREATE = load_script(__package__, "create")
ADD = load_script(__package__, "add")
REPORT = load_script(__package__, "report")
START = load_script(__package__, "prelude", "start")
SEAL = load_script(__package__, "prelude", "seal")
END = load_script(__package__, "prelude", "end")

TENANT_BATCHES_MAX = 10_000
BAD_ROWS_KEPT_MAX = 10_000
KEPT_MS = 400 * 86_400_000
"""How long a batch that was started is kept, if it is not copied to the records yet."""
SUMS = (
    *("cost_nano_usd", "input_tokens", "output_tokens", "thinking_tokens", "cached_tokens"),
    *("cache_write_tokens", "simulated"),
)
"""Sums over all rows, that `meta` holds beside the counts."""
REFUSALS = {
    "conflict": "has the id of an earlier row with other content",
    "full": "exceeds the number of rows that a batch may have",
}


class RedisBatches:
    """See `BatchStore`."""

    def __init__(self, client: Client, *, rows_max: int) -> None:
        self._client: Any = client  # the library types replies for texts and bytes at once
        self._rows_max = rows_max
        self._durability = Durability(client)

    async def create(self, batch: NewBatch) -> None:
        keys = BatchKeys(batch.id)
        index = tenant_index(batch.tenant)
        names = [keys.meta, keys.request, keys.webhook, keys.queue, keys.done, keys.ids]
        names += [keys.bad, keys.tally, keys.groups]
        arguments: list[Argument] = [batch.tenant, batch.created_ms, batch.expires_ms]
        kept = "uncopied" if batch.kept else "0"
        with store_unavailable():
            await self._drop_expired(batch)
            if await self._client.zcard(index) >= TENANT_BATCHES_MAX:
                detail = f"There are {TENANT_BATCHES_MAX} batches, the most allowed: delete some."
                raise RequestError("conflict", detail)
            await CREATE.run(
                self._client,
                names,
                [
                    *arguments,
                    batch.request,
                    batch.webhook,
                    batch.shown,
                    kept,
                    "" if batch.seed is None else batch.seed,
                    "1" if batch.grows else "",
                ],
            )
            # In this order a crash in between leaves an empty batch that is on no list and expires;
            # the other way round it would leave a name without a batch.
            await self._client.zadd(index, {batch.id: batch.created_ms})
            await self._client.pexpireat(index, batch.created_ms + KEPT_MS)

    async def _drop_expired(self, batch: NewBatch) -> None:
        """Remove the names of the tenant's batches that have expired since they were listed."""
        index, oldest = tenant_index(batch.tenant), 2 * batch.created_ms - batch.expires_ms
        names = await self._client.zrange(index, "-inf", oldest, byscore=True)
        ids = [name.decode() for name in names]
        gone = set(ids) - {found.id for found in await self._load(batch.tenant, ids)}
        if gone:
            await self._client.zrem(index, *gone)

    async def add(self, batch_id: str, rows: Sequence[NewRow]) -> Added:
        keys = BatchKeys(batch_id)
        names = [keys.meta, keys.ids, keys.queue, keys.order]
        arguments: list[Argument] = [self._rows_max]
        for row in rows:
            key = row_key(row.item_id)
            names.append(keys.row(key))
            arguments += [key, content_digest(row.document), pack(row.item_id, row.document)]
        with store_unavailable():
            answer = await ADD.run(self._client, names, arguments)
        match answer:
            case [b"missing"]:
                raise RequestError("not_found", "No batch has this id.")
            case [b"closed", bytes(status)]:
                raise RequestError("conflict", f"The batch is {status.decode()}, not open.")
        verdicts = [verdict.decode() for verdict in answer[1:]]
        refused = tuple(
            BadRow(row.line, REFUSALS[verdict], row.item_id)
            for row, verdict in zip(rows, verdicts, strict=True)
            if verdict in REFUSALS
        )
        return Added(verdicts.count("new"), verdicts.count("known"), refused)

    async def report(self, batch_id: str, bad: Sequence[BadRow]) -> None:
        keys = BatchKeys(batch_id)
        arguments: list[Argument] = [BAD_ROWS_KEPT_MAX]
        for row in bad:
            record = orjson.dumps([row.line, row.message, row.item_id])
            arguments += [content_digest(record), record]
        with store_unavailable():
            await REPORT.run(self._client, [keys.meta, keys.bad], arguments)

    async def start(self, batch_id: str) -> None:
        keys = BatchKeys(batch_id)
        with store_unavailable():
            # The name is on the list before the batch runs: a crash in between leaves a surplus
            # name, which workers forget, and never a running batch that no worker knows of.
            await self._client.zadd(ACTIVE, {batch_id: now_ms()})
            kept_until_ms = now_ms() + KEPT_MS
            names = keys.everything(0)
            answer = (await START.run(self._client, names, [kept_until_ms])).decode()
            if answer == "kept":
                await expire_rows(self._client, keys, kept_until_ms)
        match answer:
            case "missing":
                raise RequestError("not_found", "No batch has this id.")
            case "empty":
                raise RequestError("conflict", "The batch has no rows.")
            case "cancelled" | "failed":
                raise RequestError("conflict", f"The batch is {answer}.")

    async def seal(self, batch_id: str, *, webhook: bool) -> BatchStatus | None:
        keys = BatchKeys(batch_id)
        names = [keys.meta, keys.queue, keys.later]
        with store_unavailable():
            answer = (await SEAL.run(self._client, names, [int(webhook)])).decode()
        return None if answer == "missing" else cast("BatchStatus", answer)

    async def cancel(self, batch_id: str) -> None:
        keys = BatchKeys(batch_id)
        with store_unavailable():
            await self._client.zadd(ACTIVE, {batch_id: now_ms()})
            names = [keys.meta, *keys.work]
            answer = (await END.run(self._client, names, ["cancelled", ""])).decode()
        match answer:
            case "missing":
                raise RequestError("not_found", "No batch has this id.")
            case "completed" | "decided" | "failed":
                raise RequestError("conflict", f"The batch is {answer}.")

    async def delete(self, batch: Batch) -> None:
        """Remove all that there is of the batch; if this is cut short, the rest expires."""
        keys = BatchKeys(batch.id)
        with store_unavailable():
            await self._client.zrem(tenant_index(batch.tenant), batch.id)
            await self._client.unlink(keys.meta, *keys.work)
            await RedisDeferredCalls(self._client).erase(batch.id)
            async for rows in row_names(self._client, keys):
                await self._client.unlink(*rows)
            rest = keys.everything(batch.total)
            for start in range(0, len(rest), SWEEP_ROWS):
                await self._client.unlink(*rest[start : start + SWEEP_ROWS])
            await self._client.zrem(ACTIVE, batch.id)

    async def durable(self, batch_id: str) -> None:
        with store_unavailable():
            if not await self._durability.reached(BatchKeys(batch_id).meta):
                raise TimeoutError

    async def find(self, tenant: str, batch_id: str) -> Batch | None:
        with store_unavailable():
            stored = await self._client.hgetall(BatchKeys(batch_id).meta)
        return _batch(tenant, batch_id, stored)

    async def request(self, batch_id: str) -> bytes | None:
        with store_unavailable():
            found: bytes | None = await self._client.get(BatchKeys(batch_id).request)
        return found

    async def known_ids(self, batch_id: str, ids: Sequence[str]) -> Collection[str]:
        with store_unavailable():
            found = await self._client.hmget(BatchKeys(batch_id).ids, list(map(row_key, ids)))
        return {id_ for id_, place in zip(ids, found, strict=True) if place is not None}

    async def page(self, tenant: str, before: str, limit: int) -> Sequence[Batch]:
        newest = str(id_time_ms(before)) if before else "+inf"
        found: list[Batch] = []
        step = limit + 1  # `before` itself is among the first names
        for offset in range(0, 2 * TENANT_BATCHES_MAX, step):
            with store_unavailable():
                names = await self._client.zrange(
                    tenant_index(tenant), newest, "-inf", desc=True, byscore=True,
                    offset=offset, num=step,
                )  # fmt: skip
                # Batches of one millisecond sort by id: the page may end between two of them.
                ids = [id_ for id_ in map(bytes.decode, names) if not before or id_ < before]
                found += await self._load(tenant, ids)
            if len(found) >= limit or len(names) < step:
                break
        return found[:limit]

    async def _load(self, tenant: str, ids: Sequence[str]) -> list[Batch]:
        """Those of the batches that are still there, in one round trip."""
        async with self._client.pipeline(transaction=False) as pipe:
            for batch_id in ids:
                pipe.hgetall(BatchKeys(batch_id).meta)
            stored = await pipe.execute()
        batches = (_batch(tenant, *found) for found in zip(ids, stored, strict=True))
        return [batch for batch in batches if batch is not None]

    async def bad_rows(self, batch_id: str, limit: int) -> Sequence[BadRow]:
        found: list[BadRow] = []
        with store_unavailable():
            async for field, record in self._client.hscan_iter(BatchKeys(batch_id).bad):
                if field != b"_":
                    found.append(BadRow(*orjson.loads(record)))
        return sorted(found, key=lambda row: row.line)[:limit]


def _batch(tenant: str, batch_id: str, meta: Mapping[bytes, bytes]) -> Batch | None:
    """A batch from its `meta` hash; None where the tenant has none of that id."""
    text = {name.decode(): value.decode() for name, value in meta.items()}
    if text.get("tenant") != tenant:
        return None

    def number(name: str) -> int:
        return int(text.get(name, 0))

    return Batch(
        id=batch_id,
        tenant=tenant,
        status=cast("BatchStatus", text["status"]),
        created_ms=number("created"),
        expires_ms=number("expires"),
        started_ms=number("started"),
        finished_ms=number("finished"),
        total=number("total"),
        settled=number("settled"),
        rejected=number("rejected"),
        retried=number("retried"),
        parked=number("parked"),
        rows_per_s=float(text.get("rate", 0.0)),
        by_status={status: number(status) for status in ROW_STATUSES},
        sums={name: number(name) for name in SUMS},
        webhook_state=text.get("hook", "none"),
        error=text.get("error", ""),
        shown=meta.get(b"shown", b"{}"),
        kept=text.get("kept", "0") != "0",
        uncopied=text.get("kept") == "uncopied",
        gates=orjson.loads(text.get("gates", "[]")),
    )
