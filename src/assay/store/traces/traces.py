"""Spans in Redis until they are judged; all keys of a tenant share a slot, and so one disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import orjson

from assay.domain.errors import StoreUnavailable
from assay.domain.exact_json import dumps, loads
from assay.domain.ids import now_ms
from assay.domain.traces import DueGroup, Observation, PendingSpan, RuleState, SpansSeen
from assay.redis.client import Client
from assay.redis.durability import Durability
from assay.redis.outages import store_unavailable
from assay.redis.scripts import Argument, load_script
from assay.store.packing import pack, unpack
from assay.store.shared_secret import stored_secret

ACCEPT = load_script(__package__, "accept")
FINISH = load_script(__package__, "finish")

GROUPS_MAX = 50_000
"""Groups of one rule that may wait; there are more only if nothing judges them."""
GROUP_SPANS_MAX = 1_000
GROUP_BYTES_MAX = 8 * 1_048_576
KEPT_MS = 24 * 3_600_000
"""How long a span waits at most, and for how long a judged group is known."""
NOT_UNDERSTOOD_MAX = 50
BATCHES_MAX = 1_000
"""Of a rule, the last ones."""
STATE_MS = 40 * 86_400_000
"""How long is known what a rule has done."""
MOVES: Mapping[str, str] = {"never": "NX", "sooner": "LT", "later": "GT"}
OWN_FIELDS = (b"done", b"bytes")
"""Fields of a group beside its spans."""
OPEN, COUNT = "open:", "count:"
"""The first parts of fields of a rule's state."""


class _Keys:
    """The keys of a tenant."""

    def __init__(self, tenant: str) -> None:
        self.prefix = f"assay:v1:{{{tenant}}}:traces:"
        self.seen = self.prefix + "seen"
        self.not_understood = self.prefix + "not-understood"

    def due(self, rule_id: str) -> str:
        return f"{self.prefix}{rule_id}:due"

    def batches(self, rule_id: str) -> str:
        return f"{self.prefix}{rule_id}:batches"

    def state(self, rule_id: str) -> str:
        return f"{self.prefix}{rule_id}:state"

    def group(self, rule_id: str, group: str) -> str:
        return f"{self.prefix}{rule_id}:group:{group}"


class RedisTraces:
    """See `TraceStore`."""

    def __init__(self, client: Client) -> None:
        self._client: Any = client  # the library types replies for texts and bytes at once
        self._durability = Durability(client)
        self._key = b""

    async def key(self) -> bytes:
        if not self._key:
            with store_unavailable():
                self._key = await stored_secret(self._client, "traces")
        return self._key

    async def accept(
        self,
        tenant: str,
        spans: Sequence[PendingSpan],
        outcomes: Mapping[str, int],
        not_understood: Sequence[Mapping[str, Any]],
    ) -> int:
        keys = _Keys(tenant)
        names = [keys.seen, keys.not_understood]
        arguments: list[Argument] = [KEPT_MS, GROUPS_MAX, GROUP_SPANS_MAX, GROUP_BYTES_MAX]
        arguments += [NOT_UNDERSTOOD_MAX, len(outcomes), len(not_understood)]
        arguments += [part for pair in outcomes.items() for part in pair]
        arguments += [orjson.dumps(dict(one)) for one in not_understood]
        for span in spans:
            names += [keys.due(span.rule_id), keys.group(span.rule_id, span.group)]
            content = pack(None, dumps(asdict(span.observation)))
            arguments += [span.group, round(span.wait_s * 1_000), MOVES[span.moves]]
            arguments += [span.observation.span_id, content]
        with store_unavailable():
            full = int(await ACCEPT.run(self._client, names, arguments))
            if spans and not await self._durability.reached(keys.seen):
                raise StoreUnavailable("Storage does not write to its disk.")
        return full

    async def seen(self, tenant: str) -> SpansSeen:
        keys = _Keys(tenant)
        with store_unavailable():
            counts = await self._client.hgetall(keys.seen)
            listed = await self._client.lrange(keys.not_understood, 0, -1)
        outcomes = {name.decode(): int(count) for name, count in counts.items()}
        return SpansSeen(outcomes, [orjson.loads(one) for one in listed])

    async def due(self, tenant: str, rule_id: str, limit: int) -> Sequence[DueGroup]:
        keys = _Keys(tenant)
        with store_unavailable():
            due = await self._client.zrange(
                keys.due(rule_id), "-inf", now_ms(),
                byscore=True, offset=0, num=limit, withscores=True,
            )  # fmt: skip
            async with self._client.pipeline(transaction=False) as pipe:
                for group, _ in due:
                    pipe.hgetall(keys.group(rule_id, group.decode()))
                found = await pipe.execute()
        return [
            DueGroup(group.decode(), int(due_ms), list(map(_observation, _spans(fields))))
            for (group, due_ms), fields in zip(due, found, strict=True)
        ]

    async def finish(
        self, tenant: str, rule_id: str, groups: Sequence[str],
        counts: Mapping[str, int], minute: int, in_minute: int,
    ) -> None:  # fmt: skip
        keys = _Keys(tenant)
        names = [keys.due(rule_id), keys.state(rule_id)]
        names += [keys.group(rule_id, group) for group in groups]
        arguments: list[Argument] = [KEPT_MS, minute, in_minute, STATE_MS, len(counts)]
        for name, count in counts.items():
            arguments += [COUNT + name, count]
        with store_unavailable():
            await FINISH.run(self._client, names, [*arguments, *groups])

    async def state(self, tenant: str, rule_id: str) -> RuleState:
        keys = _Keys(tenant)
        with store_unavailable():
            found = await self._client.hgetall(keys.state(rule_id))
            pending = await self._client.zcard(keys.due(rule_id))
            first = await self._client.zrange(keys.due(rule_id), 0, 0, withscores=True)
        text = {name.decode(): value.decode() for name, value in found.items()}

        def numbers(prefix: str) -> dict[str, int]:
            chosen = {name for name in text if name.startswith(prefix)}
            return {name.removeprefix(prefix): int(text[name]) for name in sorted(chosen)}

        return RuleState(
            open=numbers(OPEN),
            counts=numbers(COUNT),
            minute=int(text.get("minute", 0)),
            in_minute=int(text.get("in_minute", 0)),
            paused=text.get("paused", ""),
            pending=pending,
            next_due_ms=int(first[0][1]) if first else None,
        )

    async def pause(self, tenant: str, rule_id: str, reason: str) -> None:
        with store_unavailable():
            await self._client.hset(_Keys(tenant).state(rule_id), "paused", reason)

    async def open_batch(self, tenant: str, rule_id: str, batch_id: str, hour_ms: int) -> None:
        with store_unavailable():
            keys = _Keys(tenant)
            async with self._client.pipeline() as pipe:
                pipe.hset(keys.state(rule_id), OPEN + batch_id, hour_ms)
                pipe.zadd(keys.batches(rule_id), {batch_id: hour_ms})
                pipe.zremrangebyrank(keys.batches(rule_id), 0, -BATCHES_MAX - 1)
                pipe.pexpire(keys.batches(rule_id), STATE_MS)
                await pipe.execute()

    async def batches(self, tenant: str, rule_id: str, from_ms: int, to_ms: int) -> Sequence[str]:
        with store_unavailable():
            found = await self._client.zrange(
                _Keys(tenant).batches(rule_id), to_ms, from_ms, byscore=True, desc=True
            )
        return [batch_id.decode() for batch_id in found]

    async def close_batch(self, tenant: str, rule_id: str, batch_id: str) -> None:
        with store_unavailable():
            await self._client.hdel(_Keys(tenant).state(rule_id), OPEN + batch_id)

    async def forget(self, tenant: str, rule_id: str) -> None:
        keys = _Keys(tenant)
        with store_unavailable():  # the groups themselves expire
            await self._client.unlink(keys.due(rule_id), keys.state(rule_id), keys.batches(rule_id))


def _spans(fields: Mapping[bytes, bytes]) -> list[bytes]:
    return [content for name, content in fields.items() if name not in OWN_FIELDS]


def _observation(packed: bytes) -> Observation:
    return Observation(**loads(unpack(packed)[1]))
