"""The circuit breaker of one model: a state machine without clock, network or tasks of its own.

    CLOSED ── too many failed or slow calls ──> OPEN ── its time is over ──> HALF_OPEN
       ^                                         ^                              │
       └──────── every probe succeeded ──────────┼──────────────────────────────┤
                                                 └──────── a probe failed ──────┘

    FORCED_OPEN and DISABLED are set by an operator and stay until reset.

By itself it guards this process. `BreakerFleet` lets the breakers of all pods act as one: it
shares what is counted here, and the breaker adopts what the fleet has decided.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from assay.domain.call_results import CallResult, ProbeResult
from assay.domain.events import BreakerChanged
from assay.domain.policy import BreakerPolicy
from assay.domain.ports import BreakerState, EventSink
from assay.resilience.sliding_counts import SlidingCounts

JITTER_SHARE = 0.1
"""Pods that tripped on their own do not probe in step."""

DOUBLINGS_MAX = 16

_OPEN_BUT_LOST = ("open", "closed")


@dataclass(frozen=True, slots=True)
class ProbeLease:
    """The fleet's permission to send one probe, in one generation of the fleet's breaker."""

    id: str
    generation: int


@dataclass(frozen=True, slots=True)
class Permit:
    """Permission to send one call; its result counts only while the breaker is in `epoch`."""

    epoch: int
    probe: bool = False
    lease: ProbeLease | None = None


@dataclass(frozen=True, slots=True)
class FleetView:
    """The fleet's breaker as Redis holds it; generation 0 is a breaker that Redis lost."""

    state: BreakerState
    generation: int
    due_in_s: float
    openings: int
    reason: str


@dataclass(frozen=True, slots=True)
class Unshared:
    """What happened here since the last report to the fleet; `tripped` is the reason, or empty."""

    generation: int
    calls: int = 0
    failed: int = 0
    slow: int = 0
    tripped: str = ""


class Breaker:
    """Decides whether a call may be sent, from the results of those before it."""

    def __init__(
        self,
        model_id: str,
        policy: BreakerPolicy,
        events: EventSink,
        clock_s: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.model_id = model_id
        self.policy = policy
        self._events = events
        self._clock_s = clock_s
        self._uniform = uniform
        self._window = SlidingCounts(3, policy.window_s, policy.buckets, clock_s)
        self._state: BreakerState = "closed"
        self._epoch = 0
        self._due_at_s = 0.0
        self._openings = 0
        self._probes_sent = 0
        self._probes_succeeded = 0
        self._generation = 0
        self._unshared = [0, 0, 0]
        self._tripped = ""

    @property
    def state(self) -> BreakerState:
        """The state now; an open breaker turns half-open when its time is over."""
        if self._state == "open" and self._clock_s() >= self._due_at_s:
            self._change("half_open", "due")
        return self._state

    @property
    def due_in_s(self) -> float:
        """Seconds until a call may be sent; 0 if one may be sent now, infinite if forced open."""
        if self.state == "forced_open":
            return math.inf
        return self._due_at_s - self._clock_s() if self._state == "open" else 0.0

    @property
    def trip_unshared(self) -> bool:
        """Whether this breaker tripped and has not reported it to the fleet."""
        return bool(self._tripped)

    def permit(self) -> Permit | None:
        """Permission for an ordinary call; None unless closed or disabled."""
        return Permit(self._epoch) if self.state in {"closed", "disabled"} else None

    def local_probe(self) -> Permit | None:
        """Permission for a probe that only this process counts; None if all are under way."""
        if self.state != "half_open" or self._probes_sent >= self.policy.probes:
            return None
        self._probes_sent += 1
        return Permit(self._epoch, probe=True)

    def leased_probe(self, lease: ProbeLease) -> Permit | None:
        """Permission for a probe that the fleet counts; None if the state has moved on.

        It is counted here as well: if Redis goes away between two probes, this process sends no
        more of them than it would alone, and closes without Redis.
        """
        if self.state != "half_open":
            return None
        self._probes_sent += 1
        return Permit(self._epoch, True, lease)

    def settle(self, permit: Permit, result: CallResult) -> None:
        """Credit the result of a call to the epoch that let it through."""
        if permit.epoch != self._epoch or self.state == "disabled":
            return
        if permit.probe:
            self._settle_probe(result.probe)
        elif result.calls:
            counts = (result.calls, result.failed, result.slow)
            self._window.add(*counts)
            self._unshared = [a + b for a, b in zip(self._unshared, counts, strict=True)]
            reason = self._reason_to_trip()
            if reason:
                self._tripped = reason
                self._open(reason)

    def _settle_probe(self, result: ProbeResult) -> None:
        match result:
            case "failure":
                self._open("probe_failed")
            case "none":
                self._probes_sent -= 1
            case "success":
                self._probes_succeeded += 1
                if self._probes_succeeded >= self.policy.probes:
                    self._close("probes_succeeded")

    def _reason_to_trip(self) -> str:
        calls, failed, slow = self._window.totals()
        if calls < self.policy.calls_min:
            return ""
        if failed >= self.policy.failed_share * calls:
            return "failures"
        return "slow" if slow >= self.policy.slow_share * calls else ""

    def take_unshared(self) -> Unshared:
        """What to report to the fleet; hand it back with `restore` if that fails."""
        calls, failed, slow = self._unshared
        self._unshared = [0, 0, 0]
        return Unshared(self._generation, calls, failed, slow, self._tripped)

    def restore(self, unshared: Unshared) -> None:
        """Keep counts that could not be shared, unless the breaker has changed since."""
        if unshared.generation == self._generation and self._state == "closed":
            counts = (unshared.calls, unshared.failed, unshared.slow)
            self._unshared = [a + b for a, b in zip(self._unshared, counts, strict=True)]

    def adopt(self, view: FleetView, *, reported: Unshared | None = None) -> None:
        """Follow the fleet's breaker, which includes what was `reported`.

        A trip of this breaker that is not reported yet stands. So does an open breaker if Redis has
        lost its data: it is reported again. A reply that arrives late has an older generation and
        is ignored.
        """
        if reported is not None and reported.tripped:
            self._tripped = ""
        if 0 < view.generation < self._generation or (self._tripped and view.state == "closed"):
            return
        if self._generation > 0 == view.generation and (self._state, view.state) == _OPEN_BUT_LOST:
            self._tripped, self._generation = "redis_lost", 0
            return
        if view.state != "closed":
            self._tripped = ""
        if self._moved_on(view):
            self._due_at_s, self._openings = self._clock_s() + view.due_in_s, view.openings
            self._change(view.state, view.reason)
        self._generation = view.generation

    def _moved_on(self, view: FleetView) -> bool:
        if view.generation != self._generation:
            return True
        # The fleet's breaker turns half-open only when the first probe is asked for.
        asleep = view.state == "open" and view.due_in_s <= 0 and self.state == "half_open"
        return view.state != self._state and not asleep

    def _open(self, reason: str) -> None:
        doubled_s = self.policy.open_s * 2 ** min(self._openings, DOUBLINGS_MAX)
        jitter = self._uniform(1 - JITTER_SHARE, 1 + JITTER_SHARE)
        self._due_at_s = self._clock_s() + min(doubled_s * jitter, self.policy.open_max_s)
        self._openings += 1
        self._change("open", reason)

    def _close(self, reason: str) -> None:
        self._openings = 0
        self._change("closed", reason)

    def _change(self, state: BreakerState, reason: str) -> None:
        before, self._state = self._state, state
        self._epoch += 1
        self._probes_sent = self._probes_succeeded = 0
        self._window.clear()
        self._unshared = [0, 0, 0]
        if state not in {"open", "half_open"}:
            self._tripped = ""
        if before != state:
            self._events.emit(BreakerChanged(self.model_id, before, state, reason))
