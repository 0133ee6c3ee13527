"""Two outputs, one winner, and how each order of showing them came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from assay.domain.completion import NO_USAGE, Usage
from assay.domain.errors import Reason
from assay.domain.evaluation import JudgeRecord, Suspicion

Side = Literal["a", "b"]
Winner = Literal["a", "b", "tie"]


@dataclass(frozen=True, slots=True)
class OrderVerdict:
    """The verdict in one order; `preference` for output a, 0 to 1; None where unscored."""

    first: Side
    winner: Winner | None = None
    preference: float | None = None
    explanation: str = ""
    reason: Reason | None = None
    judge: JudgeRecord | None = None
    usage: Usage = NO_USAGE
    cost_usd: float = 0.0
    latency_ms: float = 0.0
    cached: bool = False
    simulated: bool = False
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The winner over both orders: a tie where they disagree, None where one is unscored."""

    id: str
    created_at: str
    winner: Winner | None
    consistent: bool | None
    preference: float | None
    reason: Reason | None
    orders: tuple[OrderVerdict, ...]
    usage: Usage
    cost_usd: float
    latency_ms: float
    suspect: tuple[Suspicion, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
