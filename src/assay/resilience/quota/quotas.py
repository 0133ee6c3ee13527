"""A provider's quota, spent once across all processes: token buckets in Redis.

A reservation answers when to send: the caller sleeps that long and sends, with one round trip and
no polling. The rules, and why they hold, are written on top of `state.lua`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

from assay.domain.errors import StoreUnavailable
from assay.domain.ids import random_hex
from assay.domain.policy import Costs, Quota
from assay.domain.supervision import Supervisor
from assay.redis.circuit import CALLS_MAX, RedisCircuit, write_probe
from assay.redis.scripts import Argument, Script, ScriptRunner, load_script
from assay.redis.time_budget import CALL_BUDGET_S
from assay.resilience.grouped_calls import GroupedCalls
from assay.resilience.quota.buckets import buckets_from_quota
from assay.resilience.quota.local_share import LocalShare
from assay.resilience.quota.reservations import (
    Deferred,
    QuotaStatus,
    Rejected,
    ReservationRequest,
    ReservationResult,
    Reserved,
    SettledReservation,
)

RESERVE = load_script(__package__, "state", "reserve")
SETTLE = load_script(__package__, "state", "settle")
FEEDBACK = load_script(__package__, "state", "feedback")
STATUS = load_script(__package__, "state", "status")
RECOVER = load_script(__package__, "state", "recover")
LEAVE = load_script(__package__, "leave")

RETRY_IN_S_MIN = 0.02
"""A fifth of `LOOKAHEAD_S`: no sending time is missed, and a hundred processes ask Redis half as
often as with 5 ms (`bench/quota_retries.py`)."""
LOCAL_RETRY_IN_S_MAX = 0.25
"""While Redis is unavailable, asking again costs nothing and shows whether it is back."""
SETTLE_WITHIN_S = 600.0
BLOCK_S_MAX = 3_600.0
"""Longest wait that a provider's Retry-After can impose; then a request tries again."""
SHARES_SUM_MAX = 0.9
SHARES_MAX = 16

Oversize = Literal["debt", "refuse"]
AS_CHARGED = -1.0
"""Instead of an amount: nothing is known about this bucket."""
NOTHING: Costs = MappingProxyType({})
_RESERVED, _DEFERRED, _TOO_LONG = 0, 1, 2


class ModelQuota:
    """The buckets of one model, all under one hash tag."""

    def __init__(self, quotas: Quotas, model: str, quota: Quota) -> None:
        self._quotas = quotas
        tag = f"{{quota:{model}}}"
        self._prefix = f"assay:v1:{tag}"
        self._state_keys = (f"{self._prefix}:state", f"{self._prefix}:peaks")
        # The queue has a version of its own. In a rolling upgrade from v1 the two versions spend
        # from the same buckets, and keep the order of arrival only among themselves.
        self._queue_keys = (f"assay:v2:{tag}:queue", f"assay:v2:{tag}:entries")
        self.buckets = buckets_from_quota(quota)
        self.local = LocalShare(self.buckets, quotas.pods_max)
        self.circuit = RedisCircuit(
            write_probe(quotas.redis, self._prefix),
            quotas.supervisor,
            opened=self.local.restart,
            closing=self._recover,
            budget_s=quotas.budget_s,
            slots=quotas.slots,
        )
        self._reservations = GroupedCalls(self._reserve_all, quotas.supervisor)
        self._shares: tuple[Argument, ...] = tuple(
            part for share in quotas.shares.items() for part in share
        )

    async def reserve(self, request: ReservationRequest) -> ReservationResult:
        """Take the costs and learn when to send, or learn how long it would take."""
        if not self.buckets:
            return Reserved(request.id, 0.0, "")
        try:
            verdict, wait_us, binding = await self._reservations.answer(request)
        except StoreUnavailable:
            return self._reserve_locally(request)
        wait_s, bucket = wait_us / 1_000_000, self._binding(binding)
        if verdict == _RESERVED:
            return Reserved(request.id, wait_s, bucket)
        if verdict == _DEFERRED:
            return Deferred(wait_s, bucket, _retry_in_s(wait_s, request))
        return Rejected(wait_s if verdict == _TOO_LONG else None, bucket)

    async def _reserve_all(self, requests: Sequence[ReservationRequest]) -> Sequence[Any]:
        wanted: list[Argument] = [
            self._quotas.owner,
            round(SETTLE_WITHIN_S * 1_000),
            self._quotas.oversize,
        ]
        for request in requests:
            wanted += (
                int(request.joins_queue),
                _microseconds(request.wait_max_s),
                _microseconds(request.lookahead_s),
                _microseconds(request.waited_s),
                request.tenant,
            )
            for bucket in self.buckets:
                for costs in (request.costs, request.ahead, request.behind):
                    wanted.append(repr(costs.get(bucket.name, 0.0)))
        keys = [self._reservation_key(request.id) for request in requests]
        answers: list[Any] = await self._run(
            RESERVE, (*self._queue_keys, *keys), (len(wanted) + 2, *wanted), NOTHING
        )
        return answers

    async def settle(self, settled: Sequence[SettledReservation]) -> None:
        """Replace what was charged by what was really used, in one call for all of them."""
        shared = []
        for ended in settled:
            charged = ended.reservation.local
            if charged is None:
                shared.append(ended)
                continue
            more = {name: cost - charged.get(name, 0.0) for name, cost in ended.actual.items()}
            self.local.charge({name: cost for name, cost in more.items() if cost > 0})
        if self.buckets and shared:
            amounts = [
                repr(ended.actual.get(bucket.name, AS_CHARGED))
                for ended in shared
                for bucket in self.buckets
            ]
            keys = [self._reservation_key(ended.reservation.id) for ended in shared]
            await self._run(SETTLE, keys, (len(amounts) + 2, *amounts), NOTHING)

    def unsent(self, reservation: Reserved) -> SettledReservation:
        """The end of a reservation whose call was not sent."""
        return SettledReservation(reservation, {bucket.name: 0.0 for bucket in self.buckets})

    async def leave(self) -> None:
        """Give up this process's place in the queue."""
        owner = (self._quotas.owner,)
        await self.circuit.call(lambda: LEAVE.run(self._quotas.redis, self._queue_keys, owner))

    async def refused_by_provider(self, reservation: Reserved, retry_after_s: float | None) -> None:
        """Report a 429 to the whole fleet."""
        block_s = min(max(0.0, retry_after_s or 0.0), BLOCK_S_MAX)
        self.local.block(block_s)
        await self._feedback(reservation, (1, _microseconds(block_s)), NOTHING)

    async def left_by_provider(self, reservation: Reserved, left: Costs) -> None:
        """Lower the balances to what the provider says is left."""
        if left:
            await self._feedback(reservation, (0, 0), left)

    async def status(self) -> QuotaStatus:
        """What is left now; raises `StoreUnavailable`."""
        if not self.buckets:
            return QuotaStatus({}, 1.0)
        mult, *left = await self._run(STATUS, (), (), {})
        names = [bucket.name for bucket in self.buckets]
        amounts = [amount / 1_000_000 for amount in left]
        return QuotaStatus(dict(zip(names, amounts, strict=True)), mult / 1_000_000)

    async def _recover(self) -> None:
        """Charge the shared buckets with what was sent while Redis did not answer."""
        if unreported := self.local.unreported:
            arguments = self._policy(unreported)
            await RECOVER.run(self._quotas.redis, self._state_keys, arguments)
            self.local.reported(unreported)

    def _reserve_locally(self, request: ReservationRequest) -> ReservationResult:
        wait_s, binding, taken = self.local.reserve(
            request.costs, request.ahead, min(request.lookahead_s, request.wait_max_s)
        )
        bucket = self._binding(binding)
        if taken:
            return Reserved(request.id, max(0.0, wait_s), bucket, local=request.costs)
        if wait_s > request.wait_max_s:
            return Rejected(wait_s, bucket)
        retry_in_s = min(_retry_in_s(wait_s, request), LOCAL_RETRY_IN_S_MAX)
        return Deferred(wait_s, bucket, retry_in_s)

    async def _feedback(
        self, reservation: Reserved, arguments: Sequence[Argument], left: Costs
    ) -> None:
        if self.buckets:
            key = self._reservation_key(reservation.id)
            await self._run(FEEDBACK, (key,), arguments, left, unnamed=AS_CHARGED)

    async def _run(
        self,
        script: Script,
        keys: Sequence[str],
        arguments: Sequence[Argument],
        amounts: Costs,
        *,
        unnamed: float = 0.0,
    ) -> Any:
        every_key = (*self._state_keys, *keys)
        every_argument = (*arguments, *self._policy(amounts, unnamed))
        return await self.circuit.call(
            lambda: script.run(self._quotas.redis, every_key, every_argument)
        )

    def _policy(self, amounts: Costs, unnamed: float = 0.0) -> Sequence[Argument]:
        """The buckets with an amount for each, and the shares: see `read_policy` in state.lua."""
        policy: list[Argument] = [len(self.buckets)]
        for bucket in self.buckets:
            amount = amounts.get(bucket.name, unnamed)
            policy += (bucket.name, repr(bucket.capacity), repr(bucket.rate_per_s), repr(amount))
        return (*policy, *self._shares)

    def _reservation_key(self, id_: str) -> str:
        return f"{self._prefix}:reservation:{id_}"

    def _binding(self, number: int) -> str:
        if number > 0:
            return self.buckets[number - 1].name
        return "provider" if number < 0 else ""


class Quotas:
    """The quotas of all models, kept in one Redis or Redis Cluster.

    `pods_max` is how many processes there can be at most; `shares` are the guaranteed parts of
    each model's rate by tenant, in 0..0.9 together; `owner` names this process in the queue.
    """

    def __init__(
        self,
        redis: ScriptRunner,
        supervisor: Supervisor,
        *,
        pods_max: int = 1,
        shares: Mapping[str, float] | None = None,
        oversize: Oversize = "debt",
        owner: str | None = None,
        budget_s: float = CALL_BUDGET_S,
    ) -> None:
        self.shares = dict(shares or {})
        if len(self.shares) > SHARES_MAX or sum(self.shares.values()) > SHARES_SUM_MAX:
            raise ValueError(
                f"guaranteed shares: at most {SHARES_MAX} tenants and {SHARES_SUM_MAX} in all"
            )
        if any(part <= 0 for part in self.shares.values()):
            raise ValueError("a guaranteed share must be above 0")
        self.redis = redis
        self.supervisor = supervisor
        self.pods_max = pods_max
        self.oversize: Oversize = oversize
        self.owner = owner or random_hex(16)
        self.budget_s = budget_s
        self.slots = asyncio.Semaphore(CALLS_MAX)
        self._models: dict[str, ModelQuota] = {}

    @property
    def degraded(self) -> bool:
        """Whether any model's quota is kept without Redis just now."""
        return not all(model.circuit.closed for model in self._models.values())

    def of(self, model: str, quota: Quota) -> ModelQuota:
        """The quota of the model with this id, made at the first call."""
        if model not in self._models:
            self._models[model] = ModelQuota(self, model, quota)
        return self._models[model]

    async def aclose(self) -> None:
        for model in self._models.values():
            await model.circuit.aclose()


def _retry_in_s(wait_s: float, request: ReservationRequest) -> float:
    return max(RETRY_IN_S_MIN, wait_s - request.lookahead_s)


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)
