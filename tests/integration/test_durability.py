"""What is answered is on the disk of Redis, an old one as well as one of today."""

from __future__ import annotations

import pytest

from assay.redis import durability
from assay.redis.client import connect
from assay.redis.durability import Durability
from fakes.redis_process import RedisProcess, servers


@pytest.fixture(scope="module", params=servers().items(), ids=lambda item: item[0])
def server(request, tmp_path_factory):
    process = RedisProcess(tmp_path_factory.mktemp("redis"), request.param[1])
    yield process
    process.stop()


@pytest.fixture
async def client(server):
    client = connect(server.url)
    yield client
    await client.aclose()


async def test_a_server_that_flushes_each_second_is_waited_for(client):
    """A flush that has begun later is behind the write."""
    await client.set("key", "value")
    assert await Durability(client).reached("key")


async def test_a_server_that_writes_before_it_answers_needs_no_wait(client, monkeypatch):
    """Nor does one without a file, whose operator chose to keep nothing."""
    monkeypatch.setattr(durability, "FLUSH_EVERY_S", 3_600)
    await client.config_set("appendfsync", "always")
    assert await Durability(client).reached("key")
    await client.config_set("appendonly", "no")
    await client.config_set("appendfsync", "everysec")
    assert await Durability(client).reached("key")
