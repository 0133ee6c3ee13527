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
_UPPER = (1 + CONFIDENCE) / 2
_Z = NormalDist().inv_cdf(_UPPER)
_NORMAL_FROM_DF = 100_000
"""From here, Student's t and the normal quantile agree to five digits."""
_STEPS = 200
_TINY = 1e-300


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
    """The 97.5 % quantile of Student's t with `df` ≥ 1 degrees of freedom, to nine digits."""
    if df >= _NORMAL_FROM_DF:
        return _Z
    low, high = 0.0, 13.0  # df = 1 has the largest, 12.7062
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _student_tail(middle, df) > 1 - _UPPER:
            low = middle
        else:
            high = middle
        if high - low < 1e-12:  # noqa: PLR2004  # the precision of a float of this size
            break
    return (low + high) / 2


def _estimate(mean: float, error: float, df: int) -> Estimate:
    width = student_t(df) * error
    return Estimate(mean, error, (max(0.0, mean - width), min(1.0, mean + width)))


def _student_tail(t: float, df: int) -> float:
    """P(T > t) = I_x(df/2, 1/2) / 2 with x = df / (df + t²)."""
    return _incomplete_beta(df / 2, 0.5, df / (df + t * t)) / 2


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function; DLMF 8.17.22, on the side where it converges."""
    if x in (0.0, 1.0):
        return x
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(log_front + a * math.log(x) + b * math.log1p(-x)) / a
    return front * _continued_fraction(a, b, x)


def _continued_fraction(a: float, b: float, x: float) -> float:
    """By Lentz's method, two terms a step."""
    c = 1.0
    d = 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _away_from_zero(1 + term * d)
            c = _away_from_zero(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < 1e-15:  # noqa: PLR2004  # the precision of a float
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
