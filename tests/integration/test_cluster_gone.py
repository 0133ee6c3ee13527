"""A Redis Cluster none of whose nodes can be reached is an outage like any other."""

import asyncio

import pytest

from assay.domain.errors import StoreUnavailable
from assay.domain.supervision import Supervisor
from assay.redis.circuit import RedisCircuit
from assay.redis.client import BUDGETED, connect
from assay.redis.outages import store_unavailable
from fakes.batches import until
from fakes.recorded_events import RecordedEvents
from fakes.redis_process import RedisProcess


@pytest.fixture
def cluster(tmp_path):
    process = RedisProcess(tmp_path, cluster=True)
    process.command("CLUSTER", "ADDSLOTS", *range(16_384))
    yield process
    process.stop()


async def test_the_circuit_opens_and_closes_when_the_cluster_is_back(cluster):
    """The probe outlives the outage, or the process would do without its store for ever."""
    redis = connect(cluster.url.replace("redis:", "redis+cluster:").removesuffix("/0"), BUDGETED)
    cluster.kill()
    circuit = RedisCircuit(lambda: redis.get("probe"), Supervisor(RecordedEvents()), budget_s=1.0)
    with pytest.raises(StoreUnavailable):
        await circuit.call(lambda: redis.get("x"))
    await asyncio.sleep(0.6)
    assert not circuit.closed
    cluster.start()
    await until(lambda: circuit.closed)
    assert await circuit.call(lambda: redis.get("x")) is None
    await circuit.aclose()
    await redis.aclose()


async def test_a_cluster_that_is_gone_is_an_outage_of_the_store(cluster):
    """As for a single server: a problem with a name, not an internal error."""
    redis = connect(cluster.url.replace("redis:", "redis+cluster:").removesuffix("/0"))
    cluster.kill()
    with pytest.raises(StoreUnavailable), store_unavailable():
        await redis.get("x")
    await redis.aclose()
