"""What a report on labels is to contain; without numpy, so that it costs nothing at start-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tier:
    """What one tier of a cascade said of the rows that have ratings, by row."""

    passed: Mapping[int, bool | None]
    labels: Mapping[int, str | None]
    confidences: Mapping[int, float | None]
    cost_usd: float
    """Of one case, on average."""


@dataclass(frozen=True, slots=True)
class CascadeGoal:
    """The certificate that is wanted, and the tiers that it is for; see `certify_cascade`."""

    alpha: float
    delta: float
    unsure_cost_usd: float | None = None
    attempts: int = 1
    tiers: Sequence[Tier] = ()


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What is wanted; `drawn` are the probabilities of rows that were drawn to be labelled."""

    precision_min: float | None = None
    confidence: float = 0.95
    seed: int = 0
    drawn: Mapping[int, float] | None = None
    disagreements_max: int = 50
