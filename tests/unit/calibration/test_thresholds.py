"""Thresholds are chosen on one half and reported on the other; probabilities are checked."""

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa

from assay.calibration.thresholds import CURVE_POINTS_MAX, halves, propose_threshold, reliability


def scores(n, seed=0):
    rng = np.random.default_rng(seed)
    human = rng.integers(0, 2, n)
    return rng.normal(human, 0.6), human


def test_the_threshold_is_reported_on_rows_that_did_not_choose_it():
    """With scores that tell nothing, the reported κ is about 0 although the best one is not."""
    rng = np.random.default_rng(0)
    kappas = [
        propose_threshold(rng.random(200), rng.integers(0, 2, 200), seed=seed)
        .agreement.figures["kappa"]
        .value
        for seed in range(60)
    ]
    assert abs(np.mean(kappas)) < 0.03


def test_the_threshold_with_the_highest_kappa_is_found():
    """Two normal groups of equal size are best cut between their means."""
    score, human = scores(4_000)
    found = propose_threshold(score, human)
    assert found.value == pytest.approx(0.5, abs=0.15)
    assert found.agreement.rows == 2_000


def test_the_threshold_is_the_best_of_all_by_trying_them():
    """Few distinct scores and few passes: the highest κ of the half that chooses."""
    rng = np.random.default_rng(7)
    human = (rng.random(600) < 0.2) * 1.0
    score = np.clip(human + rng.integers(0, 5, 600), 0, 5)
    tuning, test = halves(np.arange(600), 0)
    kappas = {
        value: cohens_kappa(
            np.histogram2d(human[tuning], score[tuning] >= value, bins=2, range=[[0, 1], [0, 1]])[0]
        ).kappa
        for value in range(1, 6)
    }
    found = propose_threshold(score, human)
    assert found.value == max(kappas, key=kappas.get)
    accuracy = ((score[test] >= found.value) == human[test]).mean()
    assert found.agreement.figures["accuracy"].value == pytest.approx(accuracy)


def test_a_precision_is_kept_or_the_report_says_that_it_is_not():
    """The lowest threshold with the wanted precision; no threshold if none reaches it."""
    score, human = scores(4_000)
    found = propose_threshold(score, human, precision_min=0.9)
    assert found.agreement.figures["precision"].value == pytest.approx(0.9, abs=0.03)
    noise = np.random.default_rng(1).random(4_000).round(1)
    none = propose_threshold(noise, human, precision_min=0.95)
    assert none.value is None
    assert "No threshold reaches" in none.statement


def test_one_class_of_labels_gives_no_threshold():
    """Nothing to tell apart: the reason instead of a threshold."""
    assert propose_threshold(np.arange(50), np.ones(50)).value is None
    with pytest.raises(ValueError, match="human_pass"):
        propose_threshold([1, 2], [1, 2])


def test_groups_are_never_split():
    """All rows of a group lie in one half, and each half has half of the groups."""
    codes = np.repeat(np.arange(21), 3)
    first, second = halves(codes, 0)
    assert not set(codes[first]) & set(codes[second])
    assert len(first) + len(second) == 63
    assert len(set(codes[first])) == 10


def test_a_calibrated_judge_has_an_error_within_chance():
    """In about 95 % of samples; an overconfident judge stands out."""
    rng = np.random.default_rng(0)
    within = 0
    for seed in range(100):
        claimed = rng.random(200)
        found = reliability(claimed, rng.random(200) < claimed, seed=seed)
        within += found.error <= found.error_by_chance
    assert 89 <= within <= 99
    claimed = np.clip(rng.random(200) * 2 - 0.5, 0, 1)
    found = reliability(claimed, rng.random(200) < 0.5)
    assert found.error > found.error_by_chance


def test_the_error_is_that_of_its_definition():
    """Two bins: (0.2, one of two right) and (0.9, three of four right)."""
    found = reliability([0.2, 0.2, 0.9, 0.9, 0.9, 0.9], [1, 0, 1, 1, 1, 0])
    assert found.bins == (
        (pytest.approx(0.2), 0.5, 2),
        (pytest.approx(0.9), 0.75, 4),
    )
    assert found.error == pytest.approx(2 / 6 * 0.3 + 4 / 6 * 0.15)


def test_bad_probabilities_are_errors_and_missing_ones_a_statement():
    """Above 1 is named; no rows at all give no error rate."""
    with pytest.raises(ValueError, match="probabilities"):
        reliability([1.2], [1])
    assert reliability([np.nan], [1]).error is None


def test_a_curve_shows_what_other_thresholds_give():
    """On the half that did not choose: recall falls, the chosen one has the reported figures."""
    score, human = scores(400)
    score = score.round(1)
    found = propose_threshold(score, human)
    curve = found.curve
    assert 10 < len(curve) <= CURVE_POINTS_MAX
    recalls = [point.recall.value for point in curve]
    assert recalls == sorted(recalls, reverse=True)
    assert recalls[0] == 1
    for point in curve:
        low, high = point.precision.interval
        assert 0 <= low <= point.precision.value <= high <= 1
    for name in ("precision", "recall", "accuracy"):
        reported = found.agreement.figures[name].value
        ends = [getattr(point, name).value for point in curve if point.threshold == found.value]
        assert ends in ([], [pytest.approx(reported)])


def test_a_curve_does_not_count_rows_of_a_group_as_independent():
    """Ten copies of each case leave the figures, and do not narrow their intervals tenfold."""
    score, human = scores(60)
    alone = propose_threshold(score, human).curve
    groups = np.tile(np.arange(60), 10)
    copied = propose_threshold(np.tile(score, 10), np.tile(human, 10), groups).curve

    def width(curve):
        return np.mean([np.ptp(p.accuracy.interval) for p in curve if p.accuracy.interval])

    assert width(copied) > 0.7 * width(alone)
