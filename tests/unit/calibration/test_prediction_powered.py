"""Debiased means cover the truth where the judge alone does not."""

import numpy as np
import pytest
from scipy import stats

from assay.calibration.draws import draw_rows
from assay.calibration.prediction_powered import prediction_powered_mean

NAN = float("nan")


def population(size=4_000, skill=0.7, seed=0):
    """Labels of 0 and 1, and a judge that is biased upwards and often right."""
    rng = np.random.default_rng(seed)
    label = (rng.random(size) < 0.7) * 1.0
    noisy = np.where(rng.random(size) < skill, label, rng.random(size))
    return label, 0.8 * noisy + 0.15


def coverage(n, unlabelled, skill, *, group=1, active=False, rounds=2_000):
    """Shares of rounds whose 90 % interval holds the mean of the population, and mean widths."""
    label, judge = population(skill=skill)
    rng = np.random.default_rng(1)
    held, width = np.zeros(3), np.zeros(3)
    for seed in range(rounds):
        starts = rng.integers(len(label) // group, size=(n + unlabelled) // group)
        rows = (starts[:, None] * group + np.arange(group)).ravel()
        given, score, probabilities = label[rows].copy(), judge[rows], None
        if active:
            draw = draw_rows(np.sqrt(score * (1 - score)), n, seed)
            hidden, probabilities = (
                np.setdiff1d(np.arange(len(rows)), draw.rows),
                draw.probabilities,
            )
            given[hidden] = NAN
        else:
            given[n:] = NAN
        found = prediction_powered_mean(
            given, score, np.repeat(np.arange(len(starts)), group), probabilities=probabilities
        )
        for i, figure in enumerate((found.debiased, found.labels_only, found.judge_only)):
            held[i] += figure.interval[0] <= label.mean() <= figure.interval[1]
            width[i] += figure.interval[1] - figure.interval[0]
    return held / rounds, width / rounds


@pytest.mark.parametrize(
    ("n", "unlabelled", "skill", "options"),
    [
        (40, 400, 0.7, {}),
        (100, 1_000, 0.9, {}),
        (60, 300, 0.3, {}),
        (120, 600, 0.7, {"group": 4}),
        (60, 400, 0.7, {"active": True}),
        (60, 400, 0.9, {"active": True}),
    ],
)
def test_debiased_intervals_cover_as_often_as_they_say(n, unlabelled, skill, options):
    """87 to 93 % at 90 % nominal, drawn with replacement; narrower than labels alone."""
    held, width = coverage(n, unlabelled, skill, **options)
    print(n, unlabelled, skill, options, "covered", held.round(3), "width", width.round(3))
    assert 0.87 <= held[0] <= 0.93
    assert width[0] < width[1]
    if skill < 0.9:
        assert held[2] < 0.6, "the judge alone is biased"


def test_groups_that_repeat_rows_do_not_narrow_the_interval():
    """Every row four times in one group gives the interval of the single rows."""
    label, judge = population(200)
    label[50:] = NAN
    single = prediction_powered_mean(label, judge, judge_weight=0.6)
    again = prediction_powered_mean(
        np.tile(label, 4),
        np.tile(judge, 4),
        np.tile(np.arange(200), 4),
        judge_weight=0.6,
    )
    assert again.debiased.value == pytest.approx(single.debiased.value)
    assert again.debiased.interval == pytest.approx(single.debiased.interval)


def test_without_the_judge_it_is_the_classical_interval():
    """λ = 0: mean ± t · s/√n to 1e-12."""
    label, judge = population(500)
    label[80:] = NAN
    found = prediction_powered_mean(label, judge, judge_weight=0.0)
    known = label[:80]
    classical = stats.t.interval(0.9, 79, known.mean(), stats.sem(known))
    assert found.debiased.interval == pytest.approx(classical, abs=1e-12)
    assert found.labels_only == found.debiased


def recorded():
    """400 labelled and 1,200 unlabelled rows, of which `ppi_py` 0.2.3 gave the values below."""
    i, k = np.arange(400), np.arange(1_200)
    label = ((i * 37) % 101 < 65) * 1.0
    judge = np.round(0.2 * label + 0.8 * ((i * 53) % 97) / 97, 3)
    rest = np.round(0.2 * ((k * 41) % 103 < 70) + 0.8 * ((k * 59) % 89) / 89, 3)
    return np.append(label, np.full(1_200, NAN)), np.append(judge, rest)


@pytest.mark.parametrize(
    ("weight", "value", "half_width"),
    [
        (None, 0.6480303514623582, (0.6853159353289477 - 0.6107447675957687) / 2),
        (0.0, 0.6425, (0.681915936553605 - 0.6030840634463949) / 2),
        (0.4, 0.6466146666666667, (0.6840453608791497 - 0.6091839724541837) / 2),
        (1.0, 0.6527866666666666, (0.6916446847519727 - 0.6139286485813605) / 2),
    ],
)
def test_values_are_those_of_the_reference(weight, value, half_width):
    """`ppi_mean_ci` divides by n, not n − 1, and takes a normal quantile: 0.5 % apart."""
    found = prediction_powered_mean(*recorded(), judge_weight=weight)
    assert found.debiased.value == pytest.approx(value, abs=1e-12 if weight is not None else 2e-5)
    low, high = found.debiased.interval
    assert (high - low) / 2 == pytest.approx(half_width, rel=6e-3)


def test_the_weight_is_that_of_the_formula():
    """λ = Cov(Y, f)/((1 + n/N) Var f)."""
    label, judge = recorded()
    covariance = np.cov(label[:400], judge[:400])[0, 1]
    expected = covariance / ((1 + 400 / 1_200) * judge.var(ddof=1))
    assert prediction_powered_mean(label, judge).judge_weight == pytest.approx(expected)


def test_a_good_judge_is_worth_labels():
    """The effective number of labels exceeds the real one; a useless judge adds none."""
    label, judge = population(2_000, skill=0.95)
    label[100:] = NAN
    good = prediction_powered_mean(label, judge)
    useless = prediction_powered_mean(label, np.random.default_rng(9).random(2_000))
    assert good.effective_labels > 250
    assert useless.effective_labels == pytest.approx(100, rel=0.1)


def test_a_constant_judge_is_ignored_and_named():
    """Its weight is 0."""
    label, _ = population(200)
    label[60:] = NAN
    found = prediction_powered_mean(label, np.ones(200))
    assert found.judge_weight == 0
    assert found.debiased == found.labels_only
    assert any("one score only" in text for text in found.statements)


def test_equal_labels_have_no_interval():
    """40 passes of 40 do not show that all rows pass: no interval of width 0."""
    _, judge = population(200)
    label = np.where(np.arange(200) < 40, 1.0, NAN)
    found = prediction_powered_mean(label, np.ones(200))
    assert found.debiased.interval is None
    assert "tell nothing of the error" in found.debiased.statement
    assert prediction_powered_mean(label, judge).labels_only.interval is None


def test_too_few_labels_say_nothing():
    """None or one: no figure. Ten: a figure that the report does not trust."""
    _, judge = population(100)
    for n in (0, 1):
        label = np.where(np.arange(100) < n, 1.0, NAN)
        assert prediction_powered_mean(label, judge).debiased.value is None
    label = np.where(np.arange(100) < 10, np.arange(100) % 2, NAN)
    assert "not to be trusted" in prediction_powered_mean(label, judge).statements[0]


def test_all_labelled_is_the_mean_of_the_labels():
    """Without unlabelled rows the judge has nothing to add."""
    label, judge = population(100)
    found = prediction_powered_mean(label, judge)
    assert found.judge_weight == 0
    assert found.debiased.value == pytest.approx(label.mean())


def test_unscored_rows_are_counted():
    """Rows without a score are left out, with or without a label."""
    label, judge = population(100)
    label[50:] = NAN
    judge[[0, 60, 61]] = NAN
    found = prediction_powered_mean(label, judge)
    assert found.labels == 49
    assert any("3 rows are unscored and left out, 1 of them" in text for text in found.statements)


def test_bad_probabilities_are_named():
    """A labelled row that could not have been drawn is an error."""
    with pytest.raises(ValueError, match="probabilities"):
        prediction_powered_mean([1, 0, NAN], [1, 1, 1], probabilities=[0.5, 0.0, 0.5])
