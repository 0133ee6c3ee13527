"""What all calls about batches share: their scripts, and one error for a store that is away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files

from redis.exceptions import RedisClusterException, RedisError

from assay.domain.errors import StoreUnavailable
from assay.redis.client import Client, Script, script

STORE_ERRORS = (RedisError, RedisClusterException, OSError, TimeoutError)


def load(client: Client, name: str) -> Script:
    """The script `NAME.lua` beside this file."""
    return script(client, files("assay.store.batches").joinpath(f"{name}.lua").read_text("utf-8"))


@contextmanager
def store_errors() -> Iterator[None]:
    """Raise `StoreUnavailable` for whatever Redis or the way to it fails with."""
    try:
        yield
    except STORE_ERRORS as error:
        raise StoreUnavailable("The store does not answer.") from error
