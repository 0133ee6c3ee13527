"""Stops a batch when it is certain on which side of a gate its mean will lie."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from assay.calibration.figures import Floats, Integers

Verdict = Literal["passed", "failed"]

GRID_STEPS = 100
BET_SHARE = 0.75
"""The largest share of the wealth that one row can lose."""
PRIOR_VARIANCE = 0.25
LOST = -1e12
"""The logarithm of a wealth of zero: no number of gains brings it back, and JSON can hold it."""
BLOCK_ROWS = 4_096
ROUNDING = 1e-9


def growth(
    scores: Floats,
    sums: Floats,
    squares: Floats,
    seen: Integers,
    rows: int,
    gate: float,
    mean: float | Floats,
) -> Floats:
    """ln(1 + λ_t (x_t − m_t)) for each row, from the sums over the rows `seen` before it.

    λ_t = e/(v + e²) within [0, c/m_t], for the gate: e is the mean so far less what the rest must
    have on average, v the variance so far ("aGRAPA"). Where a row could lose more than all wealth
    under another m, that wealth is given up before: the bet stays fair.
    """
    left = rows - seen
    rest = (rows * gate - sums) / left
    edge = (gate + sums) / (1 + seen) - rest
    spread = np.maximum(squares - sums**2 / np.maximum(seen, 1), 0.0)
    bets = edge / ((PRIOR_VARIANCE + spread) / (1 + seen) + edge**2)
    bets = np.clip(bets, 0.0, BET_SHARE / np.clip(rest, 1 / rows, 1.0))
    rest = (rows * np.asarray(mean) - sums) / left
    safe = bets * rest < 1
    return np.where(safe, np.log1p(np.where(safe, bets * (scores - rest), 0.0)), LOST)


@dataclass(slots=True)
class _LowerBound:
    """Bets that a mean exceeds each m of a grid, with all that the next bet needs."""

    total: float = 0.0
    squares: float = 0.0
    wealth: list[float] = field(default_factory=list)
    """Logarithms, one for each m."""
    bound: float = 0.0

    def play(
        self, scores: Floats, seen: int, rows: int, gate: float, grid: Floats
    ) -> tuple[Floats, Floats, Floats]:
        """Sums and sums of squares before the first row and after each; wealth after each."""
        sums = np.cumsum(np.append(self.total, scores))
        squares = np.cumsum(np.append(self.squares, scores**2))
        t = seen + np.arange(len(scores))[:, None]
        before = (sums[:-1, None], squares[:-1, None], t)
        gains = growth(scores[:, None], *before, rows, gate, grid)
        start = np.asarray(self.wealth or [0.0] * len(grid))
        return sums, squares, np.cumsum(np.vstack([start, gains]), axis=0)[1:]


@dataclass(slots=True)
class StoppingRule:
    """Decides whether the mean of a batch of `rows` reaches `gate`, as early as it is certain.

    The rows must be processed in a random order that was fixed before; scores lie from 0 to 1. The
    rule is told each finished row's position in this order, in any order, and decides on the
    longest finished prefix alone: which rows finish early tells something of their outcome.

    An anytime-valid confidence sequence for sampling without replacement: Waudby-Smith and Ramdas,
    Estimating Means of Bounded Random Variables by Betting (2023), section 5. For each m, wealth is
    K_t(m) = Π (1 + λ_i (x_i − m_i)) with m_t = (N m − S_{t−1})/(N − t + 1), the mean of what is
    left if m is true; means up to m are excluded where K_t(m) ≥ 2/α ever (Ville). λ depends on
    the past alone and not on m, so K falls in m, and the set is an interval. The upper bound is
    that of 1 − x. It holds at all times together: P(the mean ever leaves the interval) ≤ α. With
    several gates, α is to be split.

    An unscored row (None or NaN) counts as 0 for the lower bound and as 1 for the upper one, so
    the verdict holds whatever its score would be.
    """

    gate: float
    rows: int
    alpha: float = 0.05
    finished: int = 0
    """Length of the longest finished prefix, up to the decision."""
    verdict: Verdict | None = None
    _low: _LowerBound = field(default_factory=_LowerBound)
    _high: _LowerBound = field(default_factory=_LowerBound)
    """The lower bound of 1 − x."""
    _waiting: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.gate <= 1:
            raise ValueError(f"gate must lie above 0 and up to 1, not {self.gate:g}")
        if self.rows < 1:
            raise ValueError("rows must be at least 1")
        if not 0 <= self.alpha < 1:
            raise ValueError(f"alpha must lie from 0 to below 1, not {self.alpha:g}")

    def finish(self, scores: Mapping[int, float | None]) -> Verdict | None:
        """Takes the scores of finished rows by position from 0; returns the verdict, once there."""
        values = {place: math.nan if x is None else float(x) for place, x in scores.items()}
        if any(not 0 <= place < self.rows or x < 0 or x > 1 for place, x in values.items()):
            raise ValueError("positions must lie within the batch, and scores from 0 to 1")
        if self.verdict is None:
            self._waiting |= {place: x for place, x in values.items() if place >= self.finished}
        while self.verdict is None and self.finished in self._waiting:
            block: list[float] = []
            while (
                len(block) < BLOCK_ROWS and (place := self.finished + len(block)) in self._waiting
            ):
                block.append(self._waiting.pop(place))
            self._extend(np.asarray(block))
        return self.verdict

    @property
    def interval(self) -> tuple[float, float]:
        """Where the mean of all rows lies, with probability 1 − α, by the finished prefix."""
        low, high = (max(side.bound, side.total / self.rows) for side in (self._low, self._high))
        return low, 1 - high

    @property
    def statement(self) -> str:
        seen = f"after {self.finished} of {self.rows} rows"
        where = "the mean lies from {:.3f} to {:.3f}".format(*self.interval)
        if self.verdict is None and self.finished == self.rows:
            return f"Undecided: {where}, depending on the rows that are unscored."
        word = self.verdict.capitalize() if self.verdict else "Undecided"
        return f"{word} {seen}: {where}, and the gate is {self.gate:g}."

    def to_state(self) -> dict[str, Any]:
        """All of the rule as JSON; `from_state` goes on to the same verdict."""
        return {
            "version": 1,
            "rule": [self.gate, self.rows, self.alpha, self.finished, self.verdict],
            "low": [self._low.total, self._low.squares, self._low.wealth, self._low.bound],
            "high": [self._high.total, self._high.squares, self._high.wealth, self._high.bound],
            "waiting": [[at, None if math.isnan(x) else x] for at, x in self._waiting.items()],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> StoppingRule:
        if state.get("version") != 1:
            raise ValueError("the state of the stopping rule is of an unknown version")
        waiting = {at: math.nan if x is None else x for at, x in state["waiting"]}
        low, high = _LowerBound(*state["low"]), _LowerBound(*state["high"])
        gate, rows, alpha, finished, verdict = state["rule"]
        return cls(gate, rows, alpha, finished, verdict, low, high, waiting)

    def _extend(self, scores: Floats) -> None:
        """Takes the next rows of the order, up to the first one that decides."""
        missing = np.isnan(scores)
        grid = np.unique(np.append(np.linspace(0, 1, GRID_STEPS + 1), self.gate))
        at_gate = int(np.searchsorted(grid, self.gate))
        sides = (
            (self._low, np.where(missing, 0.0, scores), grid, -ROUNDING),
            (self._high, np.where(missing, 0.0, 1 - scores), 1 - grid, ROUNDING),
        )
        limit = math.log(2 / self.alpha) if self.alpha else math.inf
        played, decided = [], []
        for side, values, means, slack in sides:
            gate = float(means[at_gate])
            sums, squares, wealth = side.play(values, self.finished, self.rows, gate, means)
            # Certain without any statistics: what is left cannot bring the mean to the other side.
            certain = sums[1:] >= self.rows * (gate + slack)
            hits = np.flatnonzero((wealth[:, at_gate] >= limit) | certain)
            decided.append(int(hits[0]) if len(hits) else len(scores))
            played.append((side, means, sums, squares, wealth))
        first = min(decided)
        if first < len(scores):
            self.verdict = "passed" if decided[0] == first else "failed"
            self._waiting.clear()
        taken = min(first + 1, len(scores))
        for side, means, sums, squares, wealth in played:
            excluded = means[(wealth[:taken] >= limit).any(axis=0)]
            side.bound = max(side.bound, float(excluded.max(initial=0.0)))
            side.total, side.squares = float(sums[taken]), float(squares[taken])
            side.wealth = wealth[taken - 1].tolist()
        self.finished += taken
