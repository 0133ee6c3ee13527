"""Where scores are cut into pass and fail, and what a judge's probabilities are worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from assay.calibration.agreement import Agreement, label_agreement
from assay.calibration.figures import (
    Figure,
    Floats,
    Integers,
    equally_long,
    generator,
    group_codes,
    numbers,
    share_figure,
)

NOISE_DRAWS = 200
CURVE_POINTS_MAX = 25


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The figures of one threshold; their intervals hold for it alone, not for all at once."""

    threshold: float
    precision: Figure
    recall: Figure
    accuracy: Figure


@dataclass(frozen=True, slots=True)
class Threshold:
    """Scores of at least `value` pass; `agreement` is that on the half that did not choose it."""

    value: float | None
    agreement: Agreement | None
    statement: str
    curve: tuple[CurvePoint, ...] = ()
    """What others would give, on the half that did not choose, or on all if none did."""


def halves(codes: Integers, seed: int) -> tuple[Integers, Integers]:
    """The rows of two random halves of the groups."""
    count = int(codes.max(initial=-1)) + 1
    first = generator(seed, "halves").permutation(count) < count // 2
    return np.flatnonzero(first[codes]), np.flatnonzero(~first[codes])


def propose_threshold(
    scores: ArrayLike,
    human_pass: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    precision_min: float | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Threshold:
    """The threshold with the highest κ, or the lowest one whose precision is at least a value.

    It is chosen on a random half of the groups and reported on the other: on the half that chose
    it, it looks better than it is. NaN is missing; `human_pass` is 0 or 1.
    """
    score, human = numbers("scores", scores), numbers("human_pass", human_pass)
    equally_long(scores=score, human_pass=human)
    if not np.isin(human[~np.isnan(human)], (0, 1)).all():
        raise ValueError("human_pass must be 0 or 1")
    kept = ~np.isnan(score) & ~np.isnan(human)
    codes = group_codes(group_codes(groups, len(score))[kept], int(kept.sum()))
    score, human = score[kept], human[kept]
    tuning, test = halves(codes, seed)
    if len(np.unique(human[tuning])) < 2 or np.ptp(score[tuning]) == 0:  # noqa: PLR2004
        nothing = "No threshold: the half that chooses has one label or one score only."
        return Threshold(None, None, nothing, threshold_curve(score, human, codes, confidence))
    curve = threshold_curve(score[test], human[test], codes[test], confidence)
    value, best = _choose(score[tuning], human[tuning], precision_min)
    if value is None:
        said = f"No threshold reaches a precision of {precision_min:g} (the best is {best:.3g})."
        return Threshold(None, None, said, curve)
    agreement = label_agreement((score[test] >= value) * 1.0, human[test], codes[test], seed=seed)
    said = f"Chosen on {len(tuning)} labels, reported on {len(test)} others."
    precision = agreement.figures["precision"]
    if precision_min and (precision.interval is None or precision.interval[0] < precision_min):
        said += f" They do not show a precision of {precision_min:g}: see its interval."
    return Threshold(value, agreement, said, curve)


def threshold_curve(
    score: Floats, human: Floats, codes: Integers, confidence: float
) -> tuple[CurvePoint, ...]:
    """Precision, recall and accuracy at each score that there is, or at some evenly spread ones.

    Scores of at least the threshold pass; nothing may be missing.
    """
    values = np.unique(score)
    if len(values) > CURVE_POINTS_MAX:
        spread = np.linspace(0, len(values) - 1, CURVE_POINTS_MAX).round().astype(int)
        values = values[spread]
    people = human == 1

    def point(value: float) -> CurvePoint:
        judge = score >= value
        shares = ((people, judge), (judge, people), (judge == people, people | True))
        precision, recall, accuracy = (
            share_figure(hits[rows], codes[rows], confidence) for hits, rows in shares
        )
        return CurvePoint(value, precision, recall, accuracy)

    return tuple(map(point, values.tolist()))


def _choose(
    score: Floats, human: Floats, precision_min: float | None
) -> tuple[float | None, float]:
    """The threshold, and the best value of the criterion that any reaches."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)
    passed = np.arange(1, len(score) + 1)[last]
    hits = np.cumsum(human[order])[last]
    values = score[order][last]
    n, people = len(score), human.sum()
    if precision_min is not None:
        precision = hits / passed
        enough = np.flatnonzero(precision >= precision_min)
        return (float(values[enough[-1]]) if len(enough) else None), float(precision.max())
    equal = (hits + (n - people) - (passed - hits)) / n
    chance = (passed * people + (n - passed) * (n - people)) / n**2
    kappa = (equal - chance) / (1 - chance)
    return float(values[np.argmax(kappa)]), float(kappa.max())


@dataclass(frozen=True, slots=True)
class Reliability:
    """Bins of (mean probability, share right, count), and the expected calibration error.

    `error_by_chance` is what a perfectly calibrated judge stays below in 95 % of such samples: an
    error under it is no sign of miscalibration.
    """

    bins: tuple[tuple[float, float, int], ...]
    error: float | None
    error_by_chance: float | None
    statement: str = ""


def reliability(
    probabilities: ArrayLike, outcomes: ArrayLike, *, bins: int = 10, seed: int = 0
) -> Reliability:
    """How often claims of each probability are right, in bins of equal width.

    ECE = Σ (n_b/n) · |mean probability − share right|: Naeini, Cooper and Hauskrecht (2015).
    It is never negative, and so above 0 also for a perfect judge; hence `error_by_chance`, from
    200 simulated sets of outcomes. NaN is missing.
    """
    claimed, right = numbers("probabilities", probabilities), numbers("outcomes", outcomes)
    equally_long(probabilities=claimed, outcomes=right)
    kept = ~np.isnan(claimed) & ~np.isnan(right)
    claimed, right = claimed[kept], right[kept]
    if not len(claimed):
        return Reliability((), None, None, "No row has both a probability and an outcome.")
    if claimed.min() < 0 or claimed.max() > 1:
        raise ValueError("probabilities must lie from 0 to 1")
    place = np.minimum((claimed * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins)
    total = np.bincount(place, claimed, bins)

    def error(outcome: Floats) -> float:
        return float(np.abs(total - np.bincount(place, outcome, bins)).sum() / len(claimed))

    rng = generator(seed, "reliability")
    chance = [
        error(np.where(rng.random(len(claimed)) < claimed, 1.0, 0.0)) for _ in range(NOISE_DRAWS)
    ]
    hits = np.bincount(place, right, bins)
    rows = tuple(
        (float(total[b] / count[b]), float(hits[b] / count[b]), int(count[b]))
        for b in np.flatnonzero(count)
    )
    return Reliability(rows, error(right), float(np.quantile(chance, 0.95)))
