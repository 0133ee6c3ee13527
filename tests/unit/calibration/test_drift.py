"""The drift chart's false alarms are as rare as its limit says, and it finds a worse judge."""

import numpy as np
import pytest

from assay.calibration.drift import drift_chart, mean_run_length


def cases_to_alarm(rate, chart, runs=400, seed=0):
    rng = np.random.default_rng(seed)
    sums, alarms = np.zeros(runs, dtype=int), np.zeros(runs)
    case = 0
    while not alarms.all():
        case += 1
        differs = rng.random(runs) < rate
        sums = np.where(differs, sums + chart.step, np.maximum(sums - 1, 0))
        alarms[(sums >= chart.limit) & (alarms == 0)] = case
    return alarms


@pytest.mark.parametrize(("certified", "worse"), [(0.1, 0.2), (0.05, 0.15), (0.2, 0.3)])
def test_alarms_come_as_late_as_computed(certified, worse):
    """Means of 400 simulated charts, before and after the change, within their error."""
    chart = drift_chart(certified, worse, 2_000)
    assert chart.cases_to_false_alarm >= 2_000
    for rate, expected in (
        (certified, chart.cases_to_false_alarm),
        (worse, chart.cases_to_detection),
    ):
        found = cases_to_alarm(rate, chart)
        assert found.mean() == pytest.approx(expected, abs=4 * found.std() / 20)


def test_a_thousand_sets_pass_between_false_alarms():
    """Sets of 50 cases at a certified 10 %: the alarm for 20 % comes within three sets."""
    chart = drift_chart(0.1, 0.2, 1_000 * 50)
    print(chart)
    assert chart.cases_to_false_alarm >= 50_000
    assert chart.cases_to_detection < 150
    smaller = mean_run_length(0.1, chart.step, chart.limit - 1)
    assert smaller < 50_000, "the smallest limit"


def test_the_run_length_is_that_of_a_hand_computation():
    """Limit 1: the first disagreement alarms, after 1/p cases. Limit 2, step 1: (1 + p)/p²."""
    assert mean_run_length(0.25, 3, 1) == pytest.approx(4)
    assert mean_run_length(0.25, 1, 2) == pytest.approx(1.25 / 0.25**2)


def test_the_chart_says_since_when():
    """The sum was last 0 where the change began; the alarm stays."""
    chart = drift_chart(0.1, 0.3, 1_000).extend([False] * 100)
    assert not chart.alarm
    for _ in range(3):
        chart = chart.extend([True, True, False] * 5)
    assert chart.alarm
    assert chart.quiet == 100
    assert chart.extend([False] * 500) == chart


@pytest.mark.parametrize(
    ("rates", "field"),
    [((0.0, 0.2), "certified"), ((0.2, 0.1), "worse"), ((0.1, 0.10001), "too close")],
)
def test_impossible_charts_are_named(rates, field):
    """No rate below or equal, none too close to find."""
    with pytest.raises(ValueError, match=field):
        drift_chart(*rates, 1e12)
