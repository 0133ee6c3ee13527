"""A Redis Cluster none of whose nodes can be reached is an outage like any other."""

import asyncio

import pytest

from assay.domain.errors import StoreUnavailable
from assay.redis.circuit import RedisCircuit
from assay.redis.client import BUDGETED, connect
from assay.store.batches.calls import store_errors
from fakes.redis_process import RedisProcess


@pytest.fixture
def cluster(tmp_path):
    process = RedisProcess(tmp_path, cluster=True)
    process.command("CLUSTER", "ADDSLOTS", *range(16_384))
    yield process
    process.stop()


async def test_the_circuit_opens_and_is_healed_when_the_cluster_is_back(cluster):
    """The probe outlives the outage, or the process would do without its store for ever."""
    redis = connect(cluster.url.replace("redis:", "redis+cluster:").removesuffix("/0"), BUDGETED)
    cluster.kill()
    circuit = RedisCircuit(lambda: redis.get("probe"), lambda _: None, budget_s=1.0)
    with pytest.raises(StoreUnavailable):
        await circuit.call(lambda: redis.get("x"))
    await asyncio.sleep(0.6)
    assert not circuit.closed
    cluster.start()
    await circuit.healed(10)
    assert circuit.closed
    assert await circuit.call(lambda: redis.get("x")) is None
    await circuit.close()
    await redis.aclose()


async def test_the_batches_tell_that_the_store_is_away(cluster):
    """As for a single server: a problem with a name, not an error of ours."""
    redis = connect(cluster.url.replace("redis:", "redis+cluster:").removesuffix("/0"))
    cluster.kill()
    with pytest.raises(StoreUnavailable), store_errors():
        await redis.get("x")
    await redis.aclose()
