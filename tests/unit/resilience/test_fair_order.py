"""The order of turns: tenants alike, interactive first, batch never starved."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.domain.completion import Caller, Priority
from assay.resilience.queue.fair_order import (
    BATCH_AGE_S,
    BATCH_EVERY,
    FairOrder,
    Lane,
    QueuedCall,
    QueuedWork,
    QueueLimits,
)
from fakes.queues import limits


def call(
    tenant: str = "a",
    cost: float = 1.0,
    priority: Priority = "interactive",
    since_s: float = 0.0,
    size: int = 1,
) -> QueuedCall:
    return QueuedCall(Caller(tenant, priority=priority), cost, size, since_s)


def popped(order: FairOrder, count: int, now_s: float = 0.0) -> list[QueuedCall]:
    return [order.pop(now_s) for _ in range(count)]


def test_tenants_take_turns_whatever_they_queue() -> None:
    """A tenant with a hundred calls waiting and one with three get every other turn."""
    order = FairOrder()
    for _ in range(100):
        order.push(call("flood"))
    for _ in range(3):
        order.push(call("quiet"))
    names = [queued.caller.tenant for queued in popped(order, 6)]
    assert Counter(names) == {"flood": 3, "quiet": 3}


def test_calls_of_one_tenant_keep_their_order() -> None:
    """First come, first served among equals."""
    order = FairOrder()
    calls = [call() for _ in range(10)]
    for each in calls:
        order.push(each)
    assert popped(order, 10) == calls


def test_large_calls_count_for_what_they_cost() -> None:
    """A tenant whose calls cost ten times as much gets a tenth of the turns."""
    order = FairOrder()
    for _ in range(200):
        order.push(call("large", cost=10.0))
        order.push(call("small", cost=1.0))
    names = Counter(queued.caller.tenant for queued in popped(order, 110))
    assert 90 <= names["small"] <= 110
    assert 8 <= names["large"] <= 12


def test_interactive_goes_before_batch() -> None:
    """A batch call that came first goes after interactive calls."""
    order = FairOrder()
    order.push(call("b", priority="batch"))
    order.push(call("i"))
    assert [queued.caller.tenant for queued in popped(order, 2)] == ["i", "b"]


def test_aged_batch_gets_one_turn_in_eight() -> None:
    """Once it has waited long enough, a batch moves on however busy the screens are."""
    order = FairOrder()
    for _ in range(100):
        order.push(call("b", priority="batch"))
        order.push(call("i"))
    young = popped(order, 2 * BATCH_EVERY, now_s=BATCH_AGE_S - 0.1)
    assert {queued.caller.tenant for queued in young} == {"i"}
    aged = popped(order, 4 * BATCH_EVERY, now_s=BATCH_AGE_S)
    assert Counter(queued.caller.tenant for queued in aged)["b"] == 4


@pytest.mark.parametrize("calls_each", [1, 2])
def test_pushed_back_call_is_first_again(calls_each: int) -> None:
    """A call that let another overtake has lost nothing by it, whatever else waits."""
    order = FairOrder()
    for tenant in "abc" * calls_each:
        order.push(call(tenant, cost=5.0))
    for _ in range(3):
        first = order.pop(0.0)
        order.push_back(first)
        assert order.pop(0.0) is first


def test_what_is_ahead_counts_tenants_alike() -> None:
    """Before a newcomer stand the heads of the others, not the whole of their backlog."""
    order = FairOrder()
    for _ in range(50):
        order.push(call("flood", cost=2.0))
    assert order.before(Caller("quiet")) == QueuedWork(1, 2.0)
    assert order.before(Caller("flood")) == QueuedWork(50, 100.0)
    assert order.before(Caller("quiet", priority="batch")) == QueuedWork(50, 100.0)


@pytest.mark.parametrize(
    ("waiting", "newcomer", "pushes"),
    [
        ([call("flood") for _ in range(4)], call("quiet"), True),
        ([call("a"), call("a"), call("b"), call("b")], call("b"), False),
        ([call("a") for _ in range(4)], call("a"), False),
        ([call("a", priority="batch") for _ in range(4)], call("b"), True),
        ([call("a") for _ in range(4)], call("b", priority="batch"), False),
        ([call("a"), call("b", size=90)], call("c", size=20), True),
        ([call("a") for _ in range(3)], call("b", size=98), False),
    ],
    ids=[
        "the tenant that holds most gives way",
        "equals do not",
        "no tenant pushes out its own calls",
        "batch gives way to interactive",
        "interactive does not to batch",
        "by bytes as well",
        "a huge call has no better claim",
    ],
)
def test_full_queue_gives_room_to_the_better_claim(
    waiting: list[QueuedCall], newcomer: QueuedCall, *, pushes: bool
) -> None:
    """A flood cannot keep the others out by filling the queue."""
    order = FairOrder()
    for each in waiting:
        order.push(each)
    out = order.to_push_out(newcomer, limits(calls_max=4, bytes_max=100))
    assert (out is not None) == pushes


CALLS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.floats(0.01, 1e6), st.integers(0, 3)), max_size=60
)


@settings(max_examples=50, deadline=None)
@given(steps=CALLS)
def test_nothing_is_lost_and_sums_are_right(steps: list[tuple[str, float, int]]) -> None:
    """Over any pushes, pops and removals: each call comes out once, and the sums fit."""
    lane = Lane()
    inside: list[QueuedCall] = []
    for tenant, cost, step in steps:
        if step == 2 and inside:
            lane.remove(inside.pop(len(inside) // 2))
        elif step == 3 and inside:
            taken = lane.pop()
            same = [queued for queued in inside if queued.caller == taken.caller]
            assert same[0] is taken
            inside.remove(taken)
        else:
            inside.append(call(tenant, cost, size=int(cost)))
            lane.push(inside[-1])
        assert lane.depth == len(inside)
        assert lane.size == sum(queued.size for queued in inside)
        assert lane.cost == pytest.approx(sum(queued.cost for queued in inside), abs=1e-3)
    assert Counter(map(id, lane)) == Counter(map(id, inside))


@settings(max_examples=15, deadline=None)
@given(
    costs=st.lists(st.lists(st.floats(1.0, 50.0), min_size=40, max_size=40), min_size=2, max_size=6)
)
def test_backlogged_tenants_get_the_same_cost(costs: list[list[float]]) -> None:
    """While all tenants wait, what each has got differs by no more than a quantum and two of
    the largest calls (the bound of deficit round robin)."""
    lane = Lane()
    for number, tenant in enumerate(costs):
        for cost in tenant:
            lane.push(call(str(number), cost))
    got = Counter[str]()
    served = Counter[str]()
    while max(served.values(), default=0) < 40:
        each = lane.pop()
        got[each.caller.tenant] += each.cost  # type: ignore[assignment]
        served[each.caller.tenant] += 1
        values = [got[str(number)] for number in range(len(costs))]
        assert max(values) - min(values) <= 3 * 50.0


@dataclass
class Simulation:
    """One server of fixed speed in virtual time; every tenant sends in a steady rhythm."""

    per_s: float
    rates: dict[str, float]
    calls_max: int = 400
    waits: dict[str, list[float]] = field(default_factory=dict)

    def run(self, seconds: float) -> float:
        """The p95 wait of the quiet tenant, in seconds."""
        order, bounds = FairOrder(), limits(calls_max=self.calls_max)
        arrivals = [(1.0 / rate, name) for name, rate in self.rates.items()]
        heapq.heapify(arrivals)
        now_s = 0.0
        while now_s < seconds:
            while arrivals[0][0] <= now_s or not order.depth:
                at_s, name = heapq.heappop(arrivals)
                heapq.heappush(arrivals, (at_s + 1.0 / self.rates[name], name))
                now_s = max(now_s, at_s)
                self.arrive(order, bounds, call(name, since_s=at_s))
            served = order.pop(now_s)
            self.waits.setdefault(served.caller.tenant, []).append(now_s - served.since_s)
            now_s += 1.0 / self.per_s
        quiet = sorted(self.waits["quiet"])
        return quiet[int(0.95 * len(quiet))]

    def arrive(self, order: FairOrder, limits: QueueLimits, newcomer: QueuedCall) -> None:
        if order.depth >= self.calls_max:
            weaker = order.to_push_out(newcomer, limits)
            if weaker is None:
                assert newcomer.caller.tenant != "quiet"
                return
            assert weaker.caller.tenant != "quiet"
            order.remove(weaker)
        order.push(newcomer)


def test_flood_hardly_touches_a_quiet_tenant() -> None:
    """A tenant that sends fifty times its share raises the quiet one's p95 wait by under 20 %."""
    share = 100.0 / 5
    others = dict.fromkeys(("b", "c", "d"), 1.1 * share)
    calm = Simulation(100.0, {"quiet": 7.3, "loud": 1.1 * share, **others}).run(40.0)
    flooded = Simulation(100.0, {"quiet": 7.3, "loud": 50 * share, **others}).run(40.0)
    assert flooded <= 1.2 * calm
