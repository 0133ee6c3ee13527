"""Waits until what was written is on Redis' disk: before that, a crash could still undo it."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis, RedisCluster
from redis.exceptions import ResponseError

from assay.redis.client import Client

WAIT_MS = 1_000
"""Of one `WAITAOF`: less than a client waits for an answer, else it drops the connection."""
WAITS_MAX = 6
KEY_MS = 60_000
FLUSH_EVERY_S = 1.1
"""`everysec` begins a flush at least once a second, so there is one between two quiet moments
further apart than that."""
LOOK_EVERY_S = 0.1
LOOKS_MAX = 30
"""For one quiet moment: a disk may be busy with flushes most of the time."""


class Durability:
    """Finds out, by what the server offers, when its append-only file is on disk.

    `WAITAOF` (Redis 7.2) says it exactly. In older servers `appendfsync always` writes before it
    answers, and `everysec` is watched through INFO. With the append-only file off there is no disk
    to wait for: the operator chose a server that keeps nothing through a restart.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._has_waitaof = isinstance(client, Redis)

    async def reached(self, key: str) -> bool:
        """Whether all that was written to `key`'s node is on its disk, as soon as it is."""
        if self._has_waitaof:
            try:
                return await self._waitaof(key)
            except ResponseError:
                self._has_waitaof = False
        return await self._looked(key)

    async def _waitaof(self, key: str) -> bool:
        """WAITAOF waits for the last write of its own connection, so there is one.

        A repeat on this connection waits for the same write, and no flush is missed between.
        """
        assert isinstance(self._client, Redis)  # noqa: S101  # see _has_waitaof
        async with self._client.client() as connection:
            await connection.set(key, 1, px=KEY_MS)
            for _ in range(WAITS_MAX):
                flushed, _ = await connection.waitaof(1, 0, WAIT_MS)
                if flushed:
                    return True
        return False

    async def _looked(self, key: str) -> bool:
        state = await self._persistence(key)
        if not state.get("aof_enabled") or await self._is_always(key):
            return True
        if not await self._is_quiet(key):
            return False
        await asyncio.sleep(FLUSH_EVERY_S)
        return await self._is_quiet(key)

    async def _is_quiet(self, key: str) -> bool:
        """Whether all is in the file and no flush is under way, as soon as that is so."""
        for _ in range(LOOKS_MAX):
            state = await self._persistence(key)
            if not (state.get("aof_buffer_length", 0) or state.get("aof_pending_bio_fsync", 0)):
                return True
            await asyncio.sleep(LOOK_EVERY_S)
        return False

    async def _persistence(self, key: str) -> dict[str, int]:
        if isinstance(self._client, RedisCluster):
            node = self._client.get_node_from_key(key)
            found = await self._client.info("persistence", target_nodes=node)
        else:
            found = await self._client.info("persistence")
        return dict(found)

    async def _is_always(self, key: str) -> bool:
        try:
            if isinstance(self._client, RedisCluster):
                node = self._client.get_node_from_key(key)
                found = await self._client.config_get("appendfsync", target_nodes=node)
            else:
                found = await self._client.config_get("appendfsync")
        except ResponseError:
            return False  # a managed server that hides its configuration
        return found.get("appendfsync") == "always"
