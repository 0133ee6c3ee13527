"""Two outputs, one winner, and the verdict in each order of showing them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from assay.domain.completion import NO_USAGE, Usage, doc
from assay.domain.errors import Reason
from assay.domain.evaluation import JudgeRecord, RetryAdvice, Suspicion

Side = Literal["a", "b"]
Winner = Literal["a", "b", "tie"]


@dataclass(frozen=True, slots=True)
class OrderVerdict:
    """The verdict in one order."""

    first: Side = field(metadata=doc("The output that was shown first."))
    winner: Winner | None = field(default=None, metadata=doc("Null where this order is unscored."))
    preference: float | None = field(
        default=None, metadata=doc("1 for output a, 0 for output b.", ge=0, le=1)
    )
    explanation: str = ""
    reason: Reason | None = field(default=None, metadata=doc("Why it is unscored."))
    judge: JudgeRecord | None = None
    usage: Usage = NO_USAGE
    cost_usd: float = 0.0
    latency_ms: float = 0.0
    cached: bool = False
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """The winner over both orders."""

    id: str
    object: Literal["comparison"] = field(default="comparison", kw_only=True)
    created_at: str
    winner: Winner | None = field(metadata=doc("Null where an order is unscored: never a guess."))
    consistent: bool | None = field(
        metadata=doc("False where the verdict flips with the order: then it is a tie.")
    )
    preference: float | None = field(
        metadata=doc(
            "1 for output a, 0 for output b; the mean of both orders where the model gives "
            "log-probabilities.",
            ge=0,
            le=1,
        )
    )
    reason: Reason | None
    orders: tuple[OrderVerdict, ...] = field(
        metadata=doc(
            "Output a first, then output b, and both again where the verdict had to be verified; "
            "empty where no judge was asked."
        )
    )
    usage: Usage
    cost_usd: float
    latency_ms: float
    simulated: bool = field(
        default=False, metadata=doc("Whether any verdict is simulated: no model was asked.")
    )
    suspect: tuple[Suspicion, ...] = field(default=(), metadata=doc("Signs of prompt injection."))
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ComparisonOutcome:
    """A comparison, and when to try again where it failed for a transient reason."""

    comparison: Comparison
    retry: RetryAdvice | None = None
