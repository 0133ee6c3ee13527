"""Keeps tenants to their limits, over all processes on one Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress

from assay.domain.errors import StoreUnavailable
from assay.domain.ids import random_hex
from assay.domain.supervision import Supervisor
from assay.domain.tenants import TenantLimited, TenantLimits
from assay.redis.circuit import RedisCircuit, write_probe
from assay.redis.client import Client
from assay.redis.scripts import load_script

ENTER = load_script(__package__, "enter")
KINDS = ("", "requests", "judge-calls", "in-flight")
"""What `enter.lua` answers, as the RateLimit fields name it."""
NO_LIMITS = TenantLimits()


class RedisTenantGate:
    """See `TenantGate`; `inflight_s` is the longest that a request can be in flight."""

    def __init__(
        self,
        client: Client,
        limits: Mapping[str, TenantLimits],
        supervisor: Supervisor,
        *,
        judge_calls_max: int,
        inflight_s: float,
    ) -> None:
        self._client = client
        self._limits = limits
        self._judge_calls_max = judge_calls_max
        self._inflight_ms = round(inflight_s * 1_000)
        probe = write_probe(client, "assay:v1:{tenants}")
        self._circuit = RedisCircuit(probe, supervisor)

    def judge_calls_max(self, tenant: str) -> int:
        return self._of(tenant).judge_calls_per_request or self._judge_calls_max

    async def count_request(self, tenant: str) -> None:
        if self._of(tenant).requests_per_minute is not None:
            await self._enter(tenant, requests=1)

    async def count_judge_calls(self, tenant: str, calls: int) -> None:
        if self._of(tenant).judge_calls_per_minute is not None:
            await self._enter(tenant, calls=calls)

    def in_flight(self, tenant: str) -> AbstractAsyncContextManager[None]:
        limits = self._of(tenant)
        if limits.requests_per_minute is None and limits.inflight_max is None:
            return nullcontext()
        return self._place(tenant)

    def _of(self, tenant: str) -> TenantLimits:
        return self._limits.get(tenant, NO_LIMITS)

    @asynccontextmanager
    async def _place(self, tenant: str) -> AsyncIterator[None]:
        token = random_hex(8)
        try:
            await self._enter(tenant, requests=1, token=token)
            yield
        finally:
            if self._of(tenant).inflight_max is not None:
                await asyncio.shield(self._leave(tenant, token))

    async def _enter(
        self, tenant: str, *, requests: int = 0, calls: int = 0, token: str = ""
    ) -> None:
        limits = self._of(tenant)
        bounds = (limits.requests_per_minute, limits.judge_calls_per_minute, limits.inflight_max)
        keys = [_key(tenant, kind) for kind in KINDS[1:]]
        arguments = [bound or 0 for bound in bounds]
        try:
            short, *wait_us = await self._circuit.call(
                lambda: ENTER.run(
                    self._client, keys, [*arguments, requests, calls, token, self._inflight_ms]
                )
            )
        except StoreUnavailable:
            return
        if short:
            raise TenantLimited(KINDS[short], bounds[short - 1] or 0, wait_us[0] / 1_000_000)

    async def _leave(self, tenant: str, token: str) -> None:
        with suppress(StoreUnavailable):  # the place lapses
            key = _key(tenant, KINDS[3])
            await self._circuit.call(lambda: self._client.zrem(key, token))


def _key(tenant: str, kind: str) -> str:
    return f"assay:v1:{{{tenant}}}:{kind}"
