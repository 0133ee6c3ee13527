"""A discrete-event simulation of pods with slots, one provider with a quota, and callers."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

PodState = Literal["pending", "starting", "ready", "gone"]

BREAKER_FAILURES = 20
BREAKER_OPEN_S = (5, 10, 20, 40, 60)
PROBES = 3


@dataclass(frozen=True, slots=True)
class World:
    """The parameters of the service, its load and its failures; seconds, requests a second.

    `quota_per_s` is None for no limit. The provider is silent during `dead_s`; a pod dies at
    `crash_s`. A request holds `body_mb`, and a pod may hold `budget_mb`.
    """

    load: Callable[[float], float]
    service_s: float = 2.0
    slots: int = 32
    quota_per_s: float | None = None
    quota_wait_max_s: float = 10.0
    wait_max_s: float = 20.0
    silence_s: float = 5.0
    pending_s: float = 8.0
    starting_s: float = 12.0
    body_mb: float = 0.05
    budget_mb: float = 268.0
    dead_s: tuple[float, float] = (0.0, 0.0)
    crash_s: float | None = None


@dataclass(eq=False, slots=True)
class Pod:
    """A pod and what it holds."""

    number: int
    state: PodState = "pending"
    busy: int = 0
    waiting: deque[float] = field(default_factory=deque)
    waiting_for_quota: int = 0
    draining: bool = False

    @property
    def held(self) -> int:
        return self.busy + len(self.waiting) + self.waiting_for_quota


@dataclass
class Counts:
    """The outcomes of all requests, and the wait for a slot of those that got one."""

    arrived: int = 0
    served: int = 0
    failed: int = 0
    refused_by_quota: int = 0
    refused_by_pods: int = 0
    waits_s: list[float] = field(default_factory=list)


class Fleet:
    """The pods, the callers and the provider; `run_until` moves them forward in time."""

    def __init__(self, world: World, replicas: int, seed: int = 1) -> None:
        self.world = world
        self.now = 0.0
        self.counts = Counts()
        self.replicas = replicas
        self.pods: list[Pod] = []
        self._ready: list[Pod] | None = None
        self._random = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._numbers = itertools.count(1)
        self._quota_free_at = 0.0
        self._breaker = _Breaker()
        for _ in range(replicas):
            self._add_pod(state="ready")
        self._after(0, self._arrive)
        if world.crash_s is not None:
            self._after(world.crash_s, self._crash)

    def run_until(self, end_s: float) -> None:
        while self._events and self._events[0][0] <= end_s:
            self.now, _, event = heapq.heappop(self._events)
            event()
        self.now = end_s

    def scale(self, replicas: int) -> None:
        """Add pods, or remove them: those that are not ready first, then the youngest."""
        self.replicas = replicas
        alive = [pod for pod in self.pods if not pod.draining]
        for _ in range(replicas - len(alive)):
            self._add_pod()
        ready_last = sorted(alive, key=lambda pod: (pod.state == "ready", -pod.number))
        for pod in ready_last[: max(0, len(alive) - replicas)]:
            pod.draining = True
        self.pods = [pod for pod in self.pods if not pod.draining or pod.held]
        self._ready = None

    def ready(self) -> list[Pod]:
        """The pods that take requests; cached until one changes, because every request asks."""
        if self._ready is None:
            self._ready = [p for p in self.pods if p.state == "ready" and not p.draining]
        return self._ready

    def _after(self, delay_s: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + delay_s, next(self._order), event))

    def _add_pod(self, state: PodState = "pending") -> None:
        pod = Pod(next(self._numbers), state)
        self.pods.append(pod)
        self._ready = None
        if state == "pending":
            self._after(self.world.pending_s, lambda: self._become(pod, "starting"))
            ready_s = self.world.pending_s + self.world.starting_s
            self._after(ready_s, lambda: self._become(pod, "ready"))

    def _become(self, pod: Pod, state: PodState) -> None:
        if pod.state != "gone":
            pod.state = state
            self._ready = None

    def _crash(self) -> None:
        """A pod dies with all requests it holds; its ReplicaSet replaces it at once."""
        pod = self.ready()[0]
        self.counts.failed += pod.held
        pod.state = "gone"
        self.pods.remove(pod)
        self._add_pod()

    def _arrive(self) -> None:
        self._after(self._random.expovariate(self.world.load(self.now)), self._arrive)
        self.counts.arrived += 1
        ready = self.ready()
        if not ready:
            self.counts.refused_by_pods += 1
            return
        pod = self._random.choice(ready)
        if (pod.held + 1) * self.world.body_mb > self.world.budget_mb:
            self.counts.refused_by_pods += 1
            return
        self._ask_for_quota(pod)

    def _ask_for_quota(self, pod: Pod) -> None:
        """Wait for the token bucket without holding a slot; refuse where the wait is too long."""
        if self.world.quota_per_s is None:
            self._ask_for_slot(pod)
            return
        wait_s = max(0.0, self._quota_free_at - self.now)
        if wait_s > self.world.quota_wait_max_s:
            self.counts.refused_by_quota += 1
            return
        self._quota_free_at = self.now + wait_s + 1 / self.world.quota_per_s
        pod.waiting_for_quota += 1

        def granted() -> None:
            pod.waiting_for_quota -= 1
            self._ask_for_slot(pod)

        self._after(wait_s, granted)

    def _ask_for_slot(self, pod: Pod) -> None:
        if pod.state == "gone":
            return
        if pod.busy < self.world.slots:
            self._start(pod, self.now)
        else:
            pod.waiting.append(self.now)

    def _start(self, pod: Pod, since_s: float) -> None:
        self.counts.waits_s.append(self.now - since_s)
        begin, end = self.world.dead_s
        silent = begin <= self.now < end
        if not self._breaker.admits(self.now):
            self.counts.failed += 1
            self._after(0, lambda: self._next(pod))
            return
        pod.busy += 1
        mean_s = self.world.service_s
        service_s = self._random.uniform(0.5 * mean_s, 1.5 * mean_s)
        self._after(
            self.world.silence_s if silent else service_s, lambda: self._finish(pod, ok=not silent)
        )

    def _finish(self, pod: Pod, *, ok: bool) -> None:
        if pod.state == "gone":
            return
        pod.busy -= 1
        self._breaker.record(self.now, ok=ok)
        self.counts.served += ok
        self.counts.failed += not ok
        self._next(pod)

    def _next(self, pod: Pod) -> None:
        """Give the free slot to the longest waiting request that can still be answered in time."""
        while pod.waiting and pod.busy < self.world.slots:
            since_s = pod.waiting.popleft()
            if self.now - since_s <= self.world.wait_max_s:
                self._start(pod, since_s)
                return
            self.counts.refused_by_pods += 1


@dataclass
class _Breaker:
    """Opens after consecutive failures, longer each time, and lets a few probes through."""

    failures: int = 0
    opened: int = 0
    open_until_s: float = 0.0
    probes: int = 0

    def admits(self, now_s: float) -> bool:
        if not self.opened:
            return True
        if now_s < self.open_until_s or self.probes >= PROBES:
            return False
        self.probes += 1
        return True

    def record(self, now_s: float, *, ok: bool) -> None:
        if ok:
            self.failures = self.opened = self.probes = 0
            return
        self.failures += 1
        if self.failures >= BREAKER_FAILURES and now_s >= self.open_until_s:
            self.open_until_s = now_s + BREAKER_OPEN_S[min(self.opened, len(BREAKER_OPEN_S) - 1)]
            self.opened += 1
            self.probes = 0
