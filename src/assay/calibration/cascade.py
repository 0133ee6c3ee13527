"""A cheap judge first, a dearer one where it is unsure, with a bound on the disagreement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from assay.calibration.figures import Floats, Integers, between, group_codes, numbers
from assay.calibration.thresholds import halves

VECTORS_MAX = 400
"""Vectors of thresholds tried; each tier has as many thresholds as this allows."""
CELLS_MAX = 4_000_000
UNSURE_COST = 10.0
"""A case that no judge decides costs this many times the whole cascade, if nothing else is said."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was shown, on what, and what it costs.

    `thresholds` is None if nothing was certified. A tier's verdict is accepted from its threshold
    on; with infinity, the tier is not asked at all.
    """

    alpha: float
    delta: float
    thresholds: tuple[float, ...] | None
    statement: str
    cases: int
    """Cases of the test half, one a group."""
    accepted: int = 0
    disagreements: int = 0
    coverage: float = 0.0
    shares: tuple[float, ...] = ()
    """The share of all cases that each tier decides."""
    cost: float = 0.0
    """Mean cost of the judges for one case."""
    attempts: int = 1

    @property
    def certified(self) -> bool:
        return self.thresholds is not None


def cases_needed(alpha: float, delta: float) -> int:
    """⌈ln δ / ln(1 − α)⌉: with fewer accepted cases, even no disagreement shows nothing."""
    return math.ceil(math.log(delta) / math.log1p(-alpha))


def certify_cascade(
    verdicts: Sequence[ArrayLike],
    confidences: Sequence[ArrayLike],
    human: ArrayLike,
    costs: Sequence[float],
    groups: ArrayLike | None = None,
    *,
    alpha: float,
    delta: float,
    unsure_cost: float | None = None,
    attempts: int = 1,
    seed: int = 0,
) -> Certificate:
    """Thresholds with which accepted verdicts disagree with people in at most a share α.

    P(share of disagreement among accepted cases > α) ≤ δ, over the draw of the labelled cases,
    whatever the judges do. One case of each group is kept. A random half orders vectors of
    thresholds from strict to loose: by the upper Clopper–Pearson bound of their disagreement, and
    only those that no other beats in both bound and cost. On the other half, those that accept at
    least ⌈ln δ / ln(1 − α)⌉ cases are tested in this order, each at level δ, with the exact
    binomial test of all that is accepted by any tier, up to the first failure (fixed-sequence
    testing needs no correction). The cheapest one that passed is certified. After Jung, Brahman
    and Choi, Trust or Escalate (ICLR 2025); Angelopoulos et al., Learn then Test (2021).

    `verdicts` and `confidences` are tiers × cases, cheapest first; NaN: the tier has none. Assumes
    that later cases come from where the labelled ones came from. Valid for one attempt: trying
    again on the same labels after a failure raises the risk, so `attempts` is told.
    """
    if not 0 <= alpha < 1:
        raise ValueError(f"alpha must lie from 0 to below 1, not {alpha:g}")
    between("delta", delta)
    if alpha == 0:
        never = "No number of labels shows that judges never disagree with people (alpha is 0)."
        return Certificate(alpha, delta, None, never, 0, attempts=attempts)
    cases = _Cases.of(verdicts, confidences, human, costs, groups, seed)
    tuning, test = halves(np.arange(len(cases.human)), seed + 1)
    needed = cases_needed(alpha, delta)
    if len(test) < needed:
        few = f"{len(test)} test cases are too few: at least {needed} accepted ones are needed."
        return Certificate(alpha, delta, None, few, len(test), attempts=attempts)
    per_tier = max(2, int(VECTORS_MAX ** (1 / len(costs))))
    grids = [_grid(confidence[tuning], per_tier) for confidence in cases.confidences]
    dear = (UNSURE_COST * sum(costs) or 1.0) if unsure_cost is None else unsure_cost
    on_tuning, on_test = (cases.outcomes(rows, grids) for rows in (tuning, test))
    best = None
    for vector in on_tuning.strict_to_loose(delta, dear):
        accepted, wrong = int(on_test.accepted[vector].sum()), int(on_test.wrong[vector])
        if accepted < needed:
            continue
        if stats.binom.cdf(wrong, accepted, alpha) > delta:
            break
        if best is None or on_test.total_cost(dear)[vector] < on_test.total_cost(dear)[best]:
            best = vector
    told = f" Attempt {attempts} on these labels: the bound holds for a first attempt." * (
        attempts > 1
    )
    if best is None:
        failed = f"No thresholds pass the test: disagreement may exceed {alpha:g}.{told}"
        return Certificate(alpha, delta, None, failed, len(test), attempts=attempts)
    n, accepted = len(test), int(on_test.accepted[best].sum())
    wrong = int(on_test.wrong[best])
    return Certificate(
        alpha,
        delta,
        list(product(*grids))[best],
        f"{wrong} of {accepted} accepted verdicts disagree with people: at most {alpha:g} in"
        f" general, with probability {1 - delta:g}.{told}",
        n,
        accepted,
        wrong,
        accepted / n,
        tuple((on_test.accepted[best] / n).tolist()),
        float(on_test.cost[best]),
        attempts,
    )


@dataclass(frozen=True, slots=True)
class _Outcomes:
    """What happens to `cases` with each vector of thresholds."""

    cases: int
    accepted: Integers
    """Vectors × tiers."""
    wrong: Integers
    cost: Floats

    def total_cost(self, unsure_cost: float) -> Floats:
        unsure = 1 - self.accepted.sum(axis=1) / self.cases
        return np.asarray(self.cost + unsure_cost * unsure)

    def strict_to_loose(self, delta: float, unsure_cost: float) -> Integers:
        accepted = self.accepted.sum(axis=1)
        bound = np.ones(len(accepted))
        some = self.wrong < accepted
        bound[some] = stats.beta.ppf(1 - delta, self.wrong[some] + 1, (accepted - self.wrong)[some])
        total = self.total_cost(unsure_cost)
        order = np.lexsort((total, bound))
        cheapest_so_far = np.minimum.accumulate(np.append(np.inf, total[order][:-1]))
        kept: Integers = order[total[order] < cheapest_so_far]
        return kept


@dataclass(frozen=True, slots=True)
class _Cases:
    wrong: Floats
    confidences: Floats
    """Tiers × cases; −∞ where the tier has no verdict."""
    human: Floats
    costs: Floats

    @classmethod
    def of(
        cls,
        verdicts: Sequence[ArrayLike],
        confidences: Sequence[ArrayLike],
        human: ArrayLike,
        costs: Sequence[float],
        groups: ArrayLike | None,
        seed: int,
    ) -> _Cases:
        label = numbers("human", human)
        verdict = np.stack([numbers("verdicts", tier) for tier in verdicts])
        sure = np.stack([numbers("confidences", tier) for tier in confidences])
        if verdict.shape != (len(costs), len(label)) or sure.shape != verdict.shape:
            raise ValueError("verdicts and confidences must be tiers × cases, costs one a tier")
        order = np.random.default_rng(seed).permutation(np.flatnonzero(~np.isnan(label)))
        codes = group_codes(groups, len(label))
        rows = order[np.unique(codes[order], return_index=True)[1]]
        verdict, sure, label = verdict[:, rows], sure[:, rows], label[rows]
        sure = np.where(np.isnan(verdict) | np.isnan(sure), -np.inf, sure)
        return cls((verdict != label) * 1.0, sure, label, np.asarray(costs, dtype=np.float64))

    def outcomes(self, rows: Integers, grids: Sequence[Floats]) -> _Outcomes:
        """Counts are sums over cases, so that cases are taken in pieces that fit in memory."""
        vectors = math.prod(map(len, grids))
        accepted = np.zeros((vectors, len(grids)), dtype=np.int64)
        wrong = np.zeros(vectors, dtype=np.int64)
        spent = np.zeros(vectors)
        for piece in np.array_split(rows, max(1, len(rows) * vectors // CELLS_MAX)):
            reach = np.ones((1, len(piece)))
            for tier, grid in enumerate(grids):
                takes = self.confidences[tier, piece] >= np.asarray(grid)[:, None]
                taken = (reach[:, None] * takes).reshape(-1, len(piece))
                repeat = vectors // len(taken)
                accepted[:, tier] += np.repeat(taken.sum(axis=1).astype(np.int64), repeat)
                wrong += np.repeat((taken @ self.wrong[tier, piece]).astype(np.int64), repeat)
                asked = reach.sum(axis=1)[:, None] * np.isfinite(grid)
                spent += np.repeat(asked.ravel(), repeat) * self.costs[tier]
                reach = (reach[:, None] * ~takes).reshape(-1, len(piece))
        return _Outcomes(len(rows), accepted, wrong, spent / max(1, len(rows)))


def _grid(confidence: Floats, size: int) -> Floats:
    """At most `size` thresholds from values that occur, the last one "never"."""
    values = np.unique(confidence[np.isfinite(confidence)])
    if len(values) >= size:
        values = np.unique(np.quantile(values, np.linspace(0, 1, size - 1), method="nearest"))
    return np.append(values, np.inf)
