"""Systems ranked by comparisons of their outputs: these values are a response as they stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from assay.domain.completion import Usage, doc

Stopped = Literal[
    "all_judged",
    "resolved",
    "open_pairs_judged",
    "comparisons_max",
    "deadline",
    "cost_cap",
    "tenant_limit",
    "unscored",
]


@dataclass(frozen=True, slots=True)
class RankedSystem:
    """One system; counts are of comparisons, where a verdict that flips with the order is a tie."""

    name: str
    strength: float | None = field(
        metadata=doc("Log-odds of winning against an average system; their mean is 0.")
    )
    interval: tuple[float, float] | None = field(
        metadata=doc("With the confidence, the intervals of all systems hold together.")
    )
    rank_range: tuple[int, int] | None = field(metadata=doc("The best and the worst rank."))
    outputs: int
    wins: int
    ties: int
    losses: int


@dataclass(frozen=True, slots=True)
class UnscoredComparison:
    """A comparison without a winner, and why."""

    item_id: str
    systems: tuple[str, str]
    reason: str


@dataclass(frozen=True, slots=True)
class SystemRanking:
    """Systems by their strengths, the strongest first."""

    id: str
    object: Literal["ranking"] = field(default="ranking", kw_only=True)
    created_at: str
    systems: tuple[RankedSystem, ...]
    confidence: float
    order_effect: float | None = field(
        metadata=doc("What being shown first adds to a strength, in log-odds.")
    )
    open_pairs: tuple[tuple[str, str], ...] = field(
        metadata=doc("Pairs whose order is open, the most uncertain first; at most 100.")
    )
    statements: tuple[str, ...] = field(metadata=doc("What can be said, and what cannot."))
    stopped: Stopped
    comparisons_possible: int
    comparisons_scored: int
    comparisons_identical: int = field(
        metadata=doc("Of those scored: ties of the same text, without a judge.")
    )
    comparisons_flipped: int = field(metadata=doc("Of those scored: the verdict flips with order."))
    unscored: Mapping[str, int] = field(metadata=doc("Comparisons without a winner, by reason."))
    unscored_first: tuple[UnscoredComparison, ...] = field(metadata=doc("At most 100 of them."))
    judges: Mapping[str, int] = field(metadata=doc("Verdicts, one for each order, by model."))
    suspect: int = field(metadata=doc("Comparisons with signs of prompt injection."))
    rounds: int
    seed: int
    usage: Usage
    cost_usd: float
    latency_ms: float
    simulated: bool
    metadata: Mapping[str, Any]
