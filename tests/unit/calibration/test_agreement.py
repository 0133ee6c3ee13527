"""Agreement of judges with people: the formulas, their intervals, and what cannot be told."""

import krippendorff
import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa

from assay.calibration.agreement import (
    flip_rate,
    human_ceiling,
    krippendorff_alpha,
    label_agreement,
    rating_table,
    score_agreement,
    worst_disagreements,
)

NAN = float("nan")


def labels(n, accuracy=0.85, share=0.7, seed=0):
    rng = np.random.default_rng(seed)
    human = rng.random(n) < share
    return np.where(rng.random(n) < accuracy, human, ~human) * 1.0, human * 1.0


def test_label_figures_are_those_of_their_definitions():
    """Accuracy, κ, precision, recall and bias equal a computation by hand and statsmodels' κ."""
    judge, human = labels(300)
    found = label_agreement(judge, human)
    table = np.array(found.confusion)
    figures = {name: figure.value for name, figure in found.figures.items()}
    assert table.sum() == found.rows == 300
    assert figures["accuracy"] == pytest.approx((judge == human).mean(), abs=1e-12)
    assert figures["kappa"] == pytest.approx(cohens_kappa(table).kappa, abs=1e-12)
    assert figures["precision"] == pytest.approx(human[judge == 1].mean(), abs=1e-12)
    assert figures["recall"] == pytest.approx(judge[human == 1].mean(), abs=1e-12)
    assert figures["bias"] == pytest.approx(judge.mean() - human.mean(), abs=1e-12)
    assert figures["alpha"] == pytest.approx(
        krippendorff.alpha(np.stack([judge, human]), level_of_measurement="nominal"), abs=1e-12
    )


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_alpha_equals_the_reference(level):
    """Krippendorff's α of four raters with a third of the ratings missing, at each level."""
    rng = np.random.default_rng(3)
    true = rng.integers(1, 6, 200)
    table = np.clip(true + rng.integers(-1, 2, (4, 200)), 1, 5).astype(float)
    table[rng.random(table.shape) < 0.33] = NAN
    expected = krippendorff.alpha(table, level_of_measurement=level)
    assert krippendorff_alpha(table, level) == pytest.approx(expected, abs=1e-12)


def test_score_figures_are_those_of_their_definitions():
    """Correlations equal scipy's, error and bias a computation by hand."""
    rng = np.random.default_rng(1)
    human = rng.integers(1, 6, 120).astype(float)
    judge = np.clip(human + rng.integers(-1, 3, 120), 1, 5)
    figures = {k: v.value for k, v in score_agreement(judge, human).figures.items()}
    assert figures["pearson"] == pytest.approx(stats.pearsonr(judge, human).statistic)
    assert figures["spearman"] == pytest.approx(stats.spearmanr(judge, human).statistic)
    assert figures["kendall"] == pytest.approx(stats.kendalltau(judge, human).statistic)
    assert figures["mean_absolute_error"] == pytest.approx(np.abs(judge - human).mean())
    assert figures["bias"] == pytest.approx((judge - human).mean())


@pytest.mark.parametrize("size", [1, 3])
def test_intervals_cover_the_truth(size):
    """95 % intervals of accuracy and κ hold it in 91 to 98 % of 200 samples, groups or none."""
    covered = np.zeros(2)
    truth = (0.85, 1 - 0.15 / (1 - (0.7 * 0.64 + 0.3 * 0.36)))
    for seed in range(200):
        judge, human = (np.repeat(column, size) for column in labels(100, seed=seed))
        found = label_agreement(judge, human, np.repeat(np.arange(100), size), seed=seed).figures
        for which, name in enumerate(("accuracy", "kappa")):
            low, high = found[name].interval
            covered[which] += low <= truth[which] <= high
    print("95 % intervals cover", covered / 200)
    assert (covered >= 0.91 * 200).all()
    assert (covered <= 0.98 * 200).all()


def test_repeated_cases_of_a_group_add_nothing():
    """Each case four times over, as one group, gives the interval of the single cases."""
    judge, human = labels(100)
    single = label_agreement(judge, human).figures["accuracy"].interval
    grouped = (
        label_agreement(np.tile(judge, 4), np.tile(human, 4), np.tile(np.arange(100), 4))
        .figures["accuracy"]
        .interval
    )
    assert grouped == pytest.approx(single, abs=0.02)


def test_many_rows_get_the_same_interval_from_smaller_resamples():
    """Above 5,000 groups the m out of n bootstrap agrees with the normal interval."""
    judge, human = labels(40_000)
    low, high = label_agreement(judge, human).figures["accuracy"].interval
    error = 1.96 * np.sqrt(0.85 * 0.15 / 40_000)
    assert (high - low) / 2 == pytest.approx(error, rel=0.15)


def test_few_labels_are_said_first():
    """Two labels: the report begins with it, and no interval is made of resampling two."""
    found = label_agreement([1, 0], [1, 1])
    assert found.statements[0].startswith("Only 2 labels")
    assert found.figures["bias"].interval is None
    low, high = found.figures["accuracy"].interval
    assert low < 0.02
    assert high > 0.98


def test_one_class_is_no_agreement_beyond_chance():
    """Where people gave one class, κ and α are missing with the reason, not 0 or 1."""
    found = label_agreement(np.ones(40), np.ones(40))
    for name in ("kappa", "alpha"):
        assert found.figures[name].value is None
        assert "cannot be told" in found.figures[name].statement
    assert found.figures["accuracy"].interval == pytest.approx((0.9119, 1.0), abs=1e-4)
    assert "People gave one class only." in found.statements


def test_a_judge_that_always_passes_is_named():
    """Its κ is 0, its precision is the share of passes, and the report names it."""
    _, human = labels(100)
    found = label_agreement(np.ones(100), human)
    assert found.figures["kappa"].value == pytest.approx(0)
    assert found.figures["recall"].value == 1
    assert "The judge gave one class only." in found.statements


def test_a_judge_that_passes_nothing_has_no_precision():
    """There is nothing of which it could be the share."""
    found = label_agreement(np.zeros(40), labels(40)[1]).figures["precision"]
    assert found.value is None
    assert found.statement == "The judge passed no case."


def test_a_constant_judge_has_no_correlation():
    """NaN never leaves the room: the correlation is missing, with the reason."""
    found = score_agreement(np.full(50, 3.0), np.arange(50) % 5).figures
    assert found["pearson"].value is None
    assert found["kendall"].statement.startswith("Judge or people gave one value")


def test_unscored_rows_are_left_out_and_counted():
    """NaN on the judge's side is a labelled row without a score."""
    judge, human = labels(100)
    judge[:10] = NAN
    found = label_agreement(judge, human)
    assert found.rows == 90
    assert "10 labelled rows are unscored and left out." in found.statements


def test_no_labels_give_no_figures():
    """Nothing in common: no figure, and the statement."""
    found = label_agreement([NAN, 1.0], [1.0, NAN])
    assert not found.figures
    assert found.statements[0].startswith("Only 0 labels")


@pytest.mark.parametrize(
    ("judge", "human", "groups", "field"),
    [
        ([1, float("inf")], [1, 1], None, "judge must be finite"),
        ([1, 1, 1], [1, 1], None, "judge has 3, human has 2"),
        ([[1], [1]], [1, 1], None, "judge must be one list"),
        ([1, 1], [1, 1], ["a"], "groups has 1"),
    ],
)
def test_bad_columns_are_named(judge, human, groups, field):
    """Columns that do not describe the same rows are errors, with their names."""
    with pytest.raises(ValueError, match=field):
        label_agreement(judge, human, groups)


def test_contradictions_of_one_annotator_count_as_nothing():
    """An annotator's two different labels of one case are both left out, two equal ones are one."""
    table, contradictions = rating_table(
        ["x", "x", "x", "y", "y"], ["ann", "ann", "bob", "ann", "ann"], [1, 0, 1, 0, 0]
    )
    assert contradictions == 1
    assert np.array_equal(table, [[NAN, 0], [1, NAN]], equal_nan=True)


def test_the_human_ceiling_is_the_agreement_of_two_people():
    """The share of equal labels among pairs of ratings, and α, with intervals."""
    rng = np.random.default_rng(5)
    true = rng.integers(0, 2, 400)
    table = np.where(rng.random((3, 400)) < 0.9, true, 1 - true).astype(float)
    table[2, ::2] = NAN
    found = human_ceiling(table)
    assert found["pairwise_agreement"].value == pytest.approx(0.82, abs=0.04)
    low, high = found["alpha"].interval
    assert low < 0.64 < high
    assert human_ceiling(table[:1])["alpha"].value is None


def test_flips_are_pairs_with_another_winner_in_the_other_order():
    """The share that differs, without the pairs that lack an order."""
    straight = np.array([1, 1, 2, 2, 1] * 20, dtype=float)
    swapped = np.array([1, 2, 2, 2, NAN] * 20)
    found = flip_rate(straight, swapped)
    assert found.value == pytest.approx(0.25)
    assert found.interval[0] < 0.25 < found.interval[1]
    assert flip_rate([NAN], [1]).statement == "No pair has both orders."


def test_the_worst_disagreements_come_first():
    """By size, then by row; agreement and missing values are no disagreement."""
    found = worst_disagreements([1, 5, 3, NAN, 2, 4], [1, 1, 2, 5, 5, 3], limit=3)
    assert found.tolist() == [1, 4, 2]
