"""The circuit breaker on its own: no Redis, no tasks, a clock that the test moves."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from assay.domain.call_results import (
    ANSWERED,
    FAILURE,
    NO_RESULT,
    SILENT,
    SLOW,
    SUCCESS,
    CallResult,
)
from assay.domain.events import BreakerChanged
from assay.resilience.breaker.breaker import (
    Breaker,
    FleetView,
    Permit,
    ProbeLease,
    Unshared,
)
from fakes.policies import breaker_policy
from fakes.recorded_events import RecordedEvents

POLICY = breaker_policy()


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sink() -> RecordedEvents:
    return RecordedEvents()


@pytest.fixture
def breaker(clock: Clock, sink: RecordedEvents) -> Breaker:
    return Breaker("fake/judge", POLICY, sink, clock, lambda *_: 1.0)


def call(breaker: Breaker, result: CallResult) -> None:
    permit = breaker.permit()
    assert permit is not None
    breaker.settle(permit, result)


def trip(breaker: Breaker) -> None:
    for _ in range(POLICY.calls_min):
        call(breaker, FAILURE)


def probe(breaker: Breaker) -> Permit:
    permit = breaker.local_probe()
    assert permit is not None
    return permit


@pytest.mark.parametrize(
    ("bad", "good", "state"),
    [
        ([FAILURE] * 10, [SUCCESS] * 10, "open"),
        ([FAILURE] * 9, [SUCCESS] * 11, "closed"),
        ([FAILURE] * 19, [], "closed"),
        ([SLOW] * 10, [SUCCESS] * 10, "open"),
        ([SLOW] * 5 + [FAILURE] * 5, [SUCCESS] * 10, "closed"),
        ([SILENT] * 10, [SUCCESS] * 10, "open"),
    ],
    ids=[
        "half failed",
        "less than half failed",
        "too few calls",
        "half slow",
        "a quarter failed and a quarter slow",
        "half silent",
    ],
)
def test_trips_at_half_of_twenty_calls(
    breaker: Breaker, bad: list[CallResult], good: list[CallResult], state: str
) -> None:
    """Half of at least twenty calls must have failed, or half been slow."""
    for result in [*good, *bad]:
        call(breaker, result)
    assert breaker.state == state


@pytest.mark.parametrize("result", [ANSWERED, NO_RESULT])
def test_neutral_results_neither_trip_nor_dilute(breaker: Breaker, result: CallResult) -> None:
    """A hundred 429s or cancelled calls change nothing about what the others say."""
    for _ in range(100):
        call(breaker, result)
    assert breaker.state == "closed"
    trip(breaker)
    assert breaker.state == "open"


def test_failures_are_forgotten_after_the_window(breaker: Breaker, clock: Clock) -> None:
    """What is older than thirty seconds has no say."""
    for _ in range(19):
        call(breaker, FAILURE)
    clock.now_s += POLICY.window_s
    for _ in range(10):
        call(breaker, SUCCESS)
    assert breaker.state == "closed"


def test_open_breaker_lets_nothing_through_until_due(breaker: Breaker, clock: Clock) -> None:
    """Open for five seconds, then half-open; each change is an event with its reason."""
    trip(breaker)
    assert breaker.permit() is None
    assert breaker.local_probe() is None
    assert breaker.due_in_s == POLICY.open_s
    clock.now_s += POLICY.open_s
    assert (breaker.state, breaker.due_in_s) == ("half_open", 0.0)


def test_three_probes_close_it(breaker: Breaker, clock: Clock, sink: RecordedEvents) -> None:
    """Exactly three probes are let through, and when all succeed the breaker closes."""
    trip(breaker)
    clock.now_s += POLICY.open_s
    permits = [probe(breaker) for _ in range(POLICY.probes)]
    assert breaker.local_probe() is None
    for permit in permits:
        assert breaker.state == "half_open"
        breaker.settle(permit, ANSWERED)
    assert breaker.state == "closed"
    assert [(event.to_state, event.reason) for event in sink.of(BreakerChanged)] == [
        ("open", "failures"),
        ("half_open", "due"),
        ("closed", "probes_succeeded"),
    ]


@pytest.mark.parametrize("result", [FAILURE, SILENT, SLOW])
def test_failed_probe_opens_for_twice_as_long(
    breaker: Breaker, clock: Clock, result: CallResult
) -> None:
    """Each failed probe doubles the time, up to a minute; a close starts over."""
    trip(breaker)
    for open_s in (5.0, 10.0, 20.0, 40.0, 60.0, 60.0):
        assert breaker.due_in_s == open_s
        clock.now_s += open_s
        breaker.settle(probe(breaker), result)
    clock.now_s += 60.0
    for _ in range(POLICY.probes):
        breaker.settle(probe(breaker), SUCCESS)
    trip(breaker)
    assert breaker.due_in_s == POLICY.open_s


def test_cancelled_probe_frees_its_place(breaker: Breaker, clock: Clock) -> None:
    """A probe whose caller went away makes room for another."""
    trip(breaker)
    clock.now_s += POLICY.open_s
    permits = [probe(breaker) for _ in range(POLICY.probes)]
    breaker.settle(permits[0], NO_RESULT)
    assert breaker.local_probe() is not None
    assert breaker.local_probe() is None


def test_late_result_counts_for_nothing(breaker: Breaker, clock: Clock) -> None:
    """A call sent before the trip, or a probe of an earlier half-open, changes nothing now."""
    early = breaker.permit()
    assert early is not None
    trip(breaker)
    clock.now_s += POLICY.open_s
    old_probe = probe(breaker)
    breaker.settle(probe(breaker), FAILURE)
    clock.now_s += 2 * POLICY.open_s
    for late in (early, old_probe):
        breaker.settle(late, FAILURE)
        assert breaker.state == "half_open"
    for _ in range(POLICY.probes):
        breaker.settle(old_probe, SUCCESS)
    assert breaker.state == "half_open"


def view(state: str, generation: int, due_in_s: float = 0.0) -> FleetView:
    return FleetView(state, generation, due_in_s, openings=1, reason="failures")  # type: ignore[arg-type]


def test_fleet_trip_opens_a_healthy_pod(breaker: Breaker) -> None:
    """What the other pods found out holds here as well, for as long as it holds there."""
    breaker.adopt(view("open", 7, due_in_s=3.0))
    assert breaker.state == "open"
    assert breaker.due_in_s == 3.0
    breaker.adopt(view("closed", 8))
    assert breaker.state == "closed"


def test_own_trip_stands_until_the_fleet_has_heard_it(breaker: Breaker) -> None:
    """A healthy fleet that does not know yet does not close a breaker that just tripped."""
    trip(breaker)
    breaker.adopt(view("closed", 5))
    assert breaker.state == "open"
    reported = breaker.take_unshared()
    assert reported.tripped == "failures"
    breaker.adopt(view("open", 6, due_in_s=4.0), reported=reported)
    assert (breaker.due_in_s, breaker.trip_unshared) == (4.0, False)


def test_open_breaker_tells_a_redis_that_forgot(breaker: Breaker) -> None:
    """A flushed Redis says closed of generation 0: the pod stays open and reports it again."""
    breaker.adopt(view("open", 7, due_in_s=3.0))
    breaker.adopt(view("closed", 0))
    assert breaker.state == "open"
    assert breaker.take_unshared() == Unshared(0, tripped="redis_lost")


def test_overtaken_reply_is_ignored(breaker: Breaker) -> None:
    """A reply of an older generation that arrives late does not turn the breaker back."""
    breaker.adopt(view("open", 9, due_in_s=3.0))
    breaker.adopt(view("closed", 8))
    assert breaker.state == "open"


def test_due_breaker_does_not_flap_while_the_fleet_sleeps(
    breaker: Breaker, clock: Clock, sink: RecordedEvents
) -> None:
    """Without traffic the fleet's breaker stays open past its time; pods stay half-open."""
    breaker.adopt(view("open", 7, due_in_s=3.0))
    clock.now_s += 3.0
    for _ in range(5):
        assert breaker.state == "half_open"
        breaker.adopt(view("open", 7, due_in_s=0.0))
    assert [event.to_state for event in sink.of(BreakerChanged)] == ["open", "half_open"]


def test_leased_probes_count_here_as_well(breaker: Breaker) -> None:
    """With two probes leased, Redis may go away: one more is sent, and then the pod closes."""
    breaker.adopt(view("half_open", 7))
    permits = [breaker.leased_probe(ProbeLease(str(number), 7)) for number in range(2)]
    permits.append(breaker.local_probe())
    assert breaker.local_probe() is None
    for permit in permits:
        assert breaker.state == "half_open"
        assert permit is not None
        breaker.settle(permit, SUCCESS)
    assert breaker.state == "closed"


def test_failed_leased_probe_opens_this_pod_at_once(breaker: Breaker) -> None:
    """What one pod has just seen it need not hear from the fleet."""
    breaker.adopt(view("half_open", 7))
    permit = breaker.leased_probe(ProbeLease("a", 7))
    assert permit is not None
    breaker.settle(permit, FAILURE)
    assert breaker.state == "open"


def test_operator_holds_it_open_or_switches_it_off(breaker: Breaker) -> None:
    """Forced open lets nothing through for ever; disabled lets all through whatever fails."""
    breaker.adopt(view("forced_open", 1))
    assert breaker.permit() is None
    assert breaker.due_in_s == math.inf
    breaker.adopt(view("disabled", 2))
    trip(breaker)
    assert breaker.state == "disabled"
    breaker.adopt(view("closed", 3))
    trip(breaker)
    assert breaker.state == "open"


def test_unshared_counts_survive_a_failed_report(breaker: Breaker) -> None:
    """What Redis did not take is reported the next time, together with what came after."""
    call(breaker, FAILURE)
    breaker.restore(breaker.take_unshared())
    call(breaker, SLOW)
    assert breaker.take_unshared() == Unshared(0, calls=2, failed=1, slow=1)
    assert breaker.take_unshared() == Unshared(0)


class BreakerMachine(RuleBasedStateMachine):
    """Any order of calls, results, waits and fleet replies."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.sink = RecordedEvents()
        self.in_flight: list[Permit] = []
        self.probes: dict[int, int] = {}
        self.generation = 0

    @initialize(calls_min=st.integers(1, 4), probes=st.integers(1, 3))
    def begin(self, calls_min: int, probes: int) -> None:
        self.policy = breaker_policy(calls_min=calls_min, probes=probes)
        self.breaker = Breaker("m", self.policy, self.sink, self.clock)

    @rule()
    def send(self) -> None:
        state = self.breaker.state
        permit = self.breaker.permit()
        assert (permit is not None) == (state in {"closed", "disabled"})
        if permit is not None:
            self.in_flight.append(permit)

    @rule()
    def send_probe(self) -> None:
        half_open = self.breaker.state == "half_open"
        permit = self.breaker.local_probe()
        assert half_open or permit is None
        if permit is not None:
            self.in_flight.append(permit)
            self.probes[permit.epoch] = self.probes.get(permit.epoch, 0) + 1
            assert self.probes[permit.epoch] <= self.policy.probes

    @precondition(lambda self: self.in_flight)
    @rule(
        data=st.data(),
        result=st.sampled_from([SUCCESS, SLOW, FAILURE, SILENT, ANSWERED, NO_RESULT]),
    )
    def finish(self, data: st.DataObject, result: CallResult) -> None:
        permit = data.draw(st.sampled_from(self.in_flight))
        self.in_flight.remove(permit)
        before = self.breaker.state
        self.breaker.settle(permit, result)
        if result == NO_RESULT and permit.probe and self.probes[permit.epoch]:
            self.probes[permit.epoch] -= 1
        if self.breaker.state != before:
            assert self.breaker.state in {"open", "closed"}

    @rule(seconds=st.floats(0.0, 70.0))
    def wait(self, seconds: float) -> None:
        self.clock.now_s += seconds

    @rule(
        state=st.sampled_from(["closed", "open", "half_open", "forced_open", "disabled"]),
        newer=st.integers(-2, 2),
        due_in_s=st.floats(0.0, 60.0),
    )
    def hear_from_fleet(self, state: str, newer: int, due_in_s: float) -> None:
        generation = max(self.generation + newer, 0)
        self.generation = max(self.generation, generation)
        reported = self.breaker.take_unshared()
        self.breaker.adopt(view(state, generation, due_in_s), reported=reported)

    @invariant()
    def is_open_only_for_a_bounded_time(self) -> None:
        if not hasattr(self, "breaker") or self.breaker.state == "forced_open":
            return
        assert 0.0 <= self.breaker.due_in_s <= self.policy.open_max_s

    @invariant()
    def changes_follow_each_other(self) -> None:
        changes = self.sink.of(BreakerChanged)
        for earlier, later in pairwise(changes):
            assert earlier.to_state == later.from_state != later.to_state


BreakerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBreakerMachine = BreakerMachine.TestCase
