"""Two runs compared: the tests keep their level, the intervals cover, missing rows are bounded."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from assay.calibration.comparison import (
    benjamini_hochberg,
    compare_runs,
    mcnemar_exact,
    sign_flip_test,
    smallest_detectable_difference,
)

NAN = float("nan")


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (0, 5), (12, 3), (8, 8), (100, 130)])
def test_mcnemar_equals_the_reference(gained, lost):
    """The exact two-sided p of statsmodels."""
    expected = mcnemar([[50, gained], [lost, 50]], exact=True).pvalue
    assert mcnemar_exact(gained, lost) == pytest.approx(expected, abs=1e-12)


def test_paired_differences_equal_a_t_test():
    """Without groups the interval is that of the paired t test."""
    rng = np.random.default_rng(0)
    base = rng.random(80)
    candidate = np.clip(base + rng.normal(0.05, 0.1, 80), 0, 1)
    found = compare_runs(base, candidate)
    expected = stats.ttest_rel(candidate, base).confidence_interval(0.95)
    assert found.difference.value == pytest.approx((candidate - base).mean())
    assert found.difference.interval == pytest.approx(tuple(expected), abs=1e-12)
    assert found.test == "sign_flip"


def test_few_groups_are_flipped_in_all_ways():
    """Five equal differences: 2 of 2⁵ flips are as far from 0, so p = 1/16."""
    assert sign_flip_test([0.1] * 5) == pytest.approx(2 / 32)
    assert sign_flip_test([0.1] * 5, [0, 0, 0, 1, 1]) == pytest.approx(1 / 2)
    assert sign_flip_test(np.ones(40)) == 1 / 10_001, "random flips never give 0"
    assert sign_flip_test([0.0, 0.0]) == 1.0
    assert sign_flip_test([]) is None


@pytest.mark.parametrize("groups", [40, 6_000])
def test_random_flips_and_their_normal_limit_agree_with_the_t_test(groups):
    """To the error of 10,000 permutations."""
    change = np.random.default_rng(1).normal(2 / np.sqrt(groups), 1, groups)
    expected = stats.ttest_1samp(change, 0).pvalue
    assert sign_flip_test(change) == pytest.approx(expected, abs=0.02)
    assert sign_flip_test(change, seed=1) == sign_flip_test(change, seed=1)


def runs(rng, questions, per_question, effect):
    """Two runs of pass and fail whose rows share the question's difficulty, and luck on it."""
    difficulty = rng.random(questions)
    luck = rng.normal(0, 0.15, (2, questions))
    chance = np.clip(difficulty + luck + [[0], [effect]], 0, 1)
    passed = rng.random((2, questions, per_question)) < chance[:, :, None]
    return (*passed.reshape(2, -1) * 1.0, np.repeat(np.arange(questions), per_question))


def test_grouped_tests_keep_their_level_where_others_do_not():
    """Without an effect: p ≤ 0.05 in about 5 % of 400 comparisons, and intervals cover 95 %."""
    rng = np.random.default_rng(0)
    rejected = covered = ungrouped = 0
    for seed in range(400):
        base, candidate, groups = runs(rng, 40, 8, 0.0)
        found = compare_runs(base, candidate, groups, permutations=500, seed=seed)
        assert found.test == "sign_flip"
        rejected += found.p_value <= 0.05
        covered += found.difference.interval[0] <= 0 <= found.difference.interval[1]
        ungrouped += compare_runs(base, candidate).p_value <= 0.05
    print(
        f"rejected {rejected / 400:.3f}, without groups {ungrouped / 400:.3f};"
        f" covered {covered / 400:.3f}"
    )
    assert rejected <= 0.07 * 400
    assert 0.92 * 400 <= covered <= 0.98 * 400
    assert ungrouped > 0.08 * 400


def test_the_smallest_detectable_difference_is_found_in_80_of_100_runs():
    """The power at that difference, by simulation and by formula."""
    rng = np.random.default_rng(3)
    size = smallest_detectable_difference(1 / np.sqrt(200))
    assert size == pytest.approx(2.8016 / np.sqrt(200), rel=1e-4)
    p = [sign_flip_test(rng.normal(size, 1, 200), permutations=400, seed=i) for i in range(300)]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.8, abs=0.06)


def test_adjusted_p_values_equal_the_reference():
    """Benjamini–Hochberg of statsmodels; criteria without a test stay without."""
    p = np.array([0.01, 0.04, 0.03, 0.2, 0.001, 0.04])
    expected = multipletests(p, method="fdr_bh")[1]
    assert benjamini_hochberg(p) == pytest.approx(expected)
    assert benjamini_hochberg([0.01, NAN, 0.04]) == pytest.approx([0.02, NAN, 0.04], nan_ok=True)
    assert not len(benjamini_hochberg([]))


def test_false_discoveries_stay_at_the_wanted_share():
    """Of 20 criteria 5 truly differ; among the rejected at 0.1 at most 10 % do not."""
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(500):
        z = rng.normal(np.r_[np.full(5, 3.0), np.zeros(15)])
        rejected = benjamini_hochberg(2 * stats.norm.sf(np.abs(z))) <= 0.1
        shares.append(rejected[5:].sum() / max(1, rejected.sum()))
    assert np.mean(shares) <= 0.1


def test_rows_unscored_on_one_side_are_left_out_counted_and_bounded():
    """The bounds are the differences if those rows had scored 0 or 1."""
    base = np.array([1, 1, 0, NAN, 1, NAN])
    candidate = np.array([1, 0, 1, 1, NAN, NAN])
    found = compare_runs(base, candidate)
    assert (found.rows, found.unscored) == (3, (1, 1))
    assert found.regressions.tolist() == [1]
    assert found.improvements.tolist() == [2]
    assert found.bounds == pytest.approx(((0 - 1 + 1 + 0 - 1 - 1) / 6, (0 - 1 + 1 + 1 + 0 + 1) / 6))
    assert any("unscored in the base" in text for text in found.statements)


def test_runs_without_a_common_row_have_no_difference():
    """No difference and no p; the bounds allow everything."""
    found = compare_runs([NAN, 1.0], [1.0, NAN])
    assert found.difference.value is None
    assert found.p_value is None
    assert "Only 0 independent groups" in found.statements[0]
    assert compare_runs([], []).bounds == (-1.0, 1.0)


def test_equal_runs_have_no_interval_of_width_zero():
    """That nothing changed on 20 rows does not show that nothing changes."""
    found = compare_runs(np.ones(20), np.ones(20))
    assert found.difference.value == 0
    assert found.difference.interval is None
    assert found.smallest_detectable is None
    assert found.p_value == 1.0


def test_scores_outside_their_range_are_named():
    """They would make the bounds wrong."""
    with pytest.raises(ValueError, match="candidate"):
        compare_runs([0.5], [1.5])
