"""A real Redis whose scripts read a time that the test sets."""

from __future__ import annotations

from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError

CLOCK = "test:clock"


class ScriptedClock:
    """Runs each script with `TIME` replaced by a key; everything else is the real thing."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def set_us(self, now_us: int) -> None:
        seconds, microseconds = divmod(now_us, 1_000_000)
        self._redis.hset(CLOCK, mapping={"s": seconds, "us": microseconds})

    async def evalsha(self, sha: str, *_: Any) -> Any:
        raise NoScriptError(sha)

    async def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any:
        scripted = script.replace(
            "redis.call('TIME')", f"redis.call('HMGET', '{CLOCK}', 's', 'us')"
        )
        return self._redis.eval(scripted, numkeys, *keys_and_args)
