"""Waits until what was written is on Redis' disk: before that, a crash could still undo it."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio import RedisCluster
from redis.exceptions import ResponseError

from assay.redis.client import Client

FLUSH_EVERY_S = 1.2
"""`everysec` begins a flush at least once a second, as its timer of 100 ms allows, so there is one
between two quiet moments further apart than that."""
LOOK_EVERY_S = 0.1
LOOKS_MAX = 30
"""For one quiet moment: a disk may be busy with flushes most of the time."""


class Durability:
    """Finds out from INFO when a server's append-only file is on disk.

    `appendfsync always` writes before it answers, and `everysec` is watched. With the append-only
    file off there is no disk to wait for: the operator chose a server that keeps nothing through a
    restart. `WAITAOF` is not asked: with `everysec`, Redis 7.4 and Valkey 9.1 answer it before
    the flush (redis/redis pull request 13793).
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def reached(self, key: str) -> bool:
        """Whether all that was written to `key`'s node is on its disk, as soon as it is."""
        state = await self._info(key)
        if not state.get("aof_enabled") or await self._is_always(key):
            return True
        server = state.get("run_id")
        if not await self._is_quiet(key, server):
            return False
        await asyncio.sleep(FLUSH_EVERY_S)
        return await self._is_quiet(key, server)

    async def _is_quiet(self, key: str, server: object) -> bool:
        """Whether all is in the file and no flush is under way, as soon as that is so.

        A server that has started since may have lost what was not in the file yet.
        """
        for _ in range(LOOKS_MAX):
            state = await self._info(key)
            if state.get("run_id") != server:
                return False
            if not (state.get("aof_buffer_length", 0) or state.get("aof_pending_bio_fsync", 0)):
                return True
            await asyncio.sleep(LOOK_EVERY_S)
        return False

    async def _info(self, key: str) -> dict[str, Any]:
        if isinstance(self._client, RedisCluster):
            node = self._client.get_node_from_key(key)
            found = await self._client.info(target_nodes=node)
        else:
            found = await self._client.info()
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
