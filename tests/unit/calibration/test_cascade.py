"""A certificate is wrong at most as often as it says, whatever the judges are like."""

import numpy as np
import pytest

from assay.calibration.cascade import cases_needed, certify_cascade
from assay.calibration.thresholds import halves

POPULATION = 100_000


def world(sparse, seed=0):
    """Two judges whose errors pile up on the same hard cases, and confidences that half know it."""
    rng = np.random.default_rng(seed)
    hardness = rng.beta(1, 3, POPULATION)
    human = rng.integers(0, 2, POPULATION) * 1.0
    verdicts, confidences = [], []
    for error in (0.5, 0.38):
        wrong = rng.random(POPULATION) < error * hardness
        confidence = np.clip(1 - hardness / 2 + rng.normal(0, 0.12, POPULATION), 0, 1)
        confidences.append(np.round(confidence * 4) / 4 if sparse else confidence)
        verdicts.append(np.where(wrong, 1 - human, human))
    return np.stack(verdicts), np.stack(confidences), human


def true_disagreement(thresholds, verdicts, confidences, human):
    first = confidences[0] >= thresholds[0]
    second = ~first & (confidences[1] >= thresholds[1])
    wrong = (verdicts[0] != human) & first | (verdicts[1] != human) & second
    return wrong.sum() / (first | second).sum()


@pytest.mark.parametrize(
    ("sparse", "cases", "alpha", "rounds"),
    [(False, 400, 0.1, 2_000), (True, 400, 0.1, 2_000), (True, 1_000, 0.08, 500)],
)
def test_the_disagreement_exceeds_alpha_in_at_most_delta_of_calibrations(
    sparse, cases, alpha, rounds
):
    """δ = 0.1, with a harder second tier: true disagreement above α in at most 10 %."""
    verdicts, confidences, human = world(sparse)
    rng = np.random.default_rng(1)
    exceeded = certified = coverage = 0.0
    for seed in range(rounds):
        rows = rng.integers(POPULATION, size=cases)
        found = certify_cascade(
            verdicts[:, rows], confidences[:, rows], human[rows], (1, 20),
            alpha=alpha, delta=0.1, seed=seed,
        )  # fmt: skip
        if found.certified:
            certified += 1
            coverage += found.coverage
            true = true_disagreement(found.thresholds, verdicts, confidences, human)
            exceeded += true > alpha
    print(
        f"α {alpha}, sparse {sparse}, {cases} cases: exceeded {exceeded / rounds:.3f}, certified"
        f" {certified / rounds:.3f}, mean coverage {coverage / max(1, certified):.2f}"
    )
    assert exceeded <= 0.1 * rounds
    assert certified >= 0.3 * rounds


def test_calibrating_each_tier_by_itself_would_not_be_valid():
    """Cases that reach the second tier are harder: its disagreement there exceeds that on all."""
    verdicts, confidences, human = world(sparse=False)
    sure = confidences[1] >= 0.8
    reached = sure & (confidences[0] < 0.95)
    wrong = verdicts[1] != human
    assert wrong[reached].mean() > 1.15 * wrong[sure].mean()


def test_good_judges_are_certified_and_the_cheap_one_does_most():
    """With a judge that knows when it errs, the dear one is asked for the rest alone."""
    rng = np.random.default_rng(0)
    human = rng.integers(0, 2, 1_000) * 1.0
    sure = rng.random(1_000) < 0.8
    cheap = np.where(sure | (rng.random(1_000) < 0.5), human, 1 - human)
    dear = np.where(rng.random(1_000) < 0.99, human, 1 - human)
    found = certify_cascade(
        [cheap, dear], [sure * 1.0, np.ones(1_000)], human, (1, 20), alpha=0.05, delta=0.05
    )
    assert found.thresholds == (1.0, 1.0)
    assert found.coverage == 1
    assert found.shares[0] == pytest.approx(0.8, abs=0.05)
    assert found.cost == pytest.approx(1 + 20 * (1 - found.shares[0]))


def test_at_least_as_many_cases_as_the_bound_takes():
    """⌈ln δ / ln(1 − α)⌉: 59 for 5 % and 5 %; one fewer certifies nothing."""
    assert cases_needed(0.05, 0.05) == 59
    for cases, certified in ((118, True), (116, False)):
        ones = np.ones(cases)
        found = certify_cascade([ones], [ones], ones, [1], alpha=0.05, delta=0.05)
        assert found.certified is certified
    assert "at least 59" in found.statement


def test_repeated_cases_of_a_group_count_once():
    """A thousand copies of 50 cases are 50 cases."""
    ones = np.ones(1_000)
    found = certify_cascade(
        [ones], [ones], ones, [1], np.arange(1_000) % 50, alpha=0.05, delta=0.05
    )
    assert not found.certified
    assert found.cases == 25


def test_judges_that_guess_are_not_certified():
    """No thresholds, and the reason; a second attempt is told."""
    rng = np.random.default_rng(0)
    human, guess = rng.integers(0, 2, (2, 500)) * 1.0
    found = certify_cascade(
        [guess], [rng.random(500)], human, [1], alpha=0.1, delta=0.1, attempts=2
    )
    assert found.thresholds is None
    assert "disagreement may exceed 0.1" in found.statement
    assert "Attempt 2" in found.statement


def test_cases_without_any_verdict_are_never_accepted():
    """An unscored case has no confidence, whatever its column says."""
    ones = np.ones(400)
    verdicts = np.where(np.arange(400) < 200, 1.0, np.nan)
    found = certify_cascade([verdicts], [ones], ones, [1], alpha=0.1, delta=0.1)
    assert found.coverage == pytest.approx(0.5, abs=0.1)


def test_three_tiers_are_one_guarantee():
    """Shares of all tiers add up to the coverage."""
    rng = np.random.default_rng(4)
    human = rng.integers(0, 2, 2_000) * 1.0
    wrong = rng.random((3, 2_000)) < np.array([[0.2], [0.1], [0.02]])
    found = certify_cascade(
        np.where(wrong, 1 - human, human), rng.random((3, 2_000)), human, (1, 5, 20),
        alpha=0.1, delta=0.05,
    )  # fmt: skip
    assert found.certified
    assert sum(found.shares) == pytest.approx(found.coverage)


def test_no_number_of_labels_shows_an_alpha_of_zero():
    """The statement says so; other impossible levels are errors by name."""
    ones = np.ones(50)
    found = certify_cascade([ones], [ones], ones, [1], alpha=0.0, delta=0.1)
    assert not found.certified
    assert "No number of labels" in found.statement
    for name, levels in (("alpha", (1.0, 0.1)), ("delta", (0.1, 0.0))):
        with pytest.raises(ValueError, match=name):
            certify_cascade([ones], [ones], ones, [1], alpha=levels[0], delta=levels[1])
    with pytest.raises(ValueError, match="tiers × cases"):
        certify_cascade([ones], [ones], ones, [1, 2], alpha=0.1, delta=0.1)


def test_the_first_failure_ends_the_search():
    """Looser thresholds that would pass are not certified once stricter ones have failed."""
    tuning, test = halves(np.arange(1_200), 0)
    sure = np.where(np.arange(1_200) % 10 == 0, 1.0, 0.5)
    wrong = np.zeros(1_200)
    wrong[test[sure[test] == 1][:20]] = 1
    wrong[tuning[sure[tuning] == 0.5][:20]] = 1
    assert wrong[test].mean() < 0.05
    found = certify_cascade([wrong], [sure], np.zeros(1_200), [1], alpha=0.1, delta=0.1)
    assert not found.certified
