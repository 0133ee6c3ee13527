"""A mean judged by a model, corrected by what people say of some of the rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from assay.calibration.figures import (
    LABELS_MIN,
    ROUNDING,
    Figure,
    Floats,
    Integers,
    between,
    equally_long,
    group_codes,
    grouped_error,
    mean_figure,
    numbers,
    student_interval,
)


@dataclass(frozen=True, slots=True)
class DebiasedMean:
    """Three figures for one mean, and what the judge added to the labels.

    `effective_labels` is how many labels alone would give the debiased figure's error.
    """

    debiased: Figure
    labels_only: Figure
    judge_only: Figure
    judge_weight: float | None
    """λ: 0 ignores the judge, 1 trusts its differences fully."""
    labels: int
    effective_labels: float | None
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
    by groups; the quantile is Student's t with the labelled groups − 1. Angelopoulos, Duchi and
    Zrnic, PPI++ (2023).

    With the inclusion `probabilities` π of a draw, labelled rows weigh 1/π (normalised), f is
    averaged over all rows, and λ minimises the estimated variance: Zrnic and Candès, Active
    Statistical Inference (2024), as a ratio, since the size of a Poisson draw is random.

    Assumes that the labelled rows are a random sample, or that they were drawn with π; that rows
    are a sample of what they stand for (for the batch's own mean the interval is too wide, never
    too narrow); and no heavy tails. NaN: unlabelled, or unscored. `judge_weight` fixes λ.
    """
    label, score = numbers("labels", labels), numbers("judge", judge)
    equally_long(labels=label, judge=score)
    between("confidence", confidence)
    codes = group_codes(groups, len(label))
    chance = (
        np.ones(len(label)) if probabilities is None else numbers("probabilities", probabilities)
    )
    equally_long(labels=label, probabilities=chance)
    scored, labelled = ~np.isnan(score), ~np.isnan(label) & ~np.isnan(score)
    if not (chance[labelled] > 0).all() or (chance > 1).any():
        raise ValueError("probabilities must lie above 0 and up to 1 on labelled rows")
    statements = _statements(label, score, codes, labelled)
    alone = mean_figure(score[scored], codes[scored], confidence)
    n = int(labelled.sum())
    if len(np.unique(codes[labelled])) < 2:  # noqa: PLR2004  # no spread
        none = Figure(None, None, "Fewer than two labelled groups: nothing can be said.")
        return DebiasedMean(none, none, alone, None, n, None, statements)
    sample = _Sample(
        label[labelled],
        score[labelled],
        (share := 1 / chance[labelled]) / share.sum(),
        codes[labelled],
        *(
            (score[base], codes[base])
            if (base := scored & ~labelled if probabilities is None else scored).any()
            else (score[:0], codes[:0])
        ),
    )
    weight = sample.best_weight(weighted=probabilities is not None)
    weight = weight if judge_weight is None else judge_weight
    debiased, error = sample.estimate(weight, confidence)
    labels_only, error_alone = sample.estimate(0.0, confidence)
    worth = n * (error_alone / error) ** 2 if debiased.interval and labels_only.interval else None
    return DebiasedMean(debiased, labels_only, alone, weight, n, worth, statements)


@dataclass(frozen=True, slots=True)
class _Sample:
    label: Floats
    score: Floats
    share: Floats
    """The weights of labelled rows, which sum to 1."""
    codes: Integers
    base: Floats
    """The judge's scores whose mean is taken as it is, and their groups."""
    base_codes: Integers

    def _terms(self, values: Floats) -> Floats:
        return self.share * (values - self.share @ values)

    def best_weight(self, *, weighted: bool) -> float:
        if not len(self.base) or np.ptp(both := np.append(self.score, self.base)) == 0:
            return 0.0
        n = len(self.label)
        if not weighted:
            covariance = np.cov(self.label, self.score)[0, 1]
            best = covariance / ((1 + n / len(self.base)) * np.var(both, ddof=1))
        else:
            size = 1 + max(self.codes.max(), self.base_codes.max())
            of_label = np.bincount(self.codes, self._terms(self.label), size)
            spread = (self.base - self.base.mean()) / len(self.base)
            of_score = np.bincount(self.codes, self._terms(self.score), size)
            of_score -= np.bincount(self.base_codes, spread, size)
            best = of_label @ of_score / (of_score @ of_score)
        return float(np.clip(best, 0, 1))

    def estimate(self, weight: float, confidence: float) -> tuple[Figure, float]:
        rest = self.label - weight * self.score
        value, parts = float(self.share @ rest), [(self._terms(rest), self.codes)]
        if weight and len(self.base):
            value += weight * float(self.base.mean())
            spread = weight * (self.base - self.base.mean()) / len(self.base)
            parts.append((spread, self.base_codes))
        error = grouped_error(*parts)
        if np.ptp(rest) <= ROUNDING:
            same = "All labels differ from the judge alike: they tell nothing of the error."
            return Figure(value, None, same), error
        groups = len(np.unique(self.codes))
        return Figure(value, student_interval(value, error, groups, confidence)), error


def _statements(
    label: Floats, score: Floats, codes: Integers, labelled: np.ndarray
) -> tuple[str, ...]:
    n, groups = int(labelled.sum()), len(np.unique(codes[labelled]))
    unscored, unjudged = int(np.isnan(score).sum()), int((np.isnan(score) & ~np.isnan(label)).sum())
    said = {
        f"Only {n} labels in {groups} groups: the interval is not to be trusted.": groups
        < LABELS_MIN,
        f"{unscored} rows are unscored and left out, {unjudged} of them labelled: the mean is that"
        " of the scored rows.": unscored > 0,
        "The judge gives one score only: the debiased mean is that of the labels.": len(
            np.unique(score[~np.isnan(score)])
        )
        == 1,
    }
    return tuple(text for text, holds in said.items() if holds)
