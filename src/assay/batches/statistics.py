"""Means and shares with 95 % confidence intervals, from sums alone: no row is kept.

Scores are summed as integers of millionths: sums over a million rows stay exact, and so does the
variance, which is a small difference of large numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist

SCALE = 1_000_000
"""Sums are in units of 1/SCALE, sums of squares in units of 1/SCALE²."""
CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
_EXPANDED_FROM_DF = 64
_BISECTIONS = 50


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean from 0 to 1; error and interval are None if there is too little data.

    The interval is cut to 0..1, the range of scores.
    """

    mean: float
    standard_error: float | None
    interval: tuple[float, float] | None


def mean_estimate(n: int, total: int, squares: int) -> Estimate:
    """The mean of `n` independent scores: s/√n and Student's t with n − 1 degrees of freedom.

    `total` and `squares` are the sums of the scores and of their squares. Raises
    `ZeroDivisionError` for no scores.
    """
    mean = Fraction(total, n * SCALE)
    if n == 1:
        return Estimate(float(mean), None, None)
    variance = (Fraction(squares, SCALE**2) - n * mean**2) / (n - 1)
    return _estimate(float(mean), math.sqrt(max(float(variance), 0.0) / n), n - 1)


def clustered_mean(groups: Iterable[tuple[int, int]]) -> Estimate:
    """The mean of scores that correlate within groups; each group is (count, sum of scores).

    The cluster-robust ("sandwich") error of the mean with the factor G/(G − 1) and Student's t
    with G − 1 degrees of freedom: Cameron and Miller, A Practitioner's Guide to Cluster-Robust
    Inference (2015), section II.
    """
    sums = [(count, Fraction(total, SCALE)) for count, total in groups]
    n = sum(count for count, _ in sums)
    mean = sum((total for _, total in sums), Fraction()) / n
    if len(sums) == 1:
        return Estimate(float(mean), None, None)
    spread = sum(((total - count * mean) ** 2 for count, total in sums), Fraction())
    factor = Fraction(len(sums), len(sums) - 1)
    return _estimate(float(mean), math.sqrt(float(factor * spread)) / n, len(sums) - 1)


def wilson_interval(count: int, n: int) -> tuple[float, float]:
    """The interval of a share after Wilson (1927).

    It holds for few rows and for shares near 0 or 1, where the usual interval has no width.
    """
    share = count / n
    shift = _Z**2 / (2 * n)
    width = _Z * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    scale = 1 + _Z**2 / n
    return max(0.0, (share + shift - width) / scale), min(1.0, (share + shift + width) / scale)


def student_t(df: int) -> float:
    """The 97.5 % quantile of Student's t with `df` ≥ 1 degrees of freedom, to nine digits.

    Abramowitz and Stegun (1964), 26.7.5: the expansion in 1/df, where that is small enough.
    """
    if df >= _EXPANDED_FROM_DF:
        z = _Z
        terms = (
            (z**3 + z) / 4,
            (5 * z**5 + 16 * z**3 + 3 * z) / 96,
            (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
            (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160,
        )
        return z + math.fsum(term / df**power for power, term in enumerate(terms, 1))
    low, high = 0.0, 13.0  # df = 1 has the largest, 12.7062
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, df) < CONFIDENCE else (low, middle)
    return low


def _within(t: float, df: int) -> float:
    """P(|T| ≤ t), as a finite sum: Abramowitz and Stegun (1964), 26.7.3 and 26.7.4."""
    angle, odd = math.atan(t / math.sqrt(df)), df % 2
    term = math.cos(angle) if odd else 1.0
    total = term if df > 1 else 0.0
    for number in range(2 + odd, df, 2):
        term *= (number - 1) / number * math.cos(angle) ** 2
        total += term
    share = math.sin(angle) * total
    return 2 / math.pi * (angle + share) if odd else share


def _estimate(mean: float, error: float, df: int) -> Estimate:
    width = student_t(df) * error
    return Estimate(mean, error, (max(0.0, mean - width), min(1.0, mean + width)))
