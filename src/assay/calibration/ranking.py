"""Ranks systems from comparisons of their outputs on the same items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse.csgraph import connected_components

from assay.calibration.figures import (
    GROUPS_MIN,
    LABELS_MIN,
    Floats,
    Integers,
    between,
    equally_long,
    generator,
    group_codes,
    group_count,
    numbers,
)

RIDGE = 0.01
STEPS_MAX = 100
STEP_MAX = 2.0
CONVERGED = 1e-9
SMALLEST_ERROR = 1e-6
"""A smaller standard error comes from rounding alone."""
RESAMPLES = 500
UNBOUNDED = (
    "Some systems won, or lost, every comparison with all others: only the ridge bounds their"
    " strengths, which therefore have no intervals."
)
FEW = "So few items do not show how they vary: there are no intervals."
LEVEL = (
    "All resamples give equal strengths: nothing tells the systems apart, and there are no"
    " intervals."
)


@dataclass(frozen=True, slots=True)
class Ranking:
    """Strengths (their mean is 0) with simultaneous intervals and ranges of ranks, from 1."""

    strengths: Floats
    intervals: Floats | None
    """Systems × 2: with the confidence, all of them hold together."""
    rank_ranges: Integers | None
    """Systems × 2: the best and the worst rank that the differences leave open."""
    order_effect: float
    """What being shown first adds to a strength."""
    tie: float
    """ln ν: the weight of a tie between equals; −∞ would be no ties at all."""
    difference_errors: Floats | None
    """Systems × systems: standard errors of the differences of strengths."""
    unresolved: tuple[tuple[int, int], ...]
    """Pairs whose order is open, the most uncertain first: the ones to judge next."""
    statements: tuple[str, ...]


def rank_systems(
    first: ArrayLike,
    second: ArrayLike,
    outcomes: ArrayLike,
    items: ArrayLike,
    systems: int,
    *,
    confidence: float = 0.95,
    ridge: float = RIDGE,
    resamples: int = RESAMPLES,
    adaptive: bool = False,
    seed: int = 0,
) -> Ranking:
    """Bradley–Terry strengths with ties and an order effect, from single comparisons.

    Each names the systems shown first and second (from 0), the outcome (1: the first won, 0: a
    tie, −1: the second won, NaN: unscored) and the item. With η = θ_first − θ_second + γ,
    P(1) : P(0) : P(−1) = e^(η/2) : e^τ : e^(−η/2): Davidson (1970), with an order effect as
    Davidson and Beaver (1977). The ridge (ridge/2)·(Σ θ² + γ² + τ²) keeps strengths finite where
    a system wins everything. Items are resampled as wholes; intervals are the estimates ± c
    standard errors, c being the quantile of the largest deviation over all systems (pairs, for
    ranks). Assumes independent items and a fixed choice of pairs; otherwise say `adaptive`.
    """
    one, two, score, codes = _comparisons(first, second, outcomes, items, systems)
    between("confidence", confidence)
    cells, pair = np.unique(one * systems + two, return_inverse=True)
    design = _design(cells, systems)
    place = pair * 3 + (1 - score).astype(np.int64)
    counts = np.bincount(place, minlength=3 * len(cells)).astype(float)
    fit = fit_strengths(counts.reshape(1, -1, 3), design, ridge)
    statements = _statements(one, two, score, codes, systems, adaptive=adaptive)
    strengths = fit[0, :systems] - fit[0, :systems].mean()
    if group_count(codes) < GROUPS_MIN:
        return _without_intervals(strengths, fit[0], (*statements, FEW))
    drawn = _resampled(generator(seed, "ranking"), codes, place, (resamples, counts.size))
    found = fit_strengths(drawn.reshape(resamples, -1, 3), design, ridge, start=fit[0])
    theta = found[:, :systems] - found[:, :systems].mean(axis=1, keepdims=True)
    error, limit = _simultaneous(theta - strengths, confidence)
    if error.max() < SMALLEST_ERROR:
        return _without_intervals(strengths, fit[0], (*statements, LEVEL))
    gaps = strengths[:, None] - strengths
    gap_error, gap_limit = _simultaneous(theta[:, :, None] - theta[:, None] - gaps, confidence)
    above, below = gaps < -gap_limit * gap_error, gaps > gap_limit * gap_error
    ranges = np.stack([1 + above.sum(axis=1), systems - below.sum(axis=1)], axis=1)
    intervals = strengths[:, None] + np.outer(limit * error, (-1, 1))
    intervals = None if UNBOUNDED in statements else intervals
    unresolved = _unresolved(gaps, gap_error, ~above & ~below)
    return Ranking(
        strengths, intervals, ranges, fit[0, -2], fit[0, -1], gap_error, unresolved, statements
    )


def _without_intervals(strengths: Floats, fit: Floats, said: tuple[str, ...]) -> Ranking:
    return Ranking(strengths, None, None, fit[-2], fit[-1], None, (), said)


def fit_strengths(
    counts: Floats, design: Floats, ridge: float, start: Floats | None = None
) -> Floats:
    """The penalised maximum of the likelihood, by Newton's method, for many tables at once.

    `counts`: tables × pairs × (first, tie, second). `design`: pairs × (strengths, order). Returns
    tables × (strengths, γ, τ). The model is log-linear and so concave, with one maximum.
    """
    size = design.shape[1] + 1
    fit = np.tile(np.zeros(size) if start is None else start, (len(counts), 1))
    total = counts.sum(axis=2)
    for _ in range(STEPS_MAX):
        eta, tie = fit[:, :-1] @ design.T, fit[:, -1:]
        logits = np.stack([eta / 2, np.broadcast_to(tie, eta.shape), -eta / 2], axis=2)
        p = np.exp(logits - logits.max(axis=2, keepdims=True))
        p /= p.sum(axis=2, keepdims=True)
        rest = counts - total[:, :, None] * p
        slope, lean = (rest[..., 0] - rest[..., 2]) / 2, (p[..., 0] - p[..., 2]) / 2
        gradient = np.concatenate([slope @ design, rest[..., 1].sum(axis=1, keepdims=True)], axis=1)
        gradient -= ridge * fit
        curve = total * ((p[..., 0] + p[..., 2]) / 4 - lean**2)
        hessian = np.tile(ridge * np.eye(size), (len(counts), 1, 1))
        hessian[:, :-1, :-1] += np.einsum("bp,pi,pj->bij", curve, design, design, optimize=True)
        cross = (-total * lean * p[..., 1]) @ design
        hessian[:, :-1, -1] += cross
        hessian[:, -1, :-1] += cross
        hessian[:, -1, -1] += (total * p[..., 1] * (1 - p[..., 1])).sum(axis=1)
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        step *= np.minimum(1, STEP_MAX / np.maximum(np.abs(step).max(axis=1), 1e-300))[:, None]
        fit += step
        if np.abs(step).max(initial=0) < CONVERGED:
            break
    return fit


def _comparisons(
    first: ArrayLike, second: ArrayLike, outcomes: ArrayLike, items: ArrayLike, systems: int
) -> tuple[Integers, Integers, Floats, Integers]:
    score = numbers("outcomes", outcomes)
    kept = ~np.isnan(score)
    equally_long(first=np.asarray(first), second=np.asarray(second), outcomes=score)
    one, two = (np.asarray(side)[kept].astype(np.int64) for side in (first, second))
    codes, score = group_codes(items, len(score))[kept], score[kept]
    if not all(((side >= 0) & (side < systems)).all() for side in (one, two)) or (one == two).any():
        raise ValueError("first and second must be two different systems, numbered from 0")
    if not np.isin(score, (-1, 0, 1)).all():
        raise ValueError("outcomes must be 1, 0, −1 or NaN")
    return one, two, score, codes


def _design(cells: Integers, systems: int) -> Floats:
    """1 for the system shown first, −1 for the second, and 1 for the order."""
    one = np.eye(systems)
    return np.hstack([one[cells // systems] - one[cells % systems], np.ones((len(cells), 1))])


def _resampled(
    rng: np.random.Generator, codes: Integers, place: Integers, shape: tuple[int, int]
) -> Floats:
    """Tables of as many items, drawn with replacement."""
    codes, tables = group_codes(codes, len(codes)), np.empty(shape)
    items = int(codes.max()) + 1
    for table in tables:
        weight = np.bincount(rng.integers(items, size=items), minlength=items)
        table[:] = np.bincount(place, weight[codes], shape[1])
    return tables


def _simultaneous(deviations: Floats, confidence: float) -> tuple[Floats, float]:
    """Standard errors, and how many of them the largest deviation stays within."""
    error = np.sqrt((deviations**2).mean(axis=0))
    scaled = np.divide(np.abs(deviations), error, out=np.zeros_like(deviations), where=error > 0)
    largest = scaled.reshape(len(scaled), -1).max(axis=1)
    return error, float(np.quantile(largest, confidence))


def _unresolved(gaps: Floats, error: Floats, open_: np.ndarray) -> tuple[tuple[int, int], ...]:
    rows, columns = np.nonzero(np.triu(open_, 1))
    sizes = np.abs(gaps[rows, columns]) / np.maximum(error[rows, columns], 1e-300)
    order = np.argsort(sizes, kind="stable")
    return tuple(zip(rows[order].tolist(), columns[order].tolist(), strict=True))


def _statements(
    one: Integers, two: Integers, score: Floats, codes: Integers, systems: int, *, adaptive: bool
) -> tuple[str, ...]:
    won, lost = score >= 0, score <= 0
    beat = np.zeros((systems, systems))
    beat[one[won], two[won]] = beat[two[lost], one[lost]] = 1
    parts = int(connected_components(beat, directed=False)[0])
    split = int(connected_components(beat, connection="strong")[0]) > parts
    items = group_count(codes)
    said = {
        f"Only {items} items: too few to trust intervals and ranks.": items < LABELS_MIN,
        f"The systems fall into {parts} sets that never met: strengths of different sets cannot be"
        " compared.": parts > 1,
        UNBOUNDED: split,
        "Pairs were chosen by their outcomes: intervals and ranks are approximate.": adaptive,
    }
    return tuple(text for text, holds in said.items() if holds)
