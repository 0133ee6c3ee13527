"""Figures with their intervals, or the reason why there is none; what this room shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LABELS_MIN = 30
"""Below this, a report says first that it rests on too few labels."""
RESAMPLES_MAX, RESAMPLES_MIN = 1_000, 200
RESAMPLED_ROWS_MAX = 50_000_000
RESAMPLED_GROUPS_MAX = 5_000
DEFINED_MIN = 0.9
"""An interval needs a statistic that is defined in this share of the resamples."""
GROUPS_MIN = 10
"""Resampling fewer groups says nothing of how they vary."""
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its interval. A missing number or interval has its reason in `statement`."""

    value: float | None
    interval: tuple[float, float] | None = None
    statement: str = ""


def generator(seed: int, purpose: str) -> np.random.Generator:
    """Random numbers that differ between purposes of one seed, as independent draws must."""
    return np.random.default_rng([seed, *purpose.encode()])


def numbers(name: str, values: ArrayLike) -> Floats:
    """A vector of finite numbers, with NaN for what is missing. Raises `ValueError` by name."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name} must be one list of numbers, not an array of {array.ndim} axes")
    if np.isinf(array).any():
        raise ValueError(f"{name} must be finite; NaN stands for a missing value")
    return array


def equally_long(**columns: NDArray[np.generic]) -> None:
    """Raises `ValueError` unless all columns describe the same rows."""
    if len({len(column) for column in columns.values()}) > 1:
        lengths = ", ".join(f"{name} has {len(column)}" for name, column in columns.items())
        raise ValueError(f"the columns must have one value for each row: {lengths}")


def between(name: str, value: float, low: float = 0.0, high: float = 1.0) -> float:
    """The value, if it lies strictly between the limits. Raises `ValueError` by name."""
    if not low < value < high:
        raise ValueError(f"{name} must lie between {low:g} and {high:g}, not {value:g}")
    return value


def group_codes(groups: ArrayLike | None, rows: int) -> Integers:
    """Each row's group as a number from 0; without groups, each row is a group of its own."""
    if groups is None:
        return np.arange(rows)
    array = np.asarray(groups)
    equally_long(groups=array, rows=np.empty(rows))
    return np.unique(array, return_inverse=True)[1].astype(np.int64)


def group_count(codes: Integers) -> int:
    """How many different groups the rows have."""
    return int(np.count_nonzero(np.bincount(codes)))


def grouped_error(*parts: tuple[Floats, Integers]) -> float:
    """The standard error of a sum whose terms correlate within groups.

    Each part holds the centred terms of one sample and their groups. Terms are summed by group,
    with the factor G/(G − 1) for each sample; groups are independent of each other. NaN if a
    sample has fewer than two groups. Cameron and Miller, A Practitioner's Guide to Cluster-Robust
    Inference (2015), section II.
    """
    total = np.zeros(1 + max(int(codes.max(initial=0)) for _, codes in parts))
    for terms, codes in parts:
        sums = np.bincount(codes, terms, len(total))
        count = group_count(codes)
        total += sums * (np.sqrt(count / (count - 1)) if count > 1 else np.nan)
    return float(np.sqrt(np.sum(total**2)))


def student_interval(
    value: float, error: float, groups: int, confidence: float
) -> tuple[float, float]:
    """value ± t · error, with Student's t of groups − 1 degrees of freedom."""
    width = float(stats.t.ppf((1 + confidence) / 2, groups - 1)) * error
    return value - width, value + width


def mean_figure(values: Floats, codes: Integers, confidence: float) -> Figure:
    """The mean with its cluster-robust interval."""
    if not len(values):
        return Figure(None, None, "There are no values.")
    mean, groups = float(values.mean()), group_count(codes)
    if groups < 2:  # noqa: PLR2004  # one group has no spread
        return Figure(mean, None, "One group has no spread, so there is no interval.")
    error = grouped_error(((values - mean) / len(values), codes))
    if error <= ROUNDING * max(1.0, abs(mean)):
        return Figure(mean, None, "All values are equal, which tells nothing of their spread.")
    return Figure(mean, student_interval(mean, error, groups, confidence))


def exact_share_interval(count: int, n: int, confidence: float) -> tuple[float, float]:
    """The interval of a share by Clopper and Pearson (1934): it never covers too rarely."""
    tail = (1 - confidence) / 2
    low = float(stats.beta.ppf(tail, count, n - count + 1)) if count else 0.0
    high = float(stats.beta.ppf(1 - tail, count + 1, n - count)) if count < n else 1.0
    return low, high


def share_figure(hits: NDArray[np.bool_], codes: Integers, confidence: float) -> Figure:
    """A share: exact where each case is its own group or all are alike, else cluster-robust."""
    found, groups = mean_figure(hits.astype(np.float64), codes, confidence), group_count(codes)
    if found.value is not None and (len(hits) == groups or found.value in (0, 1)):
        count = round(found.value * groups)
        return Figure(found.value, exact_share_interval(count, groups, confidence))
    if found.interval is None:
        return found
    low, high = found.interval
    return Figure(found.value, (max(0.0, low), min(1.0, high)))


def bootstrap(
    measure: Callable[[Integers], Mapping[str, float]],
    codes: Integers,
    *,
    confidence: float,
    seed: int,
    undefined: Mapping[str, str],
) -> dict[str, Figure]:
    """The figures that `measure` gives for rows, with percentile intervals over groups.

    Whole groups are drawn with replacement. Above 5,000 groups each resample has 5,000, and its
    deviations are scaled by √(5,000 / G): the m out of n bootstrap (Bickel, Götze and van Zwet
    1997), right for statistics with errors of order 1/√G. Efron and Tibshirani, An Introduction to
    the Bootstrap (1993), chapter 13. `undefined` says why a figure may be NaN.
    """
    rng = generator(seed, "bootstrap")
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    starts = np.cumsum(sizes) - sizes
    drawn = min(len(sizes), RESAMPLED_GROUPS_MAX)
    rows = max(1, len(codes) * drawn // max(1, len(sizes)))
    resamples = int(np.clip(RESAMPLED_ROWS_MAX // rows, RESAMPLES_MIN, RESAMPLES_MAX))
    point = {name: float(value) for name, value in measure(np.arange(len(codes))).items()}
    if len(sizes) < GROUPS_MIN:
        few = f"No interval: {len(sizes)} groups do not show how they vary."
        return {
            name: Figure(None, None, undefined.get(name, ""))
            if np.isnan(value)
            else Figure(value, None, few)
            for name, value in point.items()
        }
    found = np.empty((resamples, len(point)))
    for values in found:
        groups = rng.integers(len(sizes), size=drawn)
        if len(sizes) < len(codes):
            lengths = sizes[groups]
            shift = np.repeat(starts[groups] - np.cumsum(lengths) + lengths, lengths)
            groups = shift + np.arange(len(shift))
        values[:] = list(measure(order[groups]).values())
    scale = np.sqrt(drawn / len(sizes))
    tails = ((1 - confidence) / 2, (1 + confidence) / 2)
    return {
        name: _with_interval(value, column, scale, tails, undefined.get(name, ""))
        for (name, value), column in zip(point.items(), found.T, strict=True)
    }


def _with_interval(
    value: float, resampled: Floats, scale: float, tails: tuple[float, float], undefined: str
) -> Figure:
    if np.isnan(value):
        return Figure(None, None, undefined)
    defined = resampled[~np.isnan(resampled)]
    if len(defined) < DEFINED_MIN * len(resampled):
        return Figure(value, None, "No interval: many resamples do not define this figure.")
    low, high = value + scale * (np.quantile(defined, tails) - value)
    if high - low <= ROUNDING:
        return Figure(value, None, "All resamples give the same value, so there is no interval.")
    return Figure(float(value), (float(low), float(high)))
