"""Judges one after the other: when a verdict is accepted, and how far a case went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from assay.domain.completion import doc
from assay.domain.errors import Reason

TIERS_MAX = 4
Thresholds = tuple[float, ...]
"""The least confidence of each tier's verdict; infinite where the tier is not asked at all."""


@dataclass(frozen=True, slots=True)
class CascadeCertificate:
    """Thresholds for an evaluator's cascade by criterion, and the revision they were found for."""

    revision: str
    thresholds: Mapping[str, Thresholds]


@dataclass(frozen=True, slots=True)
class TierRecord:
    """What one tier of a cascade made of the case."""

    model: str
    passed: bool | None = field(default=None, metadata=doc("Null without a verdict."))
    label: str | None = None
    score: float | None = field(default=None, metadata=doc("Normalised, 0 to 1.", ge=0, le=1))
    confidence: float | None = field(
        default=None,
        metadata=doc(
            "The share of the votes that were asked for which agree on the verdict, else the "
            "probability of the verdict's token; null where neither is known.",
            ge=0,
            le=1,
        ),
    )
    cost_usd: float = 0.0
    reason: Reason | None = field(
        default=None,
        metadata=doc("Why there is no verdict; null, too, where the tier was not asked."),
    )


@dataclass(frozen=True, slots=True)
class CascadeRecord:
    """How far a case went in a cascade of judges."""

    tier: int | None = field(
        metadata=doc("Which of `tiers` was sure enough, from 0; null where none was.")
    )
    tiers: tuple[TierRecord, ...] = field(metadata=doc("Those that the case came to, in order."))
    certified: bool = field(
        metadata=doc("Whether a certificate for this `revision` covers the verdict.")
    )
