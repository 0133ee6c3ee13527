"""Which rows people should label next, and how many."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from assay.calibration.figures import LABELS_MIN, Floats, Integers, between, generator, numbers

FLOOR = 0.2
CAPPING_ROUNDS_MAX = 100


@dataclass(frozen=True, slots=True)
class Draw:
    """The rows drawn, and every row's probability, which must be kept with the labels."""

    rows: Integers
    probabilities: Floats
    seed: int


def inclusion_probabilities(
    uncertainty: ArrayLike, expected: float, *, floor: float = FLOOR
) -> Floats:
    """Each row's probability to be drawn: Σ π = `expected`, and 0 < π ≤ 1.

    π = floor · expected/N + (1 − floor) · c · u: a share `floor` of the labels is spread evenly, so
    that no weight 1/π exceeds N/(floor · expected) where the judge is wrongly sure. Rows that
    would exceed 1 are drawn for certain, and c grows for the others. An unknown uncertainty (NaN)
    counts as the mean of the known. Zrnic and Candès (2024), section 4.
    """
    values = numbers("uncertainty", uncertainty)
    between("floor", floor, 0.0, 1.0 + 1e-9)
    n = len(values)
    if not 0 < expected <= n:
        raise ValueError(f"expected must lie above 0 and up to the {n} rows, not {expected:g}")
    known = values[~np.isnan(values)]
    if (known < 0).any():
        raise ValueError("uncertainty must not be negative")
    values = np.where(np.isnan(values), known.mean() if len(known) else 1.0, values)
    mean = values.mean() or 1.0
    shape = floor + (1 - floor) * (values / mean if values.any() else np.ones(n))
    probabilities = np.zeros(n)
    free = np.ones(n, dtype=bool)
    for _ in range(CAPPING_ROUNDS_MAX):
        left = expected - (n - free.sum())
        probabilities[free] = left * shape[free] / shape[free].sum()
        over = probabilities > 1
        if not over.any():
            break
        probabilities[over] = 1.0
        free &= ~over & (probabilities < 1)
    return np.minimum(probabilities, 1.0)


def draw_rows(uncertainty: ArrayLike, expected: float, seed: int, *, floor: float = FLOOR) -> Draw:
    """A Poisson sample: each row is drawn by itself with its own probability.

    Its size varies by less than √expected around `expected`. The same seed draws the same rows.
    """
    probabilities = inclusion_probabilities(uncertainty, expected, floor=floor)
    chosen = generator(seed, "draw").random(len(probabilities)) < probabilities
    return Draw(np.flatnonzero(chosen), probabilities, seed)


@dataclass(frozen=True, slots=True)
class LabelPlan:
    """How many labels an interval takes, with the judge's help and without."""

    labels: int | None
    labels_without_judge: int | None
    statement: str


def plan_labels(
    half_width: float,
    *,
    rows: int,
    deviation: float,
    correlation: float = 0.0,
    confidence: float = 0.90,
) -> LabelPlan:
    """The number of randomly drawn labels for an interval of ± `half_width`.

    The smallest n with z² · s² (1 − ρ² N/(N + n))/n ≤ h²: the variance of the prediction-powered
    mean at its best λ, with N = rows − n, the labels' standard deviation s and their correlation ρ
    with the judge. Both come from a pilot, or from a bound (s ≤ 0.5 for pass and fail).
    Assumes independent rows.
    """
    between("confidence", confidence)
    between("half_width", half_width, 0.0, math.inf)
    between("deviation", deviation, 0.0, math.inf)
    between("correlation", correlation, -1.0 - 1e-9, 1.0 + 1e-9)
    z = stats.norm.ppf((1 + confidence) / 2)
    n = np.arange(2, rows + 1)
    variance = (half_width / z / deviation) ** 2

    def smallest(share: float) -> int | None:
        enough = np.flatnonzero((1 - share * (rows - n) / rows) / n <= variance)
        return int(n[enough[0]]) if len(enough) else None

    labels = smallest(max(correlation, 0.0) ** 2)
    said = (
        f"All {rows} rows labelled do not give ± {half_width:g}."
        if labels is None
        else f"Label {labels} rows drawn at random; fewer than {LABELS_MIN} never suffice."
    )
    return LabelPlan(labels and max(labels, LABELS_MIN), smallest(0.0), said)
