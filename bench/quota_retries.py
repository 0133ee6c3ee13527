"""Simulates the calls that wait for one quota: how often do they ask Redis?

It follows `reserve.lua`, `Limited` and `FairQueue`. In each process only the first caller in the
queue asks for quota, with its time of arrival, and asks again when it was told to. Everybody who
arrives asks once for the wait.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from assay.domain.policy import Quota
from assay.resilience.quota.buckets import buckets_from_quota
from assay.resilience.quota.quotas import RETRY_IN_S_MIN
from assay.resilience.quota.reservations import LOOKAHEAD_S
from assay.resilience.settlements import GATHER_S

ENTRY_GRACE_S = 0.1
"""`ENTRY_GRACE_US` of `reserve.lua`."""
TRIP_S = 0.0003
"""The way to Redis or back at least; each takes up to twice as long."""


@dataclass
class Outcome:
    """What the simulated processes did after the first tenth of the time."""

    seconds: float
    sent: int = 0
    reservations: int = 0
    settlements: int = 0
    queue_entries_read: int = 0

    @property
    def calls_per_answer(self) -> float:
        return (self.reservations + self.settlements) / self.sent

    @property
    def entries_per_reservation(self) -> float:
        """Places of other processes that a reservation reads on average."""
        return self.queue_entries_read / self.reservations


@dataclass
class _Bucket:
    """One bucket of requests, and the queue of the processes that wait for it."""

    capacity: float
    rate_per_s: float
    at_s: float = 0.0
    level: float = 0.0
    queue: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Process: arrival of its first caller, and when it is due to ask again."""

    def advance(self, to_s: float) -> None:
        if to_s > self.at_s:
            refill = (to_s - self.at_s) * self.rate_per_s
            self.level = min(self.capacity, self.level + refill)
            self.at_s = to_s

    def reserve(self, now_s: float, pod: int, arrival_s: float) -> tuple[float, bool, int]:
        """The wait, whether the cost is taken, and how many places were read."""
        before = [who for who, (since_s, _) in self.queue.items() if since_s <= arrival_s]
        for who in before:
            if self.queue[who][1] < now_s and who != pod:
                del self.queue[who]
        waiting = sum(who != pod and who in self.queue for who in before)
        self.advance(now_s)
        if self.level >= 1.0 + waiting:  # there is enough for those before, too
            waiting = 0
        need = max(0.0, 1.0 - self.level) + waiting
        send_s = self.at_s + need / self.rate_per_s
        wait_s = send_s - now_s
        if wait_s > LOOKAHEAD_S or waiting:
            due_s = now_s + max(0.0, wait_s - LOOKAHEAD_S) + ENTRY_GRACE_S
            self.queue[pod] = (arrival_s, due_s)
            return wait_s, False, len(before)
        self.queue.pop(pod, None)
        self.advance(send_s)
        self.level -= 1.0
        return wait_s, True, len(before)


class Simulation:
    """`callers` of each of `pods` processes call again as soon as they are answered."""

    def __init__(
        self, pods: int, callers: int, per_minute: float, service_s: float, seed: int = 7
    ) -> None:
        (bucket,) = buckets_from_quota(Quota(requests_per_minute=per_minute))
        self._bucket = _Bucket(bucket.capacity, bucket.rate_per_s)
        self._service_s = service_s
        self._rng = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._number = 0
        self._waiting: list[deque[float]] = [deque() for _ in range(pods)]
        self._settled_s = [-1.0] * pods
        for pod in range(pods):
            for _ in range(callers):
                self._later(self._rng.random() * 0.1, self._arrive, pod)

    def run(self, seconds: float) -> Outcome:
        self._out = warm_up = Outcome(seconds)
        while self._events and self._events[0][0] < seconds:
            at_s, _, what = heapq.heappop(self._events)
            if self._out is warm_up and at_s > seconds / 10:
                self._out = Outcome(seconds * 0.9)
            what(at_s)
        return self._out

    def _later(self, at_s: float, what: Callable[[float, int], None], pod: int) -> None:
        self._number += 1
        heapq.heappush(self._events, (at_s, self._number, lambda now_s: what(now_s, pod)))

    def _trip_s(self) -> float:
        return TRIP_S * self._rng.uniform(1, 2)

    def _arrive(self, now_s: float, pod: int) -> None:
        """A caller asks once, either for the wait or for quota, and then waits for its turn."""
        self._out.reservations += 1
        self._out.queue_entries_read += len(self._bucket.queue)
        self._later(now_s + 2 * self._trip_s(), self._join, pod)

    def _join(self, now_s: float, pod: int) -> None:
        self._waiting[pod].append(now_s)
        if len(self._waiting[pod]) == 1:
            self._later(now_s + self._trip_s(), self._ask, pod)

    def _ask(self, now_s: float, pod: int) -> None:
        """The first caller's question arrives at Redis."""
        wait_s, taken, read = self._bucket.reserve(now_s, pod, self._waiting[pod][0])
        self._out.reservations += 1
        self._out.queue_entries_read += read
        back_s = now_s + self._trip_s()
        if not taken:
            pause_s = max(RETRY_IN_S_MIN, wait_s - LOOKAHEAD_S)
            self._later(back_s + pause_s + self._trip_s(), self._ask, pod)
            return
        self._waiting[pod].popleft()
        self._later(max(back_s, now_s + wait_s) + self._service_s, self._answered, pod)
        if self._waiting[pod]:
            self._later(back_s + self._trip_s(), self._ask, pod)

    def _answered(self, now_s: float, pod: int) -> None:
        self._out.sent += 1
        if now_s > self._settled_s[pod] + GATHER_S:
            self._settled_s[pod] = now_s
            self._out.settlements += 1
        self._arrive(now_s, pod)
