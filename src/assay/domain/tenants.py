"""What each tenant may use, and the port through which the layers above keep to it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from assay.domain.errors import DomainError

JUDGE_CALLS_MAX = 256
"""Judge calls of one request, unless the settings say otherwise."""


@dataclass(frozen=True, slots=True)
class TenantLimits:
    """The limits of one tenant over all processes; None is unlimited."""

    requests_per_minute: float | None = None
    judge_calls_per_minute: float | None = None
    judge_calls_per_request: int | None = None
    inflight_max: int | None = None
    batches_open_max: int | None = None
    stored_bytes_max: int | None = None
    idempotency_keys_max: int | None = None


class TenantLimited(DomainError):
    """The tenant has reached a limit of its own: `quota` of what `limit` names.

    In a minute, for `requests` and `judge-calls`; at the same time, for all others.
    """

    code = "tenant_rate_limited"

    def __init__(self, limit: str, quota: float, retry_after_s: float = 1.0) -> None:
        self.per_minute = limit in ("requests", "judge-calls")
        words = f"{quota:g} {limit.replace('-', ' ')}{' a minute' if self.per_minute else ''}"
        super().__init__(f"Your tenant's limit is reached: {words}.")
        self.limit = limit
        self.quota = quota
        self.retry_after_s = retry_after_s


class TenantGate(Protocol):
    """Keeps tenants to their limits; every method raises `TenantLimited`.

    While Redis does not answer, rates are not limited. A tenant without a limit costs no call.
    """

    def judge_calls_max(self, tenant: str) -> int:
        """The most judge calls that one request may make."""
        ...

    async def count_request(self, tenant: str) -> None: ...

    async def count_judge_calls(self, tenant: str, calls: int) -> None: ...

    def in_flight(self, tenant: str) -> AbstractAsyncContextManager[None]:
        """Counts the block as a request, and as one in flight until it ends."""
        ...


class TenantStorage(Protocol):
    """Keeps tenants to their limits of batches; raises `TenantLimited` and `StoreUnavailable`."""

    async def open_batch(self, tenant: str, batch_id: str) -> None:
        """Note a batch that was created as one that has not ended."""
        ...

    async def add_bytes(self, tenant: str, batch_id: str, size: int) -> None:
        """Count bytes of rows before they are stored; negative for those that were not."""
        ...


class OpenGate:
    """Limits no tenant in anything but the judge calls of one request."""

    def judge_calls_max(self, tenant: str) -> int:  # noqa: ARG002  # the port's shape
        return JUDGE_CALLS_MAX

    async def count_request(self, tenant: str) -> None: ...

    async def count_judge_calls(self, tenant: str, calls: int) -> None: ...

    def in_flight(self, tenant: str) -> AbstractAsyncContextManager[None]:  # noqa: ARG002  # the port's shape
        return nullcontext()


OPEN_GATE = OpenGate()
