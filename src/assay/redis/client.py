"""Makes Redis clients from a URL: one server or a cluster, TLS, ACL users, unix sockets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster")

Client = Redis | RedisCluster


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Bounds of one client; a caller with less time puts its own budget around a call.

    Without `pool_wait_s` a call beyond `connections_max` fails at once, and without `answer_s` it
    waits for ever: each of the two costs a timer or a task for each call.
    """

    connections_max: int = 64
    pool_wait_s: float | None = 2.0
    connect_s: float = 1.0
    answer_s: float | None = 2.0
    health_check_s: int = 30


BUDGETED = ClientLimits(pool_wait_s=None, answer_s=None)
"""For callers who themselves bound the number and the time of their calls."""


def connect(url: str, limits: ClientLimits | None = None) -> Client:
    """A client for `url`; it connects at its first call, and answers in bytes.

    `redis://`, `rediss://` (TLS) and `unix://` mean one server; `redis+cluster://` and
    `rediss+cluster://` the cluster that the named server belongs to. Options of a connection,
    such as `ssl_ca_certs`, go into the query. Raises `ValueError` for another scheme.
    """
    limits = limits or ClientLimits()
    scheme = urlsplit(url).scheme
    if scheme not in SCHEMES:
        raise ValueError(f"a Redis URL starts with one of {', '.join(SCHEMES)}")
    # The caller decides on a repeat: it knows its deadline, and whether a repeat is safe.
    options: dict[str, Any] = {
        "socket_timeout": limits.answer_s,
        "health_check_interval": limits.health_check_s,
        "retry": Retry(NoBackoff(), 0),
    }
    if scheme != "unix":
        options["socket_connect_timeout"] = limits.connect_s
    if scheme.endswith("+cluster"):
        plain = url.replace("+cluster", "", 1)
        return RedisCluster.from_url(plain, max_connections=limits.connections_max, **options)
    options["max_connections"] = limits.connections_max
    if limits.pool_wait_s is None:
        return Redis.from_pool(ConnectionPool.from_url(url, **options))
    options["timeout"] = limits.pool_wait_s
    return Redis.from_pool(BlockingConnectionPool.from_url(url, **options))
