"""What is answered is on Redis' disk, as old and new servers say so."""

from __future__ import annotations

import asyncio

import pytest

from assay.redis.client import ClientLimits, connect
from assay.store.batches.durability import WAIT_MS, Durability
from fakes.redis_process import VALKEY, RedisProcess, servers

ANSWER_S = 0.5


@pytest.fixture(scope="module", params=servers().items(), ids=lambda item: item[0])
def server(request, tmp_path_factory):
    process = RedisProcess(tmp_path_factory.mktemp("redis"), request.param[1])
    yield process
    process.stop()


@pytest.fixture(scope="module")
def valkey(tmp_path_factory):
    """A server that knows `WAITAOF`, and whose flushes a test begins."""
    process = RedisProcess(tmp_path_factory.mktemp("valkey"), VALKEY, fsync="no")
    yield process
    process.stop()


async def test_a_server_that_flushes_is_waited_for(server):
    """Each second where it is watched through INFO; at once where it writes before it answers."""
    client = connect(server.url)
    assert await Durability(client).reached("key")
    server.command("CONFIG", "SET", "appendfsync", "always")
    assert await Durability(client).reached("key")
    await client.aclose()


async def test_a_server_without_a_file_has_no_disk_to_wait_for(server):
    """Its operator chose one that keeps nothing."""
    client = connect(server.url)
    server.command("CONFIG", "SET", "appendonly", "no")
    assert await Durability(client).reached("key")
    await client.aclose()


async def test_a_flush_may_take_longer_than_an_answer_of_redis(valkey, monkeypatch):
    """The client drops a connection that is silent for so long, and the write with it."""
    assert 1_000 * ClientLimits().answer_s > WAIT_MS
    monkeypatch.setattr("assay.store.batches.durability.WAIT_MS", 200)
    client = connect(valkey.url, ClientLimits(answer_s=ANSWER_S))
    valkey.command("CONFIG", "SET", "appendfsync", "no")
    waiting = asyncio.create_task(Durability(client).reached("key"))
    done, _ = await asyncio.wait({waiting}, timeout=2 * ANSWER_S)
    assert not done
    valkey.command("CONFIG", "SET", "appendfsync", "always")
    assert await waiting
    await client.aclose()


async def test_a_disk_that_takes_nothing_is_no_disk(valkey, monkeypatch):
    """The caller is told, and repeats what may be lost."""
    monkeypatch.setattr("assay.store.batches.durability.WAIT_MS", 50)
    client = connect(valkey.url)
    valkey.command("CONFIG", "SET", "appendfsync", "no")
    assert not await Durability(client).reached("key")
    await client.aclose()
