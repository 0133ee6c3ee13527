"""A provider's quota, spent once across all processes: token buckets in Redis.

A reservation answers when to send: the caller sleeps that long and sends, with one round trip and
no polling. The rules, and why they hold, are written on top of `lua/quota_state.lua`.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

from assay.domain.errors import StoreUnavailable
from assay.domain.events import StoreDegraded
from assay.domain.policy import Quota
from assay.domain.ports import EventSink
from assay.redis.circuit import CALL_BUDGET_S, CALLS_MAX, RedisCircuit
from assay.redis.scripts import Argument, Script, ScriptRunner, load_script
from assay.resilience.quota.buckets import Costs, buckets_of
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
LEAVE = load_script(__package__, "leave")
PROBE = load_script(__package__, "probe")

RETRY_IN_MIN_S = 0.005
LOCAL_RETRY_IN_S_MAX = 0.25
"""While Redis is gone, asking again costs nothing and finds out whether it is back."""
SETTLE_WITHIN_S = 600.0
BLOCK_S_MAX = 3_600.0
"""Longest wait that a provider's Retry-After can impose; then one request finds out anew."""
SHARES_SUM_MAX = 0.9
SHARES_MAX = 16

Oversize = Literal["debt", "refuse"]
AS_CHARGED = -1.0
"""Instead of an amount: nothing is known about this bucket."""
NOTHING: Costs = MappingProxyType({})
_GRANTED, _LATER, _TOO_LONG = 0, 1, 2


class ModelQuota:
    """The buckets of one model, all under one hash tag."""

    def __init__(self, owner: Quotas, model: str, quota: Quota) -> None:
        self._owner = owner
        self._tag = f"assay:v1:{{quota:{model}}}"
        self._state_keys = (f"{self._tag}:state", f"{self._tag}:peaks")
        self.buckets = buckets_of(quota)
        self.local = LocalShare(self.buckets, owner.pods_max)
        self.circuit = RedisCircuit(
            self._probe, self._store_changed, budget_s=owner.budget_s, slots=owner.slots
        )
        self._shares: tuple[Argument, ...] = tuple(
            part for share in owner.shares.items() for part in share
        )

    async def reserve(self, ask: ReservationRequest) -> ReservationResult:
        """Take the costs and learn when to send, or learn that it is not yet time."""
        if not self.buckets:
            return Reserved(ask.id, 0.0, "")
        try:
            verdict, wait_us, binding = await self._run(
                RESERVE,
                (self._note(ask.id), f"{self._tag}:line", f"{self._tag}:tickets"),
                (
                    self._owner.owner if ask.in_line else "",
                    _microseconds(ask.wait_max_s),
                    _microseconds(ask.lookahead_s),
                    _microseconds(ask.waited_s),
                    round(SETTLE_WITHIN_S * 1_000),
                    self._owner.oversize,
                    ask.tenant,
                ),
                ask.costs,
                queued=ask.queued,
                behind=ask.behind,
            )
        except StoreUnavailable:
            return self._reserve_locally(ask)
        wait_s, bucket = wait_us / 1_000_000, self._binding(binding)
        if verdict == _GRANTED:
            return Reserved(ask.id, wait_s, bucket)
        if verdict == _LATER:
            return Deferred(wait_s, bucket, _come_back_s(wait_s, ask))
        return Rejected(wait_s if verdict == _TOO_LONG else None, bucket)

    async def settle(self, ended: Sequence[SettledReservation]) -> None:
        """Replace what was charged by what was really used, in one call for all of them."""
        for each in ended:
            if each.granted.local is not None:
                charged = each.granted.local
                more = {name: cost - charged.get(name, 0.0) for name, cost in each.actual.items()}
                self.local.charge({name: cost for name, cost in more.items() if cost > 0})
        noted = [each for each in ended if each.granted.local is None]
        if self.buckets and noted:
            amounts = [
                repr(each.actual.get(bucket.name, AS_CHARGED))
                for each in noted
                for bucket in self.buckets
            ]
            notes = [self._note(each.granted.id) for each in noted]
            await self._run(SETTLE, notes, (len(amounts) + 2, *amounts), {})

    async def commit(self, granted: Reserved, actual: Costs) -> None:
        """Settle what a sent request really cost; buckets not named stay as charged."""
        await self.settle([SettledReservation(granted, actual)])

    async def cancel(self, granted: Reserved) -> None:
        """Give back what was never sent."""
        await self.settle([self.unsent(granted)])

    def unsent(self, granted: Reserved) -> SettledReservation:
        """The end of a reservation for what was not sent after all."""
        return SettledReservation(granted, {bucket.name: 0.0 for bucket in self.buckets})

    async def leave(self) -> None:
        """Give up this process's place in the line."""
        keys = (f"{self._tag}:line", f"{self._tag}:tickets")
        await self.circuit.call(lambda: LEAVE.run(self._owner.redis, keys, (self._owner.owner,)))

    async def refused_by_provider(self, granted: Reserved, retry_after_s: float | None) -> None:
        """Tell the whole fleet of a 429."""
        block_s = min(max(0.0, retry_after_s or 0.0), BLOCK_S_MAX)
        self.local.block(block_s)
        if self.buckets:
            arguments = (1, _microseconds(block_s))
            await self._run(FEEDBACK, (self._note(granted.id),), arguments, {}, unnamed=AS_CHARGED)

    async def left_by_provider(self, granted: Reserved, left: Costs) -> None:
        """Lower the balances to what the provider says is left."""
        if self.buckets and left:
            await self._run(FEEDBACK, (self._note(granted.id),), (0, 0), left, unnamed=AS_CHARGED)

    async def status(self) -> QuotaStatus:
        """What is left now; raises `StoreUnavailable`."""
        if not self.buckets:
            return QuotaStatus({}, 1.0, 0.0)
        mult, block_us, *left = await self._run(STATUS, (), (), {})
        names = [bucket.name for bucket in self.buckets]
        amounts = [amount / 1_000_000 for amount in left]
        return QuotaStatus(
            dict(zip(names, amounts, strict=True)), mult / 1_000_000, block_us / 1_000_000
        )

    def _reserve_locally(self, ask: ReservationRequest) -> ReservationResult:
        wait, taken = self.local.reserve(
            ask.costs, ask.queued, min(ask.lookahead_s, ask.wait_max_s)
        )
        bucket = self._binding(wait.binding)
        if taken:
            return Reserved(ask.id, max(0.0, wait.seconds), bucket, local=ask.costs)
        if wait.seconds > ask.wait_max_s:
            return Rejected(wait.seconds, bucket)
        retry_in_s = min(_come_back_s(wait.seconds, ask), LOCAL_RETRY_IN_S_MAX)
        return Deferred(wait.seconds, bucket, retry_in_s)

    async def _run(
        self,
        script: Script,
        keys: Sequence[str],
        arguments: Sequence[Argument],
        amounts: Costs,
        *,
        unnamed: float = 0.0,
        queued: Costs = NOTHING,
        behind: Costs = NOTHING,
    ) -> Any:
        policy: list[Argument] = [len(self.buckets)]
        for bucket in self.buckets:
            amount = amounts.get(bucket.name, unnamed)
            waiting = queued.get(bucket.name, 0.0), behind.get(bucket.name, 0.0)
            numbers = bucket.capacity, bucket.rate_per_s, amount, *waiting
            policy += (bucket.name, *map(repr, numbers))
        every_key = (*self._state_keys, *keys)
        every_argument = (*arguments, *policy, *self._shares)
        return await self.circuit.call(
            lambda: script.run(self._owner.redis, every_key, every_argument)
        )

    def _note(self, id_: str) -> str:
        return f"{self._tag}:reservation:{id_}"

    def _binding(self, number: int) -> str:
        if number > 0:
            return self.buckets[number - 1].name
        return "provider" if number < 0 else ""

    async def _probe(self) -> None:
        await PROBE.run(self._owner.redis, (f"{self._tag}:probe",), ())

    def _store_changed(self, available: bool) -> None:
        if not available:
            self.local.restart()
        self._owner.store_changed(self._tag, available)


class Quotas:
    """The quotas of all models, kept in one Redis or Redis Cluster.

    `pods_max` is how many processes there can be at most; `shares` are the guaranteed parts of
    each model's rate by tenant, in 0..0.9 together; `owner` names this process in the line.
    """

    def __init__(
        self,
        redis: ScriptRunner,
        events: EventSink,
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
        self.pods_max = pods_max
        self.oversize: Oversize = oversize
        self.owner = owner or uuid.uuid4().hex
        self.budget_s = budget_s
        self.slots = asyncio.Semaphore(CALLS_MAX)
        self._events = events
        self._degraded: set[str] = set()
        self._models: dict[str, ModelQuota] = {}

    @property
    def degraded(self) -> bool:
        """Whether any model's quota is kept without Redis just now."""
        return bool(self._degraded)

    def of(self, model: str, quota: Quota) -> ModelQuota:
        """The quota of the model with this id, made at the first call."""
        if model not in self._models:
            self._models[model] = ModelQuota(self, model, quota)
        return self._models[model]

    async def close(self) -> None:
        for model in self._models.values():
            await model.circuit.close()

    def store_changed(self, tag: str, available: bool) -> None:
        before = self.degraded
        if available:
            self._degraded.discard(tag)
        else:
            self._degraded.add(tag)
        if self.degraded != before:
            self._events.emit(StoreDegraded(available=not self.degraded))


def _come_back_s(wait_s: float, ask: ReservationRequest) -> float:
    return max(RETRY_IN_MIN_S, wait_s - ask.lookahead_s)


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)
