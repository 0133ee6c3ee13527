"""A mean judged by a model, corrected by what people say of some of the rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from assay.calibration.figures import (
    LABELS_MIN,
    ROUNDING,
    Figure,
    Floats,
    Integers,
    between,
    equally_long,
    group_codes,
    group_count,
    grouped_error,
    mean_figure,
    numbers,
    student_interval,
)

LEVERAGE_MAX = 0.9


@dataclass(frozen=True, slots=True)
class DebiasedMean:
    """Three figures for one mean, and what the judge added to the labels."""

    debiased: Figure
    labels_only: Figure
    judge_only: Figure
    judge_weight: float | None
    """λ: 0 ignores the judge, 1 trusts its differences fully."""
    labels: int
    effective_labels: float | None
    """How many labels alone would give the debiased figure's error."""
    statements: tuple[str, ...]


def prediction_powered_mean(
    labels: ArrayLike,
    judge: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    probabilities: ArrayLike | None = None,
    confidence: float = 0.90,
    judge_weight: float | None = None,
) -> DebiasedMean:
    """The mean label of a batch, from labels of some rows and judge scores of all (PPI++).

    θ = λ · mean(f over the N unlabelled rows) + mean(Y − λ f over the n labelled rows), with
    λ = Cov(Y, f) / ((1 + n/N) Var(f)) cut to [0, 1]. The variance is Var(Y − λ f)/n + λ² Var(f)/N,
    by groups, and Student's t has the labelled groups − 1 degrees of freedom: Angelopoulos, Duchi
    and Zrnic, PPI++ (2023). Since λ fits the labels, residuals are divided by 1 − their leverage,
    as in MacKinnon and White (1985); `judge_weight` fixes λ instead.

    With the inclusion `probabilities` π of a draw, labelled rows weigh 1/π (normalised, since the
    size of a Poisson draw is random), f is averaged over all rows, and λ minimises the estimated
    variance: Zrnic and Candès, Active Statistical Inference (2024).

    Assumes that labelled rows are a random sample or were drawn with π, and no heavy tails. NaN:
    unlabelled, or unscored. For the batch's own mean the interval is too wide, never too narrow.
    """
    label, score = numbers("labels", labels), numbers("judge", judge)
    chance = np.ones(len(label)) if probabilities is None else numbers("π", probabilities)
    equally_long(labels=label, judge=score, probabilities=chance)
    between("confidence", confidence)
    codes = group_codes(groups, len(label))
    scored = ~np.isnan(score)
    labelled = scored & ~np.isnan(label)
    if not ((chance[labelled] > 0) & (chance[labelled] <= 1)).all():
        raise ValueError("probabilities must lie above 0 and up to 1 on labelled rows")
    statements = _statements(label, score, codes, labelled)
    alone = mean_figure(score[scored], codes[scored], confidence)
    n = int(labelled.sum())
    if group_count(codes[labelled]) < 2:  # noqa: PLR2004  # no spread
        none = Figure(None, None, "Fewer than two labelled groups: nothing can be said.")
        return DebiasedMean(none, none, alone, None, n, None, statements)
    base = scored if probabilities is not None else scored & ~labelled
    rows = (label[labelled], score[labelled], 1 / chance[labelled], codes[labelled])
    sample = _Sample(*rows, score[base], codes[base])
    weight = judge_weight
    if weight is None:
        weight = sample.weight(by_variance=probabilities is not None)
    debiased, error = sample.estimate(weight, confidence, fitted=judge_weight is None)
    labels_only, error_alone = sample.estimate(0.0, confidence, fitted=False)
    worth = n * (error_alone / error) ** 2 if debiased.interval and labels_only.interval else None
    return DebiasedMean(debiased, labels_only, alone, weight, n, worth, statements)


@dataclass(frozen=True, slots=True)
class _Sample:
    """Labelled rows with their weights, and the scores whose mean is taken as it is."""

    label: Floats
    score: Floats
    inverse: Floats
    codes: Integers
    base: Floats
    base_codes: Integers

    def terms(self, values: Floats) -> Floats:
        total = float(self.inverse.sum())
        return self.inverse * (values - self.mean(values)) / total

    def mean(self, values: Floats) -> float:
        return float(np.average(values, weights=self.inverse))

    def base_terms(self) -> Floats:
        mean = float(self.base.mean())
        return (self.base - mean) / len(self.base)

    def weight(self, *, by_variance: bool) -> float:
        both = np.append(self.score, self.base)
        if not len(self.base) or np.ptp(both) == 0:
            return 0.0
        if by_variance:
            size = 1 + max(self.codes.max(), self.base_codes.max())
            of_score = np.bincount(self.codes, self.terms(self.score), size)
            of_score -= np.bincount(self.base_codes, self.base_terms(), size)
            of_label = np.bincount(self.codes, self.terms(self.label), size)
            best = of_label @ of_score / (of_score @ of_score)
        else:
            ratio = 1 + len(self.label) / len(self.base)
            best = np.cov(self.label, self.score)[0, 1] / (ratio * np.var(both, ddof=1))
        return float(np.clip(best, 0, 1))

    def estimate(self, weight: float, confidence: float, *, fitted: bool) -> tuple[Figure, float]:
        rest = self.label - weight * self.score
        value, terms = self.mean(rest), self.terms(rest)
        if fitted and weight and np.ptp(self.score):
            pull = np.bincount(self.codes, self.terms(self.score)) ** 2
            terms /= (1 - np.minimum(pull / pull.sum(), LEVERAGE_MAX))[self.codes]
        parts = [(terms, self.codes)]
        if weight and len(self.base):
            value += weight * float(self.base.mean())
            parts.append((weight * self.base_terms(), self.base_codes))
        error = grouped_error(*parts)
        if np.ptp(rest) <= ROUNDING:
            same = "All labels differ from the judge alike: they tell nothing of the error."
            return Figure(value, None, same), error
        groups = group_count(self.codes)
        return Figure(value, student_interval(value, error, groups, confidence)), error


def _statements(
    label: Floats, score: Floats, codes: Integers, labelled: NDArray[np.bool_]
) -> tuple[str, ...]:
    n, groups = int(labelled.sum()), group_count(codes[labelled])
    unscored = np.isnan(score)
    wasted = int((unscored & ~np.isnan(label)).sum())
    few = f"Only {n} labels in {groups} groups: the interval is not to be trusted."
    left_out = (
        f"{unscored.sum()} rows are unscored and left out, {wasted} of them labelled: the mean is"
        " that of the scored rows."
    )
    constant = "The judge gives one score only: the debiased mean is that of the labels."
    one_score = not unscored.all() and np.ptp(score[~unscored]) == 0
    said = {few: groups < LABELS_MIN, left_out: unscored.any(), constant: one_score}
    return tuple(text for text, holds in said.items() if holds)
