"""How many batches a tenant has open, and how many bytes it stores in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay.domain.batches import ENDED
from assay.domain.tenants import TenantLimited, TenantLimits
from assay.redis.client import Client
from assay.redis.outages import store_unavailable
from assay.redis.scripts import Argument, Script, load_script
from assay.store.batches.keys import BatchKeys

OPEN = load_script(__package__, "open")
BYTES = load_script(__package__, "bytes")
RETRY_AFTER_S = 60.0
"""A batch has to end or to be deleted first."""
UNLIMITED = TenantLimits()


class RedisTenantStorage:
    """See `TenantStorage`; what was noted of batches that are gone is removed when it matters."""

    def __init__(
        self, client: Client, limits: Mapping[str, TenantLimits], retention_s: float
    ) -> None:
        self._client: Any = client  # the library types replies for texts and bytes at once
        self._limits = limits
        self._retention_ms = round(retention_s * 1_000)

    async def open_batch(self, tenant: str, batch_id: str) -> None:
        most = self._limits.get(tenant, UNLIMITED).batches_open_max
        if most is not None:
            key = f"assay:v1:{{{tenant}}}:batches-open"
            arguments = (most, batch_id, self._retention_ms)
            if not await self._take(OPEN, key, arguments, self._client.zrange, 0, -1):
                raise TenantLimited("open-batches", most, RETRY_AFTER_S)

    async def add_bytes(self, tenant: str, batch_id: str, size: int) -> None:
        most = self._limits.get(tenant, UNLIMITED).stored_bytes_max
        if most is not None and size:
            key = f"assay:v1:{{{tenant}}}:stored-bytes"
            arguments = (most, batch_id, size, self._retention_ms)
            if not await self._take(BYTES, key, arguments, self._client.hkeys):
                raise TenantLimited("stored-bytes", most, RETRY_AFTER_S)

    async def _take(
        self, script: Script, key: str, arguments: tuple[Argument, ...], noted: Any, *bounds: int
    ) -> bool:
        with store_unavailable():
            if await script.run(self._client, [key], arguments):
                return True
            ids = [name.decode() for name in await noted(key, *bounds)]
            over = await self._over(ids, ended=script is OPEN)
            return bool(await script.run(self._client, [key], [*arguments, *over]))

    async def _over(self, ids: list[str], *, ended: bool) -> list[str]:
        """Those of the batches that are gone or, if asked for, have ended."""
        async with self._client.pipeline(transaction=False) as pipe:
            for batch_id in ids:
                pipe.hget(BatchKeys(batch_id).meta, "status")
            statuses = await pipe.execute()
        return [
            batch_id
            for batch_id, status in zip(ids, statuses, strict=True)
            if status is None or (ended and status.decode() in ENDED)
        ]
