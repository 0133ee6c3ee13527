"""Whether Redis can be written to is watched, told and shown in readiness."""

from __future__ import annotations

import asyncio

import pytest

from assay.domain.events import StoreDegraded
from assay.domain.supervision import Supervisor
from assay.redis.client import connect
from assay.redis.watch import StoreWatch
from fakes.batches import until
from fakes.recorded_events import RecordedEvents
from fakes.redis_process import RedisProcess


@pytest.fixture
def server(tmp_path):
    server = RedisProcess(tmp_path)
    yield server
    server.stop()


def fill(server: RedisProcess) -> None:
    server.command("CONFIG", "SET", "maxmemory", "1")


def drain(server: RedisProcess) -> None:
    server.command("CONFIG", "SET", "maxmemory", "0")


@pytest.mark.parametrize(
    ("trouble", "cure", "said"),
    [(RedisProcess.pause, RedisProcess.resume, "TimeoutError"), (fill, drain, "maxmemory")],
    ids=["silent", "full"],
)
async def test_an_outage_is_told_once_and_so_is_its_end(server, trouble, cure, said):
    """A Redis that is out of memory answers, and takes nothing: that is an outage as well."""
    events = RecordedEvents()
    client = connect(server.url)
    watch = StoreWatch(client, events)
    async with Supervisor(events) as supervisor:
        supervisor.start("store_watch", watch.run)
        trouble(server)
        await until(lambda: not watch.available)
        cure(server)
        await until(lambda: watch.available)
    await client.aclose()
    outage, end = events.of(StoreDegraded)
    assert (outage.available, end.available) == (False, True)
    assert said in outage.fault


async def test_a_process_that_starts_without_redis_is_told(tmp_path):
    """The first look already finds the outage."""
    events = RecordedEvents()
    client = connect(f"unix://{tmp_path}/none.sock")
    watch = StoreWatch(client, events)
    async with Supervisor(events) as supervisor:
        supervisor.start("store_watch", watch.run)
        await asyncio.wait_for(until(lambda: not watch.available), 10)
    await client.aclose()
    assert len(events.of(StoreDegraded)) == 1
