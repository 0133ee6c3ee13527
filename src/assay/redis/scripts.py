"""Lua scripts: loaded from the packages that own them, run by EVALSHA, else by EVAL."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Protocol

from redis.exceptions import NoScriptError

Argument = str | bytes | int | float


class ScriptRunner(Protocol):
    """The part of `redis.asyncio.Redis` and `RedisCluster` that runs scripts."""

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Awaitable[Any]: ...

    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Awaitable[Any]: ...


@dataclass(frozen=True, slots=True)
class Script:
    """One Lua script; all keys of a call must share one hash tag."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest)

    async def run(
        self, redis: ScriptRunner, keys: Sequence[str], arguments: Sequence[Argument] = ()
    ) -> Any:
        """Run on the node that holds the keys, and load the script there if it is new to it."""
        try:
            return await redis.evalsha(self.sha, len(keys), *keys, *arguments)
        except NoScriptError:
            return await redis.eval(self.text, len(keys), *keys, *arguments)


def load_script(package: str, *names: str) -> Script:
    """The named `.lua` files of a package, joined into one script."""
    texts = [files(package).joinpath(f"{name}.lua").read_text("utf-8") for name in names]
    return Script("\n".join(texts))
