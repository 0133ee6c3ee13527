"""Idempotency across processes: one record in Redis for each tenant and key."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
import zlib
from collections.abc import Awaitable
from importlib.resources import files
from typing import Any

import orjson
from redis.exceptions import RedisClusterException, RedisError

from assay.domain.errors import DeadlineExceeded, RequestError, StoreUnavailable
from assay.domain.policy import Deadline
from assay.domain.ports import StoredResponse
from assay.redis.client import Argument, Client, Script, script

KEPT_S = 24 * 3_600
LEASE_S = 10.0
"""A process that dies while it runs a request holds the key no longer than this."""
RENEWALS_PER_LEASE = 3
POLL_S = 0.02
POLL_MAX_S = 0.25
POLL_GROWTH = 1.5
COMPRESS_OVER_BYTES = 4_096
ANSWER_BYTES_MAX = 4 * 1_048_576
"""A larger answer is not kept: a retry runs again rather than fill the store."""
STORE_ERRORS = (RedisError, RedisClusterException, OSError, TimeoutError)


class RedisIdempotency:
    """Answers of requests with an idempotency key, shared by all processes on one Redis."""

    def __init__(self, client: Client, *, lease_s: float = LEASE_S, kept_s: float = KEPT_S) -> None:
        self._scripts = _Scripts(client)
        self._lease_s = lease_s
        self._kept_s = kept_s

    async def claim(
        self, tenant: str, key: str, digest: str, deadline: Deadline
    ) -> RedisIdempotencyLease | StoredResponse:
        """See `IdempotencyStore.claim`; a lapsed lease passes to the first who asks."""
        lease = RedisIdempotencyLease(
            self._scripts, record_key(tenant, key), digest, self._lease_s, self._kept_s
        )
        wait_s = POLL_S
        while True:
            match await lease.ask():
                case [b"claimed"]:
                    lease.start()
                    return lease
                case [b"kept", bytes(packed)]:
                    return unpack(packed)
                case [b"reused"]:
                    raise RequestError(
                        "idempotency_key_reused",
                        "This Idempotency-Key was sent with another request before.",
                    )
            remaining_s = deadline.remaining_s()
            if remaining_s <= 0:
                raise DeadlineExceeded("The first request with this Idempotency-Key still runs.")
            await asyncio.sleep(min(wait_s, remaining_s))
            wait_s = min(wait_s * POLL_GROWTH, POLL_MAX_S)


class RedisIdempotencyLease:
    """One process's hold on a key, renewed until the answer is kept or the key given back."""

    def __init__(
        self, scripts: _Scripts, record: str, digest: str, lease_s: float, kept_s: float
    ) -> None:
        self._scripts = scripts
        self._keys = [record]
        self._digest = digest
        self._token = secrets.token_hex(16)
        self._lease_s = lease_s
        self._kept_s = kept_s
        self._renewal: asyncio.Task[None] | None = None

    async def ask(self) -> list[bytes]:
        """What `claim.lua` says; raises `StoreUnavailable`."""
        arguments: list[Argument] = [self._digest, self._token, round(self._lease_s * 1_000)]
        try:
            answer: list[bytes] = await self._scripts.claim(self._keys, arguments)
        except STORE_ERRORS:
            raise StoreUnavailable(
                "The store does not answer, and an Idempotency-Key cannot be honoured without it."
            ) from None
        except asyncio.CancelledError:
            # The claim may have reached the store: left alone, it would hold the key for a lease.
            _in_background(self._passed_over(self._scripts.release(self._keys, [self._token])))
            raise
        return answer

    def start(self) -> None:
        """Renew the lease from now on."""
        self._renewal = asyncio.get_running_loop().create_task(self._renew())

    async def keep(self, answer: StoredResponse) -> None:
        packed = pack(answer)
        if len(packed) > ANSWER_BYTES_MAX:
            await self.release()
            return
        self._stop()
        arguments: list[Argument] = [self._digest, self._token, round(self._kept_s * 1_000), packed]
        await self._passed_over(self._scripts.keep(self._keys, arguments))

    async def release(self) -> None:
        self._stop()
        await self._passed_over(self._scripts.release(self._keys, [self._token]))

    async def _renew(self) -> None:
        arguments: list[Argument] = [self._digest, self._token, round(self._lease_s * 1_000)]
        ours = True
        while ours:
            await asyncio.sleep(self._lease_s / RENEWALS_PER_LEASE)
            with contextlib.suppress(*STORE_ERRORS):
                ours = bool(await self._scripts.renew(self._keys, arguments))

    def _stop(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()

    @staticmethod
    async def _passed_over(call: Awaitable[Any]) -> None:
        """The answer is on its way to the caller: a store that fails now costs a repeat at most."""
        with contextlib.suppress(*STORE_ERRORS):
            await call


class _Scripts:
    """The scripts beside this file."""

    def __init__(self, client: Client) -> None:
        self.claim = _load(client, "claim.lua")
        self.renew = _load(client, "renew.lua")
        self.keep = _load(client, "keep.lua")
        self.release = _load(client, "release.lua")


def _load(client: Client, name: str) -> Script:
    return script(client, files("assay.store.idempotency").joinpath(name).read_text("utf-8"))


_background: set[asyncio.Task[None]] = set()


def _in_background(call: Any) -> None:
    task = asyncio.get_running_loop().create_task(call)
    _background.add(task)
    task.add_done_callback(_background.discard)


def record_key(tenant: str, key: str) -> str:
    """The record's key; the tenant is its hash tag, and the caller's own text is hashed."""
    return f"assay:v1:{{{tenant}}}:idempotency:{hashlib.sha256(key.encode()).hexdigest()}"


def pack(answer: StoredResponse) -> bytes:
    """An answer as one value: a line of JSON, then the body, compressed where it is large."""
    compressed = len(answer.body) > COMPRESS_OVER_BYTES
    head = orjson.dumps([answer.status, answer.headers, compressed])
    return head + b"\n" + (zlib.compress(answer.body, 1) if compressed else answer.body)


def unpack(packed: bytes) -> StoredResponse:
    """The answer that `pack` made a value of."""
    head, _, body = packed.partition(b"\n")
    status, headers, compressed = orjson.loads(head)
    pairs = tuple((name, value) for name, value in headers)
    return StoredResponse(status, pairs, zlib.decompress(body) if compressed else body)
