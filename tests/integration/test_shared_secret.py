"""The secret that all pods share, on a real Redis."""

from __future__ import annotations

import asyncio
from pathlib import Path

from redis.asyncio import Redis

from assay.redis.client import connect
from assay.store.shared_secret import shared_secret
from fakes.redis_process import RedisProcess


async def test_all_processes_get_the_same_secret(tmp_path: Path) -> None:
    """Whoever comes first makes it, even if many come at once; each name has its own."""
    process = RedisProcess(tmp_path, keep=False)
    try:
        async with Redis.from_url(process.url) as redis:
            secrets = await asyncio.gather(*(shared_secret(redis, "x") for _ in range(20)))
            other = await shared_secret(redis, "y")
        assert len(set(secrets)) == 1
        assert len(secrets[0]) == 32
        assert other != secrets[0]
    finally:
        process.stop()


async def test_without_redis_a_process_has_its_own() -> None:
    """It starts all the same, and nobody can guess its secret."""
    redis = connect("redis://127.0.0.1:1")
    first, second = [await shared_secret(redis, "x") for _ in range(2)]
    await redis.aclose()
    assert first != second
