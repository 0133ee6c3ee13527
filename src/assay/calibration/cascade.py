"""A cheap judge first, a dearer one where it is unsure, with a bound on the disagreement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from assay.calibration.figures import Floats, Integers, between, generator, group_codes, numbers
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
    wrong, sure = _cases(verdicts, confidences, human, costs, groups, seed)
    dear = (UNSURE_COST * sum(costs) or 1.0) if unsure_cost is None else unsure_cost
    found = _certify(wrong, sure, costs, dear, alpha, delta, seed)
    if attempts == 1:
        return found
    told = f" Attempt {attempts} on these labels: the bound holds for a first one."
    return replace(found, attempts=attempts, statement=found.statement + told)


def _certify(
    wrong: Floats,
    sure: Floats,
    costs: Sequence[float],
    unsure_cost: float,
    alpha: float,
    delta: float,
    seed: int,
) -> Certificate:
    tuning, test = halves(np.arange(wrong.shape[1]), seed)
    refused = Certificate(alpha, delta, None, "", len(test))
    if alpha == 0:
        never = "No number of labels shows that judges never disagree with people (alpha is 0)."
        return replace(refused, statement=never)
    needed = cases_needed(alpha, delta)
    if len(test) < needed:
        few = f"{len(test)} test cases are too few: at least {needed} accepted ones are needed."
        return replace(refused, statement=few)
    grids = [_grid(tier[tuning], max(2, int(VECTORS_MAX ** (1 / len(costs))))) for tier in sure]
    tuned, tested = (
        _Outcomes.of(wrong[:, rows], sure[:, rows], costs, grids, unsure_cost)
        for rows in (tuning, test)
    )
    best = None
    for vector in tuned.strict_to_loose(delta):
        accepted = tested.accepted[vector].sum()
        if accepted >= needed:
            if stats.binom.cdf(tested.wrong[vector], accepted, alpha) > delta:
                break
            if best is None or tested.total_cost[vector] < tested.total_cost[best]:
                best = vector
    if best is None:
        failed = f"No thresholds pass the test: disagreement may exceed {alpha:g}."
        return replace(refused, statement=failed)
    shares, accepted = tested.accepted[best] / len(test), int(tested.accepted[best].sum())
    return replace(
        refused,
        thresholds=tuple(map(float, list(product(*grids))[best])),
        statement=f"{tested.wrong[best]} of {accepted} accepted verdicts disagree with people: at"
        f" most {alpha:g} in general, with probability {1 - delta:g}.",
        accepted=accepted,
        disagreements=int(tested.wrong[best]),
        coverage=float(shares.sum()),
        shares=tuple(shares.tolist()),
        cost=float(tested.cost[best]),
    )


@dataclass(frozen=True, slots=True)
class _Outcomes:
    """What happens with each vector of thresholds; costs are means of a case."""

    accepted: Integers
    """Vectors × tiers."""
    wrong: Integers
    cost: Floats
    total_cost: Floats
    """With the cost of the cases that no tier decides."""

    @classmethod
    def of(
        cls,
        wrong: Floats,
        sure: Floats,
        costs: Sequence[float],
        grids: Sequence[Floats],
        unsure_cost: float,
    ) -> _Outcomes:
        """Counts are sums over cases, so that cases are taken in pieces that fit in memory."""
        vectors, cases = math.prod(map(len, grids)), wrong.shape[1]
        accepted, failed = np.zeros((vectors, len(grids))), np.zeros(vectors)
        spent = np.zeros(vectors)
        for piece in np.array_split(np.arange(cases), max(1, cases * vectors // CELLS_MAX)):
            reach = np.ones((1, len(piece)))
            for tier, grid in enumerate(grids):
                takes = sure[tier, piece] >= grid[:, None]
                taken = (reach[:, None] * takes).reshape(-1, len(piece))
                repeat = vectors // len(taken)
                accepted[:, tier] += np.repeat(taken.sum(axis=1), repeat)
                failed += np.repeat(taken @ wrong[tier, piece], repeat)
                asked = reach.sum(axis=1)[:, None] * np.isfinite(grid)
                spent += np.repeat(asked.ravel(), repeat) * costs[tier]
                reach = (reach[:, None] * ~takes).reshape(-1, len(piece))
        unsure = cases - accepted.sum(axis=1)
        counts = accepted.astype(np.int64), failed.astype(np.int64)
        return cls(*counts, spent / cases, (spent + unsure_cost * unsure) / cases)

    def strict_to_loose(self, delta: float) -> Integers:
        right = self.accepted.sum(axis=1) - self.wrong
        bound = stats.beta.ppf(1 - delta, self.wrong + 1, np.maximum(right, 1))
        order = np.lexsort((self.total_cost, np.where(right > 0, bound, 1.0)))
        total = self.total_cost[order]
        kept: Integers = order[total < np.minimum.accumulate(np.append(np.inf, total[:-1]))]
        return kept


def _cases(
    verdicts: Sequence[ArrayLike],
    confidences: Sequence[ArrayLike],
    human: ArrayLike,
    costs: Sequence[float],
    groups: ArrayLike | None,
    seed: int,
) -> tuple[Floats, Floats]:
    """Whether each tier is wrong, and how sure (−∞ without a verdict), for a case of each group."""
    label = numbers("human", human)
    verdict = np.stack([numbers("verdicts", tier) for tier in verdicts])
    sure = np.stack([numbers("confidences", tier) for tier in confidences])
    if verdict.shape != (len(costs), len(label)) or sure.shape != verdict.shape:
        raise ValueError("verdicts and confidences must be tiers × cases, costs one a tier")
    order = generator(seed, "cases").permutation(np.flatnonzero(~np.isnan(label)))
    rows = order[np.unique(group_codes(groups, len(label))[order], return_index=True)[1]]
    verdict, sure, label = verdict[:, rows], sure[:, rows], label[rows]
    return (verdict != label) * 1.0, np.where(np.isnan(verdict + sure), -np.inf, sure)


def _grid(confidence: Floats, size: int) -> Floats:
    """At most `size` thresholds from values that occur, the last one "never"."""
    values = np.unique(confidence[np.isfinite(confidence)])
    if len(values) >= size:
        values = np.unique(np.quantile(values, np.linspace(0, 1, size - 1), method="nearest"))
    return np.append(values, np.inf)
