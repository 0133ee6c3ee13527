"""The autoscaler's algorithm on the examples that Kubernetes documents."""

import pytest
from hpa.autoscaler import (
    Autoscaler,
    Behavior,
    MetricLost,
    Policy,
    Rules,
    Sample,
    largest,
    replicas_for_pods,
    replicas_for_total,
)


def pods(*values: float | None) -> list[Sample]:
    return [Sample(value) for value in values]


def behavior(
    up: Rules | None = None, down: Rules | None = None, bounds: tuple[int, int] = (1, 100)
) -> Behavior:
    free = Rules(0, (Policy("Percent", 100_000, 15),))
    gone = Rules(0, (Policy("Percent", 100, 15),))
    return Behavior(up or free, down or gone, *bounds)


@pytest.mark.parametrize(("value", "wanted"), [(200, 6), (50, 2), (100, 3), (150, 5)])
def test_replicas_follow_the_ratio(value, wanted):
    """A metric of 200 with a target of 100 doubles the pods, 50 halves them; halves round up."""
    assert replicas_for_pods(3, 100, pods(value, value, value)) == wanted


@pytest.mark.parametrize(
    ("value", "wanted"), [(110, 10), (111, 12), (90, 10), (89, 9), (105, 10), (95, 10)]
)
def test_a_ratio_near_one_changes_nothing(value, wanted):
    """Within a tenth of the target nothing changes."""
    assert replicas_for_pods(10, 100, pods(*[value] * 10)) == wanted


def test_a_missing_value_counts_as_the_target_when_falling():
    """Four pods at half the target need two; with one silent pod, counted as busy, three."""
    assert replicas_for_pods(4, 100, pods(50, 50, 50, None)) == 3


def test_a_missing_value_counts_as_nothing_when_rising():
    """Two pods at three times the target and two silent ones: six, not twelve."""
    assert replicas_for_pods(4, 100, pods(300, 300, None, None)) == 6


def test_missing_values_never_turn_the_direction():
    """A rise does not become a fall when the silent pods are counted."""
    assert replicas_for_pods(4, 100, pods(120, None, None, None)) == 4


def test_a_silent_pod_counts_as_its_whole_request_for_cpu():
    """Utilization: a missing pod uses 100 % of its request, whatever the target."""
    assert replicas_for_pods(4, 0.7, pods(0.2, 0.2, 0.2, None), missing_when_falling=1.0) == 3


def test_pods_not_yet_ready_count_as_nothing_when_rising():
    """Three pods at twice the target and three that are starting: six are enough."""
    samples = [*pods(200, 200, 200), *[Sample(None, unready=True)] * 3]
    assert replicas_for_pods(6, 100, samples) == 6


def test_pods_not_yet_ready_are_left_out_when_falling():
    """A starting pod neither delays a fall nor speeds it up."""
    assert replicas_for_pods(4, 100, [*pods(50, 50, 50), Sample(None, unready=True)]) == 2


def test_a_value_of_an_unready_pod_is_not_believed():
    """A pod that starts up burns CPU; that is not load."""
    assert replicas_for_pods(2, 100, [Sample(100.0), Sample(900.0, unready=True)]) == 2


@pytest.mark.parametrize("samples", [[], pods(None, None), [Sample(5.0, unready=True)]])
def test_no_value_at_all_is_a_lost_metric(samples):
    """A metric without any value is an error, not a zero."""
    with pytest.raises(MetricLost):
        replicas_for_pods(2, 100, samples)


@pytest.mark.parametrize(
    ("current", "total", "wanted"), [(2, 1000, 2), (2, 1101, 3), (2, 0, 0), (4, 5000, 10)]
)
def test_an_external_total_is_shared_among_the_pods(current, total, wanted):
    """The total divided by the target per pod, with the same tolerance."""
    assert replicas_for_total(current, 500, total) == wanted


def test_an_external_metric_without_an_answer_is_lost():
    """No answer is an error, not a zero."""
    with pytest.raises(MetricLost):
        replicas_for_total(2, 500, None)


def test_the_largest_proposal_counts():
    """Each metric proposes a number, and the largest is used."""
    assert largest(4, [3, 7, 5]) == 7


def test_a_lost_metric_never_scales_down():
    """With one metric lost the others may only add pods; with all lost nothing changes."""
    assert largest(4, [None, 6]) == 6
    assert largest(4, [None, 2]) is None
    assert largest(4, [None, None]) is None
    scaler = Autoscaler(behavior())
    assert scaler.decide(0, 4, [None, 2]) == 4
    assert scaler.decide(15, 4, [None, 6]) == 6


def test_bounds_hold_whatever_is_proposed():
    """Never above the maximum, never below the minimum."""
    scaler = Autoscaler(behavior(bounds=(2, 20)))
    assert scaler.decide(0, 5, [500]) == 20
    assert scaler.decide(15, 20, [0]) == 2


def test_the_documented_fall_from_eighty():
    """4 pods or 10 % a minute, the larger: 80, 72, 64, … and by fours below forty."""
    down = Rules(0, (Policy("Pods", 4, 60), Policy("Percent", 10, 60)), "Max")
    scaler = Autoscaler(behavior(down=down))
    seen, current = [], 80
    for minute in range(12):
        current = scaler.decide(minute * 60, current, [10])
        seen.append(current)
    assert seen == [72, 64, 57, 51, 45, 40, 36, 32, 28, 24, 20, 16]


def test_select_min_takes_the_smaller_change():
    """20 % or 2 pods a minute, the smaller: one at a time where 20 % is less than two pods."""
    down = Rules(0, (Policy("Percent", 20, 60), Policy("Pods", 2, 60)), "Min")
    scaler = Autoscaler(behavior(down=down))
    seen, current = [], 20
    for minute in range(12):
        current = scaler.decide(minute * 60, current, [2])
        seen.append(current)
    assert seen == [18, 16, 14, 12, 10, 8, 6, 4, 3, 2, 2, 2]


def test_a_period_counts_what_was_changed_in_it():
    """Within one period a policy is applied once, however often the loop runs."""
    up = Rules(0, (Policy("Percent", 100, 15), Policy("Pods", 4, 15)), "Max")
    scaler = Autoscaler(behavior(up=up))
    assert scaler.decide(0, 2, [50]) == 6
    assert scaler.decide(10, 6, [50]) == 6
    assert scaler.decide(15, 6, [50]) == 12
    assert scaler.decide(30, 12, [50]) == 24


def test_select_disabled_forbids_the_direction():
    """A disabled direction does not move at all."""
    scaler = Autoscaler(behavior(down=Rules(0, (), "Disabled")))
    assert scaler.decide(0, 10, [1]) == 10


def test_the_window_down_keeps_the_highest_recommendation():
    """A fall waits until nothing higher was recommended for the whole window."""
    scaler = Autoscaler(behavior(down=Rules(300, (Policy("Percent", 100, 15),))))
    assert scaler.decide(0, 10, [10]) == 10
    assert [scaler.decide(t, 10, [3]) for t in range(15, 300, 15)] == [10] * 19
    assert scaler.decide(300, 10, [3]) == 3


def test_the_window_up_keeps_the_lowest_recommendation():
    """A rise with a window waits until it was asked for all the time."""
    scaler = Autoscaler(behavior(up=Rules(60, (Policy("Percent", 1000, 15),))))
    assert scaler.decide(0, 2, [2]) == 2
    assert scaler.decide(15, 2, [8]) == 2
    assert scaler.decide(30, 2, [8]) == 2
    assert scaler.decide(60, 2, [8]) == 8
