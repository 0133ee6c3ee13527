"""The order of waiting calls: fair between tenants, interactive calls first.

Deficit round robin (Shreedhar and Varghese, 1996) over tenants, in two lanes. Each visit of a
tenant adds the quantum to what it may spend, so that in the long run all tenants get the same
cost served, whatever the size and number of their calls.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from assay.domain.completion import Caller, Priority
from assay.domain.moving_average import MovingAverage

BATCH_AGE_S = 5.0
"""A batch call that has waited this long gives its lane a part of the turns."""

BATCH_EVERY = 8
"""An aged batch lane gets one of this many turns."""

QUANTUM_WEIGHT = 0.1
"""The quantum follows the usual cost of a call, as a moving mean with this weight."""


@dataclass(eq=False, slots=True)
class QueuedCall:
    """A call in the queue; `cost` is positive, `size` in bytes."""

    caller: Caller
    cost: float
    size: int
    since_s: float


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How much may wait in one queue; `bytes_max` bounds the prompts that are held meanwhile."""

    calls_max: int
    bytes_max: int

    def share(self, calls: int, size: int) -> float:
        """The part of the queue that these calls and bytes take, by the bound that is nearer."""
        return max(calls / self.calls_max, size / self.bytes_max)


@dataclass(frozen=True, slots=True)
class QueuedWork:
    """A number of calls, and their cost together."""

    calls: int
    cost: float


@dataclass(eq=False, slots=True)
class _Tenant:
    name: str
    calls: OrderedDict[QueuedCall, None] = field(default_factory=OrderedDict)
    deficit: float = 0.0
    visited: bool = False
    cost: float = 0.0
    size: int = 0

    @property
    def head(self) -> QueuedCall:
        return next(iter(self.calls))


class Lane:
    """Deficit round robin over the tenants of one priority."""

    def __init__(self) -> None:
        self._tenants: dict[str, _Tenant] = {}
        self._ring: deque[_Tenant] = deque()
        self._quantum = MovingAverage(QUANTUM_WEIGHT, 1.0)
        self.cost = 0.0
        self.size = 0
        self.depth = 0

    def __iter__(self) -> Iterator[QueuedCall]:
        return (call for tenant in self._ring for call in tenant.calls)

    def push(self, call: QueuedCall) -> None:
        """Add a call behind those of its tenant."""
        self._quantum.add(call.cost)
        tenant = self._tenant(call)
        tenant.calls[call] = None
        self._weigh(tenant, call, 1)

    def push_back(self, call: QueuedCall) -> None:
        """Undo the last pop: the call is the next again, and its cost is given back."""
        tenant = self._tenants.get(call.caller.tenant)
        if tenant is None:
            tenant = self._tenant(call)
            self._ring.rotate(1)
        tenant.visited = True
        tenant.calls[call] = None
        tenant.calls.move_to_end(call, last=False)
        tenant.deficit += call.cost
        self._weigh(tenant, call, 1)

    def pop(self) -> QueuedCall:
        """Take out the call whose turn it is; the lane must not be empty."""
        unaffordable = 0
        while True:
            tenant = self._ring[0]
            if not tenant.visited:
                tenant.visited = True
                tenant.deficit += self._quantum.value
            if tenant.head.cost <= tenant.deficit:
                call = tenant.head
                tenant.deficit -= call.cost
                self.remove(call)
                return call
            tenant.visited = False
            self._ring.rotate(-1)
            unaffordable += 1
            if unaffordable == len(self._ring):
                self._skip_rounds()

    def remove(self, call: QueuedCall) -> None:
        """Take out any call at once."""
        tenant = self._tenants[call.caller.tenant]
        del tenant.calls[call]
        self._weigh(tenant, call, -1)
        if not tenant.calls:
            del self._tenants[tenant.name]
            self._ring.remove(tenant)

    def oldest_s(self) -> float:
        """When the longest-waiting head arrived; infinite in an empty lane."""
        return min((tenant.head.since_s for tenant in self._ring), default=math.inf)

    def before(self, tenant: str) -> QueuedWork:
        """The work likely to be done before a new call of `tenant`."""
        own = self._tenants.get(tenant)
        if own is None:
            heads = [other.head.cost for other in self._ring]
            return QueuedWork(len(heads), sum(heads))
        tenants = len(self._ring)
        return QueuedWork(
            min(len(own.calls) * tenants, self.depth), min(own.cost * tenants, self.cost)
        )

    def longest(self, limits: QueueLimits) -> tuple[float, QueuedCall] | None:
        """The share of the tenant that holds most, with its newest call."""
        if not self._ring:
            return None
        tenant = max(self._ring, key=lambda other: limits.share(len(other.calls), other.size))
        return limits.share(len(tenant.calls), tenant.size), next(reversed(tenant.calls))

    def share_with(self, call: QueuedCall, limits: QueueLimits) -> float:
        """The share of a call's tenant once it is added."""
        own = self._tenants.get(call.caller.tenant)
        if own is None:
            return limits.share(1, call.size)
        return limits.share(len(own.calls) + 1, own.size + call.size)

    def _tenant(self, call: QueuedCall) -> _Tenant:
        name = call.caller.tenant
        tenant = self._tenants.get(name)
        if tenant is None:
            tenant = self._tenants[name] = _Tenant(name)
            self._ring.append(tenant)
        return tenant

    def _weigh(self, tenant: _Tenant, call: QueuedCall, sign: int) -> None:
        tenant.cost += sign * call.cost
        tenant.size += sign * call.size
        self.cost = self.cost + sign * call.cost if self.depth + sign else 0.0
        self.size += sign * call.size
        self.depth += sign

    def _skip_rounds(self) -> None:
        """Add the quanta of all rounds in which no tenant could afford its call, at once."""
        missing = min(tenant.head.cost - tenant.deficit for tenant in self._ring)
        rounds = math.ceil(missing / self._quantum.value) - 1
        for tenant in self._ring:
            tenant.deficit += max(rounds, 0) * self._quantum.value


class FairOrder:
    """Two lanes: interactive before batch, and a part of the turns for a batch lane that aged."""

    def __init__(self) -> None:
        self._interactive, self._batch = Lane(), Lane()
        self._lanes: dict[Priority, Lane] = {"interactive": self._interactive, "batch": self._batch}
        self._passed_over = 0

    @property
    def depth(self) -> int:
        return self._interactive.depth + self._batch.depth

    @property
    def cost(self) -> float:
        return self._interactive.cost + self._batch.cost

    @property
    def size(self) -> int:
        return self._interactive.size + self._batch.size

    def push(self, call: QueuedCall) -> None:
        self._lane(call).push(call)

    def push_back(self, call: QueuedCall) -> None:
        self._lane(call).push_back(call)

    def remove(self, call: QueuedCall) -> None:
        self._lane(call).remove(call)

    def pop(self, now_s: float) -> QueuedCall:
        """Take out the call whose turn it is; must not be empty."""
        if self.next_priority(now_s) == "batch":
            self._passed_over = 0
            return self._batch.pop()
        self._passed_over += 1
        return self._interactive.pop()

    def next_priority(self, now_s: float) -> Priority:
        """The priority that has the next turn; must not be empty."""
        interactive = self._interactive.depth and not self.is_batch_due(now_s)
        return "interactive" if interactive else "batch"

    def is_batch_due(self, now_s: float) -> bool:
        """Whether batch calls have waited long and been passed over often."""
        batch = self._batch
        aged = batch.depth > 0 and now_s - batch.oldest_s() >= BATCH_AGE_S
        return aged and self._passed_over >= BATCH_EVERY - 1

    def pass_over(self, caller: Caller) -> None:
        """Note a turn that went past the queue: a batch call that waits was passed over."""
        if caller.priority == "interactive" and self._batch.depth:
            self._passed_over += 1

    def before(self, caller: Caller) -> QueuedWork:
        """The work likely to be done before a new call of `caller`."""
        ahead = self._lanes[caller.priority].before(caller.tenant)
        if caller.priority == "interactive":
            return ahead
        urgent = self._interactive
        return QueuedWork(ahead.calls + urgent.depth, ahead.cost + urgent.cost)

    def to_push_out(self, call: QueuedCall, limits: QueueLimits) -> QueuedCall | None:
        """The call that a new one may push out of a full queue; None if it has no better claim.

        An interactive call pushes out a batch call; otherwise a call pushes out the newest of
        the tenant that holds most, where that is more than its own tenant would hold.
        """
        batch = self._batch.longest(limits)
        if call.caller.priority == "interactive" and batch is not None:
            return batch[1]
        lane = self._lane(call)
        longest = lane.longest(limits)
        if longest is None or longest[0] <= lane.share_with(call, limits):
            return None
        return longest[1]

    def _lane(self, call: QueuedCall) -> Lane:
        return self._lanes[call.caller.priority]
