"""The summary's means and intervals are those of scipy and statsmodels, from sums alone."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from assay.batches.statistics import (
    SCALE,
    clustered_mean,
    mean_estimate,
    student_t,
    wilson_interval,
)

MILLIONTHS = st.integers(0, SCALE)


@given(st.integers(1, 200_000))
def test_the_t_quantile_is_scipys(df):
    """To nine digits."""
    assert student_t(df) == pytest.approx(stats.t.ppf(0.975, df), rel=1e-9)


@given(st.lists(MILLIONTHS, min_size=2, max_size=200))
def test_a_mean_of_independent_scores_is_scipys(scores):
    """The error is that of the mean, the interval Student's, cut to where scores lie."""
    values = [score / SCALE for score in scores]
    estimate = mean_estimate(len(scores), sum(scores), sum(score * score for score in scores))
    error = float(stats.sem(values))
    width = float(stats.t.ppf(0.975, len(values) - 1)) * error
    mean = sum(values) / len(values)
    assert estimate.mean == pytest.approx(mean)
    assert estimate.standard_error == pytest.approx(error, abs=1e-12)
    assert estimate.interval == pytest.approx(
        (max(0.0, mean - width), min(1.0, mean + width)), abs=1e-9
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(MILLIONTHS, min_size=1, max_size=6), min_size=3, max_size=20))
def test_a_clustered_mean_is_that_of_statsmodels(groups):
    """The cluster-robust error of a regression on a constant, with its small-sample factor."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from statsmodels import api  # noqa: PLC0415  # it warns while it is imported

        values = [score / SCALE for group in groups for score in group]
        labels = [number for number, group in enumerate(groups) for _ in group]
        fitted = api.OLS(values, [1.0] * len(values)).fit(
            cov_type="cluster", cov_kwds={"groups": labels}
        )
        expected = float(fitted.bse[0])
    estimate = clustered_mean((len(group), sum(group)) for group in groups)
    assert estimate.mean == pytest.approx(sum(values) / len(values))
    assert estimate.standard_error == pytest.approx(expected, abs=1e-9)


@given(st.integers(1, 10_000), st.data())
def test_a_share_has_wilsons_interval(n, data):
    """As scipy gives it; it has a width even where all rows pass."""
    count = data.draw(st.integers(0, n))
    expected = stats.binomtest(count, n).proportion_ci(method="wilson")
    assert wilson_interval(count, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_groups_of_one_are_independent_rows():
    """With one row in each group the clustered error is the plain one."""
    scores = [0, 250_000, 1_000_000, 500_000, 750_000]
    plain = mean_estimate(len(scores), sum(scores), sum(score * score for score in scores))
    clustered = clustered_mean((1, score) for score in scores)
    assert clustered.standard_error == pytest.approx(plain.standard_error)


def test_one_row_has_a_mean_and_no_error():
    """What the data cannot tell is None, never 0."""
    assert mean_estimate(1, SCALE, SCALE * SCALE).standard_error is None
    assert clustered_mean([(5, SCALE)]).interval is None


def test_a_million_rows_lose_no_digit():
    """Sums are whole numbers: a tiny spread around a large mean is found exactly."""
    n = 1_000_000
    low, high = 999_999, 1_000_000
    total = n // 2 * low + n // 2 * high
    squares = n // 2 * low**2 + n // 2 * high**2
    assert mean_estimate(n, total, squares).standard_error == pytest.approx(
        0.5e-6 / n**0.5, rel=1e-5
    )
