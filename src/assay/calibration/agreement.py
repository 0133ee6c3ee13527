"""How far a judge agrees with people, and people with each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from assay.calibration.figures import (
    LABELS_MIN,
    Figure,
    Floats,
    Integers,
    bootstrap,
    equally_long,
    exact_share_interval,
    group_codes,
    group_count,
    numbers,
)

Level = Literal["nominal", "ordinal", "interval"]

UNDEFINED = {
    "kappa": "People gave one class only: agreement beyond chance cannot be told.",
    "alpha": "All ratings are equal: agreement beyond chance cannot be told.",
    "precision": "The judge passed no case.",
    "recall": "People passed no case.",
    "pearson": "Judge or people gave one value only: there is no correlation.",
}
UNDEFINED |= dict.fromkeys(("spearman", "kendall"), UNDEFINED["pearson"])
UNDEFINED |= dict.fromkeys(("alpha_ordinal", "alpha_interval"), UNDEFINED["alpha"])


@dataclass(frozen=True, slots=True)
class Agreement:
    """What `rows` labels in `groups` say of a judge; `statements` come first in any report."""

    rows: int
    groups: int
    figures: Mapping[str, Figure]
    statements: tuple[str, ...]
    classes: tuple[float, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    """Counts of people's class (row) and the judge's (column), in the order of `classes`."""


def label_agreement(
    judge: ArrayLike,
    human: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    positive: float = 1.0,
    confidence: float = 0.95,
    seed: int = 0,
) -> Agreement:
    """Agreement of labels, given as numbers of their classes; NaN is missing.

    accuracy: share of equal labels. Cohen's κ = (p_o − p_e)/(1 − p_e), with p_e from the margins
    (Cohen 1960). Krippendorff's nominal α. For the class `positive`: precision = P(human | judge),
    recall = P(judge | human), bias = P(judge) − P(human). Intervals: bootstrap over groups; exact
    (Clopper–Pearson, one case a group) where a share is 0 or 1 in all resamples.
    """
    both, codes, statements = _pairs(judge, human, groups)
    classes = np.union1d(both, [positive])
    k, pass_ = len(classes), int(np.searchsorted(classes, positive))
    labels = np.searchsorted(classes, both)
    cells = labels[1] * k + labels[0]

    def table(rows: Integers) -> Integers:
        return np.bincount(cells[rows], minlength=k * k).reshape(k, k)

    def measure(rows: Integers) -> dict[str, float]:
        return _label_figures(table(rows), pass_)

    found = _report(codes, statements, measure, confidence, seed)
    figures, passed = dict(found.figures), labels == pass_
    for name, rows in (("accuracy", codes >= 0), ("precision", passed[0]), ("recall", passed[1])):
        figure, n = figures.get(name), group_count(codes[rows])
        if figure is None or figure.value is None or figure.interval is not None:
            continue
        if n == rows.sum() or figure.value in (0.0, 1.0):
            exact = exact_share_interval(round(figure.value * n), n, confidence)
            figures[name] = Figure(figure.value, exact, "The interval is exact (Clopper–Pearson).")
    confusion = tuple(map(tuple, table(np.arange(len(codes))).tolist()))
    return replace(found, figures=figures, classes=tuple(classes.tolist()), confusion=confusion)


def score_agreement(
    judge: ArrayLike,
    human: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Agreement:
    """Agreement of scores; NaN is missing.

    Pearson's r, Spearman's ρ (r of midranks), Kendall's τ-b, mean absolute error, bias = mean of
    judge − human, Krippendorff's ordinal and interval α. A correlation ignores a constant bias;
    error and bias do not. Intervals: bootstrap over groups.
    """
    both, codes, statements = _pairs(judge, human, groups)

    def measure(rows: Integers) -> dict[str, float]:
        ours, theirs = both[:, rows]
        difference = ours - theirs
        return {
            "pearson": _correlation(ours, theirs),
            "spearman": _correlation(stats.rankdata(ours), stats.rankdata(theirs)),
            "kendall": _kendall(ours, theirs),
            "mean_absolute_error": float(np.abs(difference).mean()),
            "bias": float(difference.mean()),
            "alpha_ordinal": krippendorff_alpha(both[:, rows], "ordinal"),
            "alpha_interval": krippendorff_alpha(both[:, rows], "interval"),
        }

    return _report(codes, statements, measure, confidence, seed)


def krippendorff_alpha(ratings: ArrayLike, level: Level) -> float:
    """Krippendorff's α = 1 − D_o/D_e of ratings (raters × units, NaN where none); NaN if D_e is 0.

    Any number of raters; a unit counts with at least two ratings. Observed disagreement within a
    unit of m ratings is the sum of squared differences of its pairs, over m − 1; the expected one
    is that of all n pairable ratings over n − 1. Differences are of the values (interval), of
    their midranks (ordinal), or of class indicators (nominal). Krippendorff, Computing
    Krippendorff's Alpha-Reliability (2011).
    """
    table = np.asarray(ratings, dtype=np.float64)
    given = ~np.isnan(table)
    pairable = given.sum(axis=0) > 1
    table, given = table[:, pairable], given[:, pairable]
    if not table.size:
        return float("nan")
    values = table[given]
    if level == "ordinal":
        values = stats.rankdata(values)
    columns = [values == one for one in np.unique(values)] if level == "nominal" else [values]
    m, n = given.sum(axis=0), len(values)
    units = np.broadcast_to(np.arange(table.shape[1]), table.shape)[given]
    observed = expected = 0.0
    for column in columns:
        centred = column - column.mean()
        sums = np.bincount(units, centred)
        observed += np.sum((m * np.bincount(units, centred**2) - sums**2) / (m - 1))
        expected += n * np.sum(centred**2) / (n - 1)
    return float(1 - observed / expected) if expected > 0 else float("nan")


def human_ceiling(
    ratings: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    level: Level = "nominal",
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Figure]:
    """How far people agree with each other (annotators × cases, NaN where none).

    Krippendorff's α, and the share of equal labels among two ratings of a case: no judge can be
    expected to agree with one annotator more often than another annotator does.
    """
    table = np.asarray(ratings, dtype=np.float64)
    codes = group_codes(groups, table.shape[1])
    given = (~np.isnan(table)).sum(axis=0)
    classes = np.unique(table[~np.isnan(table)])
    same = sum((count := (table == one).sum(axis=0)) * (count - 1) for one in classes)
    pairs = given * (given - 1)

    def measure(rows: Integers) -> dict[str, float]:
        n = pairs[rows].sum()
        equal = np.broadcast_to(same, pairs.shape)[rows].sum() / n if n else float("nan")
        return {"alpha": krippendorff_alpha(table[:, rows], level), "pairwise_agreement": equal}

    none = "No case has two ratings, so how far people agree is unknown."
    if not pairs.any():
        return dict.fromkeys(("alpha", "pairwise_agreement"), Figure(None, None, none))
    return bootstrap(measure, codes, confidence=confidence, seed=seed, undefined=UNDEFINED)


def rating_table(cases: ArrayLike, annotators: ArrayLike, values: ArrayLike) -> tuple[Floats, int]:
    """Ratings as annotators × cases, both sorted, and how many contradict themselves.

    An annotator's equal ratings of one case count once. If they differ, none counts.
    """
    value = numbers("values", values)
    case, annotator = np.asarray(cases), np.asarray(annotators)
    equally_long(cases=case, annotators=annotator, values=value)
    kept = ~np.isnan(value)
    shape = (len(np.unique(annotator)), len(np.unique(case)))
    cell = group_codes(annotator, len(value)) * shape[1] + group_codes(case, len(value))
    low, high = np.full(shape, np.inf), np.full(shape, -np.inf)
    np.minimum.at(low.ravel(), cell[kept], value[kept])
    np.maximum.at(high.ravel(), cell[kept], value[kept])
    return np.where(low == high, low, np.nan), int((low < high).sum())


def worst_disagreements(judge: ArrayLike, human: ArrayLike, limit: int = 100) -> Integers:
    """Rows where judge and people differ, the largest difference first, then in their order."""
    difference = np.abs(numbers("judge", judge) - numbers("human", human))
    order = np.argsort(-np.nan_to_num(difference), kind="stable")[:limit]
    return order[np.nan_to_num(difference[order]) > 0]


def flip_rate(
    straight: ArrayLike,
    swapped: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Figure:
    """The share of pairs whose winner changes with the order in which they are shown.

    Both columns name the winner itself, whatever the order; NaN is missing.
    """
    agreed = label_agreement(straight, swapped, groups, confidence=confidence, seed=seed)
    same = agreed.figures.get("accuracy", Figure(None, None, "No pair has both orders."))
    if same.value is None:
        return same
    interval = same.interval and (1 - same.interval[1], 1 - same.interval[0])
    return replace(same, value=1 - same.value, interval=interval)


def _pairs(
    judge: ArrayLike, human: ArrayLike, groups: ArrayLike | None
) -> tuple[Floats, Integers, tuple[str, ...]]:
    """The rows that have both, their groups from 0, and what must be said of them."""
    ours, theirs = numbers("judge", judge), numbers("human", human)
    equally_long(judge=ours, human=theirs)
    kept = ~np.isnan(ours) & ~np.isnan(theirs)
    codes = group_codes(groups, len(ours))[kept]
    codes = group_codes(codes, len(codes))
    n, units = len(codes), group_count(codes)
    missing = int((np.isnan(ours) & ~np.isnan(theirs)).sum())
    both = np.stack([ours[kept], theirs[kept]])
    one_value = [n > 0 and np.ptp(side) == 0 for side in both]
    said = {
        f"Only {n} labels: too few to trust any figure (at least {LABELS_MIN}).": n < LABELS_MIN,
        f"The labels lie in {units} groups: too few for their intervals.": units
        < min(n, LABELS_MIN),
        f"{missing} labelled rows are unscored and left out.": missing > 0,
        "People gave one class only.": one_value[1],
        "The judge gave one class only.": one_value[0],
    }
    return both, codes, tuple(text for text, holds in said.items() if holds)


def _report(
    codes: Integers,
    statements: tuple[str, ...],
    measure: Callable[[Integers], dict[str, float]],
    confidence: float,
    seed: int,
) -> Agreement:
    if not len(codes):
        return Agreement(0, 0, {}, statements)
    figures = bootstrap(measure, codes, confidence=confidence, seed=seed, undefined=UNDEFINED)
    return Agreement(len(codes), group_count(codes), figures, statements)


def _label_figures(table: Integers, positive: int) -> dict[str, float]:
    """From counts of human (rows) × judge (columns)."""
    n = float(table.sum())
    human, judge = table.sum(axis=1), table.sum(axis=0)
    equal, chance = np.trace(table) / n, float(human @ judge) / n**2
    either = (human + judge).astype(float)
    expected = ((2 * n) ** 2 - float(either @ either)) / (2 * n * (2 * n - 1))
    hits, judged, wanted = (float(x[positive]) for x in (table.diagonal(), judge, human))
    return {
        "accuracy": float(equal),
        "kappa": float((equal - chance) / (1 - chance)) if human.max() < n else float("nan"),
        "alpha": float(1 - (1 - equal) / expected) if expected > 0 else float("nan"),
        "precision": hits / judged if judged else float("nan"),
        "recall": hits / wanted if wanted else float("nan"),
        "bias": (judged - wanted) / n,
    }


def _correlation(first: Floats, second: Floats) -> float:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def _kendall(first: Floats, second: Floats) -> float:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    # Its p-value, which is not used, is slow for many rows or divides by the rows less two.
    method = "asymptotic" if len(first) > 2 else "exact"  # noqa: PLR2004
    return float(stats.kendalltau(first, second, method=method).statistic)
