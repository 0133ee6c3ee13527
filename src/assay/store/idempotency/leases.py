"""Idempotency across processes: one record in Redis for each tenant and key."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from assay.domain.errors import DeadlineExceeded, RequestError
from assay.domain.ids import random_hex
from assay.domain.policy import Deadline
from assay.domain.ports import StoredResponse
from assay.domain.supervision import SupervisedTask, Supervisor
from assay.domain.tenants import TenantLimited, TenantLimits
from assay.redis.client import Client
from assay.redis.outages import OUTAGES, store_unavailable
from assay.redis.scripts import Argument, Script, load_script
from assay.redis.time_budget import TimeBudget
from assay.store.packing import pack, unpack

CLAIM = load_script(__package__, "claim")
RENEW = load_script(__package__, "renew")
KEEP = load_script(__package__, "keep")
RELEASE = load_script(__package__, "release")

KEPT_S = 24 * 3_600
LEASE_S = 10.0
"""A process that dies while it runs a request holds the key no longer than this."""
RENEWALS_PER_LEASE = 3
CALL_S = 2.0
"""What a call to Redis may take, connecting included."""
POLL_S = 0.02
POLL_MAX_S = 0.25
POLL_GROWTH = 1.5
FULL_RETRY_AFTER_S = 60.0
RESPONSE_BYTES_MAX = 4 * 1_048_576
"""A larger response is not kept: a retry runs again rather than fill the store."""


class RedisIdempotency:
    """Responses to requests with an idempotency key, shared by all processes on one Redis."""

    def __init__(
        self,
        client: Client,
        supervisor: Supervisor,
        *,
        lease_s: float = LEASE_S,
        kept_s: float = KEPT_S,
        limits: Mapping[str, TenantLimits] = MappingProxyType({}),
    ) -> None:
        self._client = client
        self._supervisor = supervisor
        self._lease_s = lease_s
        self._kept_s = kept_s
        self._limits = limits

    async def claim(
        self, tenant: str, key: str, digest: str, deadline: Deadline
    ) -> RedisIdempotencyLease | StoredResponse:
        """See `IdempotencyStore.claim`; a lapsed lease passes to the first caller that asks."""
        lease = RedisIdempotencyLease(
            self._client,
            self._supervisor,
            (record_key(tenant, key), f"assay:v1:{{{tenant}}}:idempotency-keys"),
            digest,
            lease_s=self._lease_s,
            kept_s=self._kept_s,
        )
        limits = self._limits.get(tenant)
        keys_max = (limits and limits.idempotency_keys_max) or 0
        wait_s = POLL_S
        while True:
            match await lease.claim(keys_max):
                case [b"claimed"]:
                    lease.start_renewal()
                    return lease
                case [b"kept", bytes(packed)]:
                    return unpack_response(packed)
                case [b"full"]:
                    raise TenantLimited("idempotency-keys", keys_max, FULL_RETRY_AFTER_S)
                case [b"reused"]:
                    raise RequestError(
                        "idempotency_key_reused",
                        "An earlier request with this Idempotency-Key had another content.",
                    )
            remaining_s = deadline.remaining_s()
            if remaining_s <= 0:
                raise DeadlineExceeded("The first request with this Idempotency-Key still runs.")
            await asyncio.sleep(min(wait_s, remaining_s))
            wait_s = min(wait_s * POLL_GROWTH, POLL_MAX_S)


class RedisIdempotencyLease:
    """One process's hold on a key, renewed until the response is kept or the key released."""

    def __init__(
        self,
        client: Client,
        supervisor: Supervisor,
        keys: tuple[str, str],
        digest: str,
        *,
        lease_s: float,
        kept_s: float,
    ) -> None:
        self._client = client
        self._supervisor = supervisor
        self._keys = keys
        self._digest = digest
        self._lease_ms = round(lease_s * 1_000)
        self._kept_ms = round(kept_s * 1_000)
        self._token = random_hex(16)
        self._renewal: SupervisedTask | None = None

    async def claim(self, keys_max: int) -> list[bytes]:
        """What `claim.lua` answers; raises `StoreUnavailable`."""
        try:
            with store_unavailable(
                "Storage is unavailable, so the Idempotency-Key cannot be honoured."
            ):
                answer: list[bytes] = await self._run(
                    CLAIM, self._digest, self._token, self._lease_ms, keys_max, self._kept_ms
                )
        except BaseException:
            # The claim may have reached the store: left alone, it would hold the key for a lease.
            self._supervisor.start(
                "idempotency_release", lambda _: self._try(RELEASE, self._token), restarts=False
            )
            raise
        return answer

    def start_renewal(self) -> None:
        """Renew the lease from now on."""
        self._renewal = self._supervisor.start("idempotency_renewal", self._renew)

    async def keep(self, response: StoredResponse) -> None:
        packed = pack_response(response)
        if len(packed) > RESPONSE_BYTES_MAX:
            await self.release()
            return
        await self._stop_renewal()
        await self._try(KEEP, self._digest, self._token, self._kept_ms, packed)

    async def release(self) -> None:
        await self._stop_renewal()
        await self._try(RELEASE, self._token)

    async def _renew(self, task: SupervisedTask) -> None:
        while not task.stopping:
            await asyncio.sleep(self._lease_ms / 1_000 / RENEWALS_PER_LEASE)
            with suppress(*OUTAGES):
                if not await self._run(RENEW, self._digest, self._token, self._lease_ms):
                    return

    async def _stop_renewal(self) -> None:
        if self._renewal is not None:
            await self._renewal.stop()

    async def _try(self, script: Script, *arguments: Argument) -> None:
        """Run a script; an outage now costs a repeat of the request at most."""
        with suppress(*OUTAGES):
            await self._run(script, *arguments)

    async def _run(self, script: Script, *arguments: Argument) -> Any:
        async with TimeBudget(CALL_S):
            return await script.run(self._client, self._keys, arguments)


def record_key(tenant: str, key: str) -> str:
    """The record's key; the tenant is its hash tag, and the caller's own text is hashed.

    v1 held responses in another form. In a rolling upgrade from it, a request and its repeat that
    reach processes of different versions run both.
    """
    return f"assay:v2:{{{tenant}}}:idempotency:{hashlib.sha256(key.encode()).hexdigest()}"


def pack_response(response: StoredResponse) -> bytes:
    """A response as it is stored."""
    return pack([response.status, response.headers], response.body)


def unpack_response(packed: bytes) -> StoredResponse:
    """The response that `pack_response` made a value of."""
    (status, headers), body = unpack(packed)
    return StoredResponse(status, tuple((name, value) for name, value in headers), body)
