"""The calls of batches that jobs of a provider answer, in Redis. See `DeferredCalls`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Literal, cast

import orjson

from assay.domain.batches import BatchStatus
from assay.domain.ids import now_ms
from assay.domain.provider_jobs import (
    CallState,
    DeferredAnswer,
    DeferredCall,
    Outbox,
    ProviderJob,
)
from assay.redis.client import Client
from assay.redis.outages import store_unavailable
from assay.redis.scripts import Argument, load_script
from assay.store.batches.keys import DEFERRED, BatchKeys
from assay.store.packing import pack, unpack

PUT = load_script(__package__, "prelude", "put_call")
TAKE = load_script(__package__, "take_calls")
RESOLVE = load_script(__package__, "resolve")

BODIES_AT_ONCE = 500
SWEPT_AT_ONCE = 1_000


class RedisDeferredCalls:
    """See `DeferredCalls`."""

    def __init__(self, client: Client) -> None:
        self._client: Any = client  # the library types replies for texts and bytes at once

    async def find(self, batch_id: str, key: str) -> DeferredAnswer | None:
        with store_unavailable():
            state, packed = await self._client.hmget(BatchKeys(batch_id).call(key), ["s", "a"])
        if state is None:
            return None
        answer = unpack(packed)[1] if packed else b""
        return DeferredAnswer(cast("CallState", state.decode()), answer)

    async def put(self, batch_id: str, call: DeferredCall) -> bool:
        keys = BatchKeys(batch_id)
        names = [keys.meta, keys.call(call.key), keys.calls, keys.outboxes]
        details = orjson.dumps(asdict(replace(call, body=b"")) | {"body": None})
        with store_unavailable():
            # On the list first: a surplus name is forgotten, a missing one would leave rows parked.
            await self._client.sadd(DEFERRED, batch_id)
            new = await PUT.run(
                self._client,
                [*names, keys.outbox(call.model)],
                [call.key, call.row, call.model, pack(None, call.body), len(call.body), details],
            )
        return bool(new)

    async def keep(self, batch_id: str, key: str, answer: bytes, row: str = "") -> None:
        keys = BatchKeys(batch_id)
        name, fields = keys.call(key), {"s": "asked", "a": pack(None, answer)}
        with store_unavailable():
            if row and (expires := await self._client.hget(keys.meta, "expires")):
                await self._client.sadd(DEFERRED, batch_id)
                async with self._client.pipeline(transaction=True) as pipe:
                    pipe.sadd(keys.calls, f"{row}:{key}").pexpireat(keys.calls, int(expires))
                    pipe.hset(name, mapping=fields).pexpireat(name, int(expires))
                    await pipe.execute()
            elif await self._client.exists(name):
                await self._client.hset(name, mapping=fields)

    async def batches(self) -> Sequence[str]:
        with store_unavailable():
            return [name.decode() for name in await self._client.smembers(DEFERRED)]

    async def outbox(self, batch_id: str) -> Outbox:
        keys = BatchKeys(batch_id)
        with store_unavailable():
            fields = ["status", "tenant", "total", "settled"]
            status, tenant, total, settled = await self._client.hmget(keys.meta, fields)
            if status is None:
                return Outbox(None)
            parked = await self._client.hlen(keys.parked)
            ages = await self._client.hgetall(keys.outboxes)
        return Outbox(
            cast("BatchStatus", status.decode()),
            tenant.decode(),
            int(total) - int(settled) - parked,
            {model.decode(): now_ms() - int(since) for model, since in ages.items()},
        )

    async def jobs(self, batch_id: str) -> Sequence[ProviderJob]:
        with store_unavailable():
            found = await self._client.hvals(BatchKeys(batch_id).jobs)
        documents = map(orjson.loads, found)
        return [ProviderJob(**{**one, "others": tuple(one["others"])}) for one in documents]

    async def take(
        self, batch_id: str, job: ProviderJob, calls_max: int, bytes_max: int
    ) -> Sequence[str]:
        keys = BatchKeys(batch_id)
        names = [keys.meta, keys.outboxes, keys.outbox(job.model), keys.jobs, keys.job(job.token)]
        note = orjson.dumps(asdict(job))
        arguments: list[Argument] = [job.model, job.token, note, calls_max, bytes_max]
        with store_unavailable():
            return [key.decode() for key in await TAKE.run(self._client, names, arguments)]

    async def keys(self, batch_id: str, job: ProviderJob) -> Sequence[str]:
        with store_unavailable():
            found = await self._client.lrange(BatchKeys(batch_id).job(job.token), 0, -1)
        return [key.decode() for key in found]

    async def bodies(self, batch_id: str, keys: Sequence[str]) -> Sequence[tuple[str, bytes]]:
        names = BatchKeys(batch_id)
        found: list[tuple[str, bytes | None]] = []
        with store_unavailable():
            for start in range(0, len(keys), BODIES_AT_ONCE):
                some = keys[start : start + BODIES_AT_ONCE]
                async with self._client.pipeline(transaction=False) as pipe:
                    for key in some:
                        pipe.hget(names.call(key), "b")
                    found += zip(some, await pipe.execute(), strict=True)
        return [(key, unpack(packed)[1]) for key, packed in found if packed is not None]

    async def change(self, batch_id: str, job: ProviderJob) -> None:
        keys = BatchKeys(batch_id)
        with store_unavailable():
            await self._client.hset(keys.jobs, job.token, orjson.dumps(asdict(job)))

    async def resolve(
        self, batch_id: str, key: str, state: CallState, answer: bytes = b""
    ) -> DeferredCall | Literal["known", "gone"]:
        keys = BatchKeys(batch_id)
        names = [keys.meta, keys.queue, keys.parked, keys.call(key)]
        with store_unavailable():
            outcome, *details = await RESOLVE.run(
                self._client, names, [state, pack(None, answer) if answer else b""]
            )
        if outcome != b"new":
            return "known" if outcome == b"known" else "gone"
        fields = orjson.loads(details[0])
        return DeferredCall(**{**fields, "body": b"", "criteria": tuple(fields["criteria"])})

    async def close(self, batch_id: str, job: ProviderJob) -> None:
        keys = BatchKeys(batch_id)
        with store_unavailable():
            await self._client.hdel(keys.jobs, job.token)
            await self._client.unlink(keys.job(job.token))

    async def forget(self, batch_id: str) -> Sequence[DeferredCall]:
        with store_unavailable():
            unsent = await self.erase(batch_id)
            await self._client.srem(DEFERRED, batch_id)
        return unsent

    async def erase(
        self, batch_id: str, rows: frozenset[str] | None = None
    ) -> Sequence[DeferredCall]:
        """Remove the calls of these rows, or all of the batch; those that were still waiting.

        Rows that wait for one go on.
        """
        keys = BatchKeys(batch_id)
        if rows is None:
            models = await self._client.hkeys(keys.outboxes)
            outboxes = [keys.outbox(model.decode()) for model in models]
            await self._client.unlink(keys.outboxes, *outboxes)
        some: list[bytes] = []
        waiting: list[DeferredCall] = []
        async for member in self._client.sscan_iter(keys.calls, count=SWEPT_AT_ONCE):
            row, _, key = member.decode().partition(":")
            if rows is None or row in rows:
                call = await self.resolve(batch_id, key, "undelivered")
                if isinstance(call, DeferredCall):
                    waiting.append(call)
                await self._client.unlink(keys.call(key))
                some.append(member)
        if some:
            await self._client.srem(keys.calls, *some)
        return waiting
