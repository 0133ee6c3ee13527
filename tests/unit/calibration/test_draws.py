"""Draws keep their expected size, their floor and their seed; plans keep their interval."""

import numpy as np
import pytest

from assay.calibration.draws import draw_rows, inclusion_probabilities, plan_labels
from assay.calibration.prediction_powered import prediction_powered_mean


@pytest.mark.parametrize("expected", [1, 40, 150, 199.5, 200])
def test_probabilities_sum_to_the_expected_size(expected):
    """Also where some rows are certain; none is 0 or above 1."""
    uncertainty = np.random.default_rng(0).exponential(size=200) ** 3
    found = inclusion_probabilities(uncertainty, expected)
    assert found.sum() == pytest.approx(expected)
    assert found.min() >= 0.2 * expected / 200 * 0.999
    assert found.max() <= 1


def test_uncertain_rows_are_drawn_more_often():
    """In proportion to the uncertainty above the floor; unknown counts as the mean."""
    found = inclusion_probabilities([0.0, 1.0, 2.0, np.nan], 1.0, floor=0.2)
    assert found == pytest.approx([0.05, 0.25, 0.45, 0.25])
    assert inclusion_probabilities(np.zeros(4), 2) == pytest.approx(np.full(4, 0.5))
    assert inclusion_probabilities(np.full(4, np.nan), 2) == pytest.approx(np.full(4, 0.5))


def test_draws_have_their_size_and_their_probabilities_on_average():
    """Over 2,000 seeds; the same seed draws the same rows."""
    uncertainty = np.linspace(0, 1, 100)
    hits = np.zeros(100)
    sizes = []
    for seed in range(2_000):
        draw = draw_rows(uncertainty, 30, seed)
        hits[draw.rows] += 1
        sizes.append(len(draw.rows))
    assert np.mean(sizes) == pytest.approx(30, abs=0.4)
    assert np.std(sizes) < np.sqrt(30)
    assert np.abs(hits / 2_000 - draw.probabilities).max() < 0.045
    assert np.array_equal(draw_rows(uncertainty, 30, 5).rows, draw_rows(uncertainty, 30, 5).rows)


def test_the_probabilities_undo_the_choice():
    """Rows that pass are drawn three times as often: weighted labels still hold the true share."""
    label = (np.arange(1_000) % 2) * 1.0
    means = []
    for seed in range(100):
        draw = draw_rows(1 + 2 * label, 100, seed, floor=0.1)
        given = np.full(1_000, np.nan)
        given[draw.rows] = label[draw.rows]
        found = prediction_powered_mean(given, np.ones(1_000), probabilities=draw.probabilities)
        means.append(found.labels_only.value)
    assert np.mean(means) == pytest.approx(0.5, abs=0.03)


def test_drawing_by_uncertainty_beats_drawing_at_random():
    """With a judge that knows where it errs, the interval is narrower than a uniform draw's."""
    rng = np.random.default_rng(0)
    wrong = rng.random(2_000) < 0.2
    uncertainty = np.where(wrong, 1.0, 0.1)
    label = (rng.random(2_000) < 0.6) * 1.0
    judge = np.where(wrong, 1 - label, label)
    widths = []
    for how in (uncertainty, np.ones(2_000)):
        total = 0.0
        for seed in range(50):
            draw = draw_rows(how, 150, seed)
            given = np.full(2_000, np.nan)
            given[draw.rows] = label[draw.rows]
            found = prediction_powered_mean(given, judge, probabilities=draw.probabilities)
            total += np.ptp(found.debiased.interval)
        widths.append(total)
    assert widths[0] < 0.75 * widths[1]


def test_planned_labels_give_the_planned_interval():
    """A pilot's deviation and correlation plan the labels whose interval is as wide as wanted."""
    rng = np.random.default_rng(2)
    label = (rng.random(3_000) < 0.7) * 1.0
    judge = np.where(rng.random(3_000) < 0.8, label, rng.random(3_000))
    plan = plan_labels(
        0.05, rows=3_000, deviation=label.std(), correlation=np.corrcoef(label, judge)[0, 1]
    )
    given = np.where(rng.permutation(3_000) < plan.labels, label, np.nan)
    found = prediction_powered_mean(given, judge)
    assert np.ptp(found.debiased.interval) / 2 == pytest.approx(0.05, rel=0.15)
    assert plan.labels < plan.labels_without_judge


def test_a_plan_is_the_smallest_that_suffices():
    """z² s² (1 − ρ² N/(N + n))/n falls below h² with this n and not with one less."""
    plan = plan_labels(0.06, rows=400, deviation=0.5, correlation=0.9)

    def half_width(n):
        return 1.6448536 * 0.5 * np.sqrt((1 - 0.81 * (400 - n) / 400) / n)

    assert half_width(plan.labels) <= 0.06 < half_width(plan.labels - 1)


def test_a_plan_that_no_label_count_meets_says_so():
    """More rows would be needed than there are."""
    plan = plan_labels(0.001, rows=100, deviation=0.5)
    assert plan.labels is None
    assert "do not give" in plan.statement


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (([1.0], 2), "expected"),
        (([1.0], 0), "expected"),
        (([-1.0, 1.0], 1), "uncertainty"),
    ],
)
def test_bad_draws_are_named(arguments, field):
    """More labels than rows, none, or a negative uncertainty."""
    with pytest.raises(ValueError, match=field):
        inclusion_probabilities(*arguments)
    with pytest.raises(ValueError, match="half_width"):
        plan_labels(0.0, rows=10, deviation=0.5)
