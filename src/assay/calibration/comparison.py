"""Two runs over the same rows: what changed, by how much, and whether chance explains it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from assay.calibration.figures import (
    LABELS_MIN,
    Figure,
    Floats,
    Integers,
    between,
    equally_long,
    generator,
    group_codes,
    group_count,
    mean_figure,
    numbers,
)

PERMUTATIONS = 10_000
NORMAL_FROM_GROUPS = 5_000
"""From here, sums of random signs are normal to all digits that 10,000 permutations could show."""
EXACT_UP_TO_GROUPS = 13
CELLS_MAX = 4_000_000


@dataclass(frozen=True, slots=True)
class RunComparison:
    """The candidate less the base, over the rows that both scored."""

    rows: int
    difference: Figure
    p_value: float | None
    test: str
    bounds: tuple[float, float]
    """The mean difference over all rows, whatever the unscored ones would have scored."""
    unscored: tuple[int, int]
    """Rows that only the base, or only the candidate, left unscored."""
    smallest_detectable: float | None
    """A true difference of this size is found with a probability of 80 %."""
    regressions: Integers
    improvements: Integers
    statements: tuple[str, ...]


def compare_runs(
    base: ArrayLike,
    candidate: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> RunComparison:
    """Compares scores from 0 to 1 of the same rows, in the same order; NaN is unscored.

    The difference is the mean of the paired differences with a cluster-robust interval: Miller,
    Adding Error Bars to Evals (2024). The test is McNemar's exact one for pass and fail without
    groups, else random sign flips of whole groups. Rows unscored on one side are left out of both,
    which biases if they are unscored because they are hard: hence `bounds`.
    """
    old, new = numbers("base", base), numbers("candidate", candidate)
    equally_long(base=old, candidate=new)
    for name, values in (("base", old), ("candidate", new)):
        if ((values < 0) | (values > 1)).any():
            raise ValueError(f"{name} must lie from 0 to 1")
    codes = group_codes(groups, len(old))
    both = ~np.isnan(old) & ~np.isnan(new)
    change, units = (new - old)[both], codes[both]
    figure = mean_figure(change, units, confidence)
    binary = np.isin(np.append(old[both], new[both]), (0, 1)).all()
    p_value: float | None
    if binary and 0 < len(units) == group_count(units):
        test, p_value = "mcnemar", mcnemar_exact(int((change > 0).sum()), int((change < 0).sum()))
    else:
        test = "sign_flip"
        p_value = sign_flip_test(change, units, permutations=permutations, seed=seed)
    unscored = (
        int((np.isnan(old) & ~np.isnan(new)).sum()),
        int((~np.isnan(old) & np.isnan(new)).sum()),
    )
    return RunComparison(
        len(change),
        figure,
        p_value,
        test,
        _bounds(old, new),
        unscored,
        _detectable(figure, group_count(units), confidence),
        np.flatnonzero(both & (new < old)),
        np.flatnonzero(both & (new > old)),
        _statements(len(change), group_count(units), unscored),
    )


def mcnemar_exact(gained: int, lost: int) -> float:
    """Two-sided p of `gained` against `lost` rows under a fair coin (McNemar 1947, exact).

    Rows that are alike in both runs tell nothing of the difference. Assumes independent rows.
    """
    if gained + lost == 0:
        return 1.0
    return float(min(1.0, 2 * stats.binom.cdf(min(gained, lost), gained + lost, 0.5)))


def sign_flip_test(
    differences: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> float | None:
    """Two-sided p of a sum of paired differences when the signs of whole groups are random.

    p = (1 + number of flips with a sum at least as far from 0) / (1 + flips), valid for any number
    of groups; all 2^G flips up to 13 groups, the normal limit from 5,000. Assumes that without an
    effect the two runs are exchangeable within each group. Phipson and Smyth, Permutation P-values
    Should Never Be Zero (2010). None without any difference to flip.
    """
    change = numbers("differences", differences)
    sums = np.bincount(group_codes(groups, len(change)), change) if len(change) else change
    sums = sums[sums != 0]
    count, seen = len(sums), abs(sums.sum())
    if not count:
        return 1.0 if len(change) else None
    if count >= NORMAL_FROM_GROUPS:
        return float(2 * stats.norm.sf(seen / math.sqrt(sums @ sums)))
    far = seen * (1 - 1e-12)
    if count <= EXACT_UP_TO_GROUPS:
        signs = 1.0 - 2.0 * (np.arange(2**count)[:, None] >> np.arange(count) & 1)
        return float((np.abs(signs @ sums) >= far).mean())
    rng = generator(seed, "sign flips")
    hits, left, piece = 0, permutations, max(1, CELLS_MAX // count)
    while left:
        signs = 1.0 - 2.0 * rng.integers(0, 2, size=(min(piece, left), count), dtype=np.int8)
        hits += int((np.abs(signs @ sums) >= far).sum())
        left -= len(signs)
    return (1 + hits) / (1 + permutations)


def benjamini_hochberg(p_values: ArrayLike) -> Floats:
    """p adjusted for several tests: rejecting those up to q keeps false discoveries at a share q.

    min over j ≥ rank of p_(j) · k/j: Benjamini and Hochberg (1995). Assumes tests that are
    independent or positively dependent, as criteria over the same rows are. NaN (no test) stays.
    """
    p = np.array(numbers("p_values", p_values))
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(-p[known], kind="stable")]
    rank = np.arange(len(order), 0, -1)
    p[order] = np.minimum(1, np.minimum.accumulate(p[order] * len(order) / rank))
    return p


def smallest_detectable_difference(
    error: float, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """(z_{1−α/2} + z_power) · error: the true difference that a test at α finds with this power."""
    z = stats.norm.ppf([1 - between("alpha", alpha) / 2, between("power", power)])
    return float(z.sum() * error)


def _detectable(figure: Figure, groups: int, confidence: float) -> float | None:
    if figure.interval is None:
        return None
    width = (figure.interval[1] - figure.interval[0]) / 2
    error = width / float(stats.t.ppf((1 + confidence) / 2, groups - 1))
    return smallest_detectable_difference(error, alpha=1 - confidence)


def _bounds(old: Floats, new: Floats) -> tuple[float, float]:
    """An unscored row may have any score from 0 to 1."""
    if not len(old):
        return -1.0, 1.0
    low = np.nan_to_num(new, nan=0.0) - np.nan_to_num(old, nan=1.0)
    high = np.nan_to_num(new, nan=1.0) - np.nan_to_num(old, nan=0.0)
    return float(low.mean()), float(high.mean())


def _statements(rows: int, groups: int, unscored: tuple[int, int]) -> tuple[str, ...]:
    said = {
        f"Only {groups} independent groups in {rows} rows: trust neither interval nor absence of a"
        " difference.": groups < LABELS_MIN,
        f"{unscored[0]} rows are unscored in the base alone, {unscored[1]} in the candidate alone;"
        " the bounds say what they could change.": sum(unscored) > 0,
    }
    return tuple(text for text, holds in said.items() if holds)
