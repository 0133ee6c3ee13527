"""The breakers of all pods act as one: counts, probes and an operator's commands go through Redis.

A breaker works without any of this: without Redis each process guards itself, and it follows the
fleet again as soon as Redis answers. ADR 42 says what this buys.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from assay.domain.call_results import ProbeResult
from assay.domain.errors import StoreUnavailable
from assay.domain.ids import random_hex
from assay.domain.policy import BreakerPolicy
from assay.domain.ports import BreakerCommand
from assay.domain.supervision import SupervisedTask, Supervisor
from assay.redis.outages import store_unavailable
from assay.redis.scripts import Argument, Script, ScriptRunner, load_script
from assay.redis.time_budget import CALL_BUDGET_S, TimeBudget
from assay.resilience.breaker.breaker import JITTER_SHARE, Breaker, FleetView, ProbeLease

SHARE = load_script(__package__, "prelude", "share")
PROBE = load_script(__package__, "prelude", "probe")
SETTLE = load_script(__package__, "prelude", "settle")
OVERRIDE = load_script(__package__, "prelude", "override")

SHARE_EVERY_S = 1.0
"""How often counts go to the fleet; a trip or a probe's result goes at once."""

ALONE_AFTER = 2
"""Reports in a row that Redis did not answer: it is gone, and not just late."""

SETTLEMENTS_MAX = 256
"""Results of probes that wait for Redis; a lost one costs only its lease's time."""


@dataclass(frozen=True, slots=True)
class _Settlement:
    breaker: Breaker
    lease: ProbeLease
    result: ProbeResult
    until_s: float


class BreakerFleet:
    """Shares the breakers of this process with those of the other pods.

    `start` runs one background task for all breakers; `aclose` ends it.
    """

    def __init__(
        self,
        redis: ScriptRunner,
        supervisor: Supervisor,
        share_every_s: float = SHARE_EVERY_S,
        budget_s: float = CALL_BUDGET_S,
    ) -> None:
        self._redis = redis
        self._supervisor = supervisor
        self._share_every_s = share_every_s
        self._budget_s = budget_s
        self._unanswered: dict[str, int] = {}
        self._breakers: dict[str, Breaker] = {}
        self._settlements: deque[_Settlement] = deque(maxlen=SETTLEMENTS_MAX)
        self._wake = asyncio.Event()
        self._sharing: SupervisedTask | None = None

    def add(self, breaker: Breaker) -> None:
        """Let `breaker` act as one with those of the same model in other pods."""
        self._breakers[breaker.model_id] = breaker
        self._unanswered.setdefault(breaker.model_id, 0)

    def decides_alone(self, breaker: Breaker) -> bool:
        """Whether Redis left the last reports of this breaker unanswered.

        It may be one node of a cluster that is gone, so each breaker has its own count.
        """
        return self._unanswered[breaker.model_id] >= ALONE_AFTER

    def start(self) -> None:
        self._sharing = self._supervisor.start("breaker_fleet", self._keep_sharing)

    async def aclose(self) -> None:
        """Share what is left and end."""
        if self._sharing is not None:
            await self._sharing.stop()
            self._sharing = None
            await self.share_now()

    def wake(self) -> None:
        """Share at once instead of at the next second."""
        self._wake.set()

    async def lease_probe(self, breaker: Breaker, lease_s: float) -> ProbeLease | None:
        """Ask the fleet for permission to probe; the breaker has adopted its answer on return.

        Raises `StoreUnavailable` where Redis does not answer within its budget.
        """
        lease_id = random_hex(16)
        lease_us = int(lease_s * 1_000_000)
        try:
            reply = await self._run(PROBE, breaker, lease_id, lease_us)
        except BaseException:
            # The script may have run all the same: an unused lease is given back.
            self.settle_probe(breaker, ProbeLease(lease_id, 0), "none", lease_s)
            raise
        view, granted = _view(reply), bool(reply[5])
        breaker.adopt(view)
        return ProbeLease(lease_id, view.generation) if granted else None

    def settle_probe(
        self, breaker: Breaker, lease: ProbeLease, result: ProbeResult, lease_s: float
    ) -> None:
        """Report a probe's result to the fleet, without waiting for Redis."""
        until_s = time.monotonic() + lease_s
        self._settlements.append(_Settlement(breaker, lease, result, until_s))
        self.wake()

    async def set_breaker(self, model_id: str, command: BreakerCommand) -> None:
        """Hold a model's breaker open, switch it off, or reset it, in every pod.

        Raises `StoreUnavailable`, since a command that only one pod follows is of no use, and
        `KeyError` for a model that has no breaker.
        """
        breaker = self._breakers[model_id]
        breaker.adopt(_view(await self._run(OVERRIDE, breaker, command)))

    async def share_now(self) -> None:
        """Report what is unshared and follow the fleet; what Redis does not take is kept."""
        for _ in range(len(self._settlements)):
            await self._report(self._settlements.popleft())
        for breaker in self._breakers.values():
            await self._share_one(breaker)

    async def _keep_sharing(self, task: SupervisedTask) -> None:
        while not task.stopping:
            # Pods that started together do not share in step.
            pause_s = self._share_every_s * random.uniform(0.9, 1.1)  # noqa: S311 -- no secret
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
            self._wake.clear()
            await self.share_now()

    async def _share_one(self, breaker: Breaker) -> None:
        unshared = breaker.take_unshared()
        counts = (unshared.calls, unshared.failed, unshared.slow)
        try:
            reply = await self._run(SHARE, breaker, unshared.generation, *counts, unshared.tripped)
        except StoreUnavailable:
            self._unanswered[breaker.model_id] += 1
            breaker.restore(unshared)
        else:
            breaker.adopt(_view(reply), reported=unshared)

    async def _report(self, settlement: _Settlement) -> None:
        lease = settlement.lease
        try:
            reply = await self._run(
                SETTLE, settlement.breaker, lease.id, lease.generation, settlement.result
            )
        except BaseException as failure:
            # Kept whatever became of the call: to settle a lease twice changes nothing.
            if time.monotonic() < settlement.until_s:
                self._settlements.append(settlement)
            if not isinstance(failure, StoreUnavailable):
                raise
        else:
            settlement.breaker.adopt(_view(reply))

    async def _run(self, script: Script, breaker: Breaker, *arguments: Argument) -> Sequence[Any]:
        jitter = random.uniform(1 - JITTER_SHARE, 1 + JITTER_SHARE)  # noqa: S311 -- no secret
        with store_unavailable():
            async with TimeBudget(self._budget_s):
                reply: Sequence[Any] = await script.run(
                    self._redis,
                    _keys(breaker.model_id),
                    (_policy_json(breaker.policy), jitter, *arguments),
                )
        self._unanswered[breaker.model_id] = 0
        return reply


def _keys(model_id: str) -> list[str]:
    """The keys of a breaker; its hash tag keeps them in one slot of a cluster."""
    tag = f"assay:v1:{{breaker:{model_id}}}"
    return [f"{tag}:state", f"{tag}:window", f"{tag}:probes"]


def _policy_json(policy: BreakerPolicy) -> str:
    return json.dumps(
        {
            "window_us": int(policy.window_s * 1_000_000),
            "buckets": policy.buckets,
            "calls_min": policy.calls_min,
            "failed_share": policy.failed_share,
            "slow_share": policy.slow_share,
            "open_us": int(policy.open_s * 1_000_000),
            "open_max_us": int(policy.open_max_s * 1_000_000),
            "probes": policy.probes,
        }
    )


def _view(reply: Sequence[Any]) -> FleetView:
    """A script's answer, whichever way the client decodes."""
    state, generation, due_us, openings, reason, _ = reply
    return FleetView(
        state=_text(state),
        generation=int(generation),
        due_in_s=int(due_us) / 1_000_000,
        openings=int(openings),
        reason=_text(reason),
    )


def _text(value: bytes | str) -> Any:
    return value.decode() if isinstance(value, bytes) else value
