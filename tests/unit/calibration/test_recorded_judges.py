"""Figures and intervals on recorded judges, pinned; and one comparison computed by hand."""

import math
from fractions import Fraction

import krippendorff
import numpy as np
import pytest

from assay.calibration.agreement import (
    flip_rate,
    human_ceiling,
    krippendorff_alpha,
    label_agreement,
    score_agreement,
)
from assay.calibration.cascade import certify_cascade
from assay.calibration.comparison import compare_runs
from assay.calibration.prediction_powered import prediction_powered_mean
from assay.calibration.ranking import rank_systems
from assay.calibration.sequential import StoppingRule
from assay.calibration.thresholds import reliability
from replay.recordings import (
    DATA,
    alpacaeval_preferences,
    llmbar_gold,
    llmbar_orders,
    llmbar_votes,
    pandalm_annotators,
    pandalm_comparisons,
    prometheus_scores,
)

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.exists(), reason=f"no recorded data at {DATA} (set ASSAY_DATA)"),
]

JUDGES = {
    "GPT-4": (322, 0.8727, (0.8354, 0.9099), 0.7453),
    "PaLM2": (304, 0.7796, (0.7303, 0.8257), 0.5605),
    "ChatGPT": (297, 0.3805, (0.3232, 0.4310), -0.2411),
    "LLaMA2": (310, 0.4323, (0.3806, 0.4839), -0.1390),
}


@pytest.mark.parametrize("judge", JUDGES)
def test_agreement_of_four_judges_with_people(judge):
    """LLMBar, the majority of all prompts in both orders: accuracy with interval, and κ."""
    rows, accuracy, interval, kappa = JUDGES[judge]
    found = label_agreement(llmbar_votes(judge)[0], llmbar_gold())
    assert found.rows == rows
    assert found.figures["accuracy"].value == pytest.approx(accuracy, abs=1e-4)
    assert found.figures["accuracy"].interval == pytest.approx(interval, abs=1e-4)
    assert found.figures["kappa"].value == pytest.approx(kappa, abs=1e-4)


def test_flips_with_the_order():
    """GPT-4 changes its winner in 8 % of the pairs, ChatGPT in 34 %."""
    for judge, rate in (("GPT-4", 0.0798), ("ChatGPT", 0.3436)):
        found = flip_rate(*llmbar_orders(judge, "Vanilla_NoRules"))
        assert found.value == pytest.approx(rate, abs=1e-4)


def test_the_share_of_votes_is_no_probability():
    """GPT-4's votes agree more than they are right, by far more than chance."""
    winner, share = map(np.array, llmbar_votes("GPT-4"))
    found = reliability(share, winner == llmbar_gold(), bins=5)
    assert found.error == pytest.approx(0.0709, abs=1e-4)
    assert found.error_by_chance < 0.03


def test_people_agree_with_people():
    """PandaLM, three annotators: 92 % of pairs of labels are equal, α is that of the reference."""
    table = np.array(pandalm_annotators())
    found = human_ceiling(table)
    assert found["pairwise_agreement"].value == pytest.approx(0.9199, abs=1e-4)
    assert found["pairwise_agreement"].interval == pytest.approx((0.9066, 0.9326), abs=1e-4)
    expected = krippendorff.alpha(table, level_of_measurement="nominal")
    assert found["alpha"].value == pytest.approx(expected, abs=1e-12)


def test_a_judge_agrees_with_itself():
    """Prometheus, three GPT-4 scores of a case: α at each level, and correlations of two."""
    scores = np.array(prometheus_scores())
    for level in ("nominal", "ordinal", "interval"):
        expected = krippendorff.alpha(scores, level_of_measurement=level)
        assert krippendorff_alpha(scores, level) == pytest.approx(expected, abs=1e-12)
    found = {name: figure.value for name, figure in score_agreement(*scores[:2]).figures.items()}
    assert found["pearson"] == pytest.approx(0.7992, abs=1e-4)
    assert found["kendall"] == pytest.approx(0.6671, abs=1e-4)
    assert found["mean_absolute_error"] == pytest.approx(0.2719, abs=1e-4)


@pytest.mark.parametrize("labelled", [50, 100])
def test_debiased_means_of_resampled_cases_cover_the_known_mean(labelled):
    """Prometheus: one score is the judge, two stand in for people; drawn with replacement."""
    scores = np.array(prometheus_scores())
    people, judge = scores[1:].mean(axis=0), scores[0]
    rng = np.random.default_rng(0)
    held = narrower = 0
    for _ in range(2_000):
        rows = rng.integers(320, size=400)
        label = np.where(np.arange(400) < labelled, people[rows], np.nan)
        found = prediction_powered_mean(label, judge[rows])
        low, high = found.debiased.interval
        held += low <= people.mean() <= high
        narrower += high - low < np.ptp(found.labels_only.interval)
    print(f"{labelled} labels: covered {held / 2_000:.3f}, narrower {narrower / 2_000:.3f}")
    assert 0.87 <= held / 2_000 <= 0.93
    assert narrower > 0.95 * 2_000


def test_the_cascade_of_palm2_before_gpt4():
    """α = 0.2, δ = 0.1: certified coverage and cost, beside GPT-4 alone."""
    gold = llmbar_gold()
    (palm2, palm2_sure), (gpt4, gpt4_sure) = map(llmbar_votes, ("PaLM2", "GPT-4"))
    both = certify_cascade(
        [palm2, gpt4], [palm2_sure, gpt4_sure], gold, [1, 20], alpha=0.2, delta=0.1
    )
    alone = certify_cascade([gpt4], [gpt4_sure], gold, [20], alpha=0.2, delta=0.1)
    assert (both.cases, both.accepted, both.disagreements) == (163, 163, 25)
    assert both.shares == pytest.approx((0.791, 0.209), abs=1e-3)
    assert both.cost == pytest.approx(5.17, abs=0.01)
    assert (alone.cost, round(alone.coverage, 3)) == (20.0, 0.988)


def test_recorded_certificates_hold_on_cases_that_they_did_not_see():
    """LLMBar resampled 500 times: the disagreement on all of it exceeds α in at most δ."""
    gold = np.array(llmbar_gold())
    verdicts, sure = (np.array(x) for x in zip(*map(llmbar_votes, ("PaLM2", "GPT-4")), strict=True))
    rng = np.random.default_rng(0)
    exceeded = certified = 0
    for seed in range(500):
        rows = rng.integers(326, size=326)
        found = certify_cascade(
            verdicts[:, rows], sure[:, rows], gold[rows], [1, 20], alpha=0.2, delta=0.1, seed=seed
        )
        if found.certified:
            first = (sure[0] >= found.thresholds[0]) & ~np.isnan(verdicts[0])
            second = ~first & (sure[1] >= found.thresholds[1]) & ~np.isnan(verdicts[1])
            wrong = first & (verdicts[0] != gold) | second & (verdicts[1] != gold)
            exceeded += wrong.sum() / (first | second).sum() > 0.2
            certified += 1
    print(f"certified {certified / 500:.3f}, exceeded {exceeded / 500:.3f}")
    assert exceeded <= 50
    assert certified > 400


def test_two_judges_compared_as_by_hand():
    """GPT-4 less PaLM2 on the pairs that both decided: counts, difference, interval and p."""
    gold = llmbar_gold()
    base, candidate = (
        [
            math.nan if math.isnan(w) else float(w == g)
            for w, g in zip(llmbar_votes(j)[0], gold, strict=True)
        ]
        for j in ("PaLM2", "GPT-4")
    )
    found = compare_runs(base, candidate)
    both = [(a, b) for a, b in zip(base, candidate, strict=True) if not math.isnan(a + b)]
    gained = sum(b > a for a, b in both)
    lost = sum(b < a for a, b in both)
    assert (len(both), gained, lost) == (found.rows, 38, 13)
    mean = (gained - lost) / len(both)
    spread = sum((b - a - mean) ** 2 for a, b in both) / (len(both) - 1)
    half = 1.967930 * math.sqrt(spread / len(both))  # Student's t, 299 degrees of freedom
    assert found.difference.interval == pytest.approx((mean - half, mean + half), abs=1e-6)
    tail = Fraction(sum(math.comb(51, k) for k in range(14)), 2**51)
    assert found.p_value == pytest.approx(float(2 * tail), rel=1e-9)


def test_five_models_ranked_by_people():
    """PandaLM by the majority of its annotators: llama-7b is first, whatever chance did."""
    first, second, outcomes, items, names = pandalm_comparisons()
    found = rank_systems(first, second, outcomes, items, 5)
    assert names[int(found.strengths.argmax())] == "llama-7b"
    assert found.strengths == pytest.approx([-0.0116, -0.6022, 0.8190, -0.2789, 0.0737], abs=1e-4)
    assert found.rank_ranges.tolist() == [[2, 4], [4, 5], [1, 1], [2, 5], [2, 4]]


def test_a_low_win_rate_is_certain_after_few_rows():
    """AlpacaEval, alpaca-7b: a mean preference of 2.59 % fails a gate of 10 % after 70 of 805."""
    preferences = np.array(alpacaeval_preferences())
    assert preferences.mean() == pytest.approx(0.02591, abs=1e-5)
    rule = StoppingRule(0.1, 805)
    rule.finish(dict(enumerate(preferences[np.random.default_rng(0).permutation(805)])))
    assert (rule.verdict, rule.finished) == ("failed", 70)
