"""Responses as stored values, their keys, and the clients that URLs stand for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.domain.ports import StoredResponse
from assay.redis.client import connect
from assay.store.idempotency.leases import pack_response, record_key, unpack_response

names = st.text(st.characters(codec="ascii"), max_size=20)


@given(
    st.integers(100, 599),
    st.lists(st.tuples(names, names), max_size=4),
    st.binary() | st.binary(min_size=5_000, max_size=6_000),
)
def test_an_answer_comes_back_as_it_was_kept(status, headers, body):
    """Byte for byte, whether it was compressed or not."""
    answer = StoredResponse(status, tuple(headers), body)
    assert unpack_response(pack_response(answer)) == answer


def test_a_record_is_in_its_tenants_slot_and_hides_the_key():
    """The hash tag is the tenant; what the caller chose as a key is not in Redis."""
    key = record_key("acme", "order 17")
    assert key.startswith("assay:v2:{acme}:idempotency:")
    assert "17" not in key.removeprefix("assay:v2:{acme}:idempotency:")[64:]
    assert key != record_key("acme", "order 18")


async def test_a_url_decides_the_kind_of_client():
    """One server, TLS, a unix socket or a cluster; anything else is refused by name."""
    assert connect("unix:///x").connection_pool.connection_kwargs["path"] == "/x"
    secure = connect("rediss://user:pw@host:1/2").connection_pool
    assert secure.connection_kwargs["username"] == "user"
    assert secure.connection_class.__name__ == "SSLConnection"
    cluster = connect("rediss+cluster://user:pw@host:1")
    assert type(cluster).__name__ == "RedisCluster"
    await cluster.aclose()
    with pytest.raises(ValueError, match="starts with"):
        connect("http://host")
