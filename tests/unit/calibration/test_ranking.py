"""Rankings recover known strengths, tell what is open, and agree with a Poisson model."""

import numpy as np
import pytest
from statsmodels.api import GLM, families

from assay.calibration.ranking import rank_systems

STRENGTHS = np.array([1.0, 0.5, 0.0, -0.5, -1.0])
ORDER, TIE = 0.3, -1.0


def comparisons(items, seed=0, strengths=STRENGTHS, each=6, correlated=0.0):
    """`each` comparisons an item, of random pairs in random order."""
    rng = np.random.default_rng(seed)
    item = np.repeat(np.arange(items), each)
    first = rng.integers(len(strengths), size=len(item))
    second = (first + rng.integers(1, len(strengths), size=len(item))) % len(strengths)
    own = rng.normal(0, correlated, (items, len(strengths))) + strengths
    eta = own[item, first] - own[item, second] + ORDER
    weight = np.exp(np.stack([eta / 2, np.full(len(eta), TIE), -eta / 2]))
    drawn = rng.random(len(eta)) * weight.sum(axis=0)
    outcome = 1 - (drawn > weight[0]).astype(int) - (drawn > weight[:2].sum(axis=0))
    return first, second, outcome, item


def test_the_estimate_is_that_of_a_poisson_model():
    """The log-linear model with one intercept for each ordered pair, by statsmodels."""
    first, second, outcome, item = comparisons(200)
    found = rank_systems(first, second, outcome, item, 5, ridge=1e-9, resamples=20)
    pairs = [(a, b) for a in range(5) for b in range(5) if a != b]
    rows, counts = [], []
    for number, (a, b) in enumerate(pairs):
        for sign in (1, 0, -1):
            row = np.zeros(5 + 2 + len(pairs))
            row[[a, b, 5]] = sign / 2, -sign / 2, sign / 2
            row[6], row[7 + number] = sign == 0, 1
            rows.append(np.delete(row, 4))
            counts.append(((first == a) & (second == b) & (outcome == sign)).sum())
    model = GLM(counts, np.array(rows), family=families.Poisson()).fit(tol=1e-12)
    strengths = np.append(model.params[:4], 0)
    assert found.strengths == pytest.approx(strengths - strengths.mean(), abs=1e-5)
    assert found.order_effect == pytest.approx(model.params[4], abs=1e-5)
    assert found.tie == pytest.approx(model.params[5], abs=1e-5)


def test_simultaneous_intervals_hold_all_strengths_together():
    """At 90 %: all five within their intervals, and all ranks in their ranges, in ≥ 85 %."""
    held = ranked = 0
    for seed in range(150):
        found = rank_systems(*comparisons(120, seed), 5, confidence=0.9, resamples=200, seed=seed)
        low, high = found.intervals.T
        held += ((low <= STRENGTHS) & (high >= STRENGTHS)).all()
        best, worst = found.rank_ranges.T
        ranked += ((best <= np.arange(1, 6)) & (worst >= np.arange(1, 6))).all()
    print(f"simultaneous intervals hold {held / 150:.3f}, rank ranges {ranked / 150:.3f}")
    assert 0.85 * 150 <= held <= 0.96 * 150
    assert ranked >= 0.9 * 150


def test_items_are_resampled_as_wholes():
    """Where systems do better on some items than on others, more comparisons an item add little."""
    few = rank_systems(*comparisons(60, correlated=1.0), 5)
    many = rank_systems(*(np.tile(column, 10) for column in comparisons(60, correlated=1.0)), 5)
    assert np.ptp(many.intervals, axis=1) == pytest.approx(np.ptp(few.intervals, axis=1), rel=0.3)


def test_the_order_effect_is_no_strength():
    """A judge that mostly prefers what it sees first: equal systems stay equal."""
    rng = np.random.default_rng(0)
    item = np.repeat(np.arange(200), 2)
    first = np.tile([0, 1], 200)
    outcome = np.where(rng.random(400) < 0.8, 1, -1)
    found = rank_systems(first, 1 - first, outcome, item, 2)
    assert found.order_effect > 1
    assert found.rank_ranges.tolist() == [[1, 2], [1, 2]]
    assert found.unresolved == ((0, 1),)


def test_pairs_to_judge_next_are_the_most_uncertain():
    """Two equal systems among clear ones are the pair that is open."""
    strengths = np.array([2.0, 0.0, 0.0, -2.0])
    found = rank_systems(*comparisons(400, strengths=strengths), 4)
    assert found.unresolved == ((1, 2),)
    assert found.rank_ranges.tolist() == [[1, 1], [2, 3], [2, 3], [4, 4]]


def test_choosing_open_pairs_resolves_an_order_with_fewer_comparisons():
    """Adaptive choice of pairs needs fewer comparisons than all pairs alike; it says so."""
    strengths = np.array([3.0, 0.6, 0.0, -3.0])
    needed = {}
    for adaptive in (True, False):
        rng = np.random.default_rng(5)
        data = [list(column) for column in comparisons(20, strengths=strengths)]
        for round_ in range(60):
            found = rank_systems(*data, 4, resamples=100, adaptive=adaptive)
            if not found.unresolved:
                break
            pairs = [(a, b) for a in range(4) for b in range(a + 1, 4)]
            for nth in range(20):
                pool = found.unresolved if adaptive else pairs
                pair = rng.permutation(pool[nth % len(pool)])
                eta = strengths[pair[0]] - strengths[pair[1]] + ORDER
                weight = np.exp([eta / 2, TIE, -eta / 2])
                won = rng.choice([1, 0, -1], p=weight / weight.sum())
                for column, value in zip(data, (*pair, won, 20 + round_ * 20 + nth), strict=True):
                    column.append(value)
        needed[adaptive] = len(data[0])
        assert any("approximate" in text for text in found.statements) is adaptive
    print("comparisons needed", needed)
    assert needed[True] < needed[False]


def test_a_system_that_wins_everything_has_no_interval():
    """Its strength is infinite but for the ridge; its rank is known."""
    first, second, outcome, item = comparisons(200)
    outcome = np.where(first == 0, 1, np.where(second == 0, -1, outcome))
    found = rank_systems(first, second, outcome, item, 5)
    assert np.isfinite(found.strengths).all()
    assert found.intervals is None
    assert found.rank_ranges[0].tolist() == [1, 1]
    assert any("only the ridge" in text for text in found.statements)


def test_a_judge_that_looks_at_the_order_alone_tells_nothing_apart():
    """Each pair in both orders, always won by the first: no interval of no width."""
    item = np.repeat(np.arange(40), 2)
    first = np.tile([0, 1], 40)
    found = rank_systems(first, 1 - first, np.ones(80), item, 2)
    assert (found.intervals, found.rank_ranges) == (None, None)
    assert any("nothing tells the systems apart" in text for text in found.statements)
    np.testing.assert_allclose(found.strengths, 0, atol=1e-6)


def test_sets_that_never_met_are_named():
    """Strengths of unconnected systems cannot be compared."""
    item = np.arange(100)
    found = rank_systems(item % 2 * 2, item % 2 * 2 + 1, item % 3 - 1, item, 4)
    assert any("2 sets that never met" in text for text in found.statements)


def test_few_items_have_no_intervals_and_unscored_ones_do_not_count():
    """Nine items do not show how they vary."""
    item = np.arange(12)
    outcome = np.where(item < 3, np.nan, item % 3 - 1)
    found = rank_systems(item % 2, 1 - item % 2, outcome, item, 2)
    assert found.intervals is None
    assert found.statements[0].startswith("Only 9 items")


@pytest.mark.parametrize(
    ("columns", "field"),
    [
        (([0], [0], [1], [0]), "two different systems"),
        (([0], [5], [1], [0]), "two different systems"),
        (([0], [1], [2], [0]), "outcomes"),
        (([0, 1], [1], [1], [0]), "first has 2"),
    ],
)
def test_bad_comparisons_are_named(columns, field):
    """A system against itself, an unknown system, an unknown outcome."""
    with pytest.raises(ValueError, match=field):
        rank_systems(*columns, 2)
