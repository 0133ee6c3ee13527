"""Requests for quota, and their results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from assay.domain.ids import random_hex
from assay.domain.policy import Costs

LOOKAHEAD_S = 0.1
"""How far ahead of its use a cost is taken, so that a later urgent request can still overtake.

A quiet tenant waits for what a flooding one has taken ahead: at 0.25 s its p95 rose by a fifth
under a flood of fifty times its share, at 0.1 s by a tenth (`bench/fleet.py fairness`).
"""


@dataclass(frozen=True, slots=True)
class ReservationRequest:
    """A request for quota; `id` makes it repeatable: asked twice, the first answer stands.

    `wait_max_s` is the longest useful wait. `waited_s` is how long the caller has waited already,
    less its handicap against others. `ahead` is what earlier callers of this process will take,
    `behind` what later ones will. A negative `lookahead_s` only asks for the wait. `joins_queue`:
    if nothing is taken, this process keeps a place in the queue of all processes.
    """

    costs: Costs
    tenant: str = "default"
    wait_max_s: float = 60.0
    waited_s: float = 0.0
    lookahead_s: float = LOOKAHEAD_S
    ahead: Costs = field(default_factory=dict)
    behind: Costs = field(default_factory=dict)
    joins_queue: bool = True
    id: str = field(default_factory=partial(random_hex, 16))


@dataclass(frozen=True, slots=True)
class Reserved:
    """Taken: send in `wait_s`. `local` was taken from this process's share, without Redis."""

    id: str
    wait_s: float
    bucket: str
    local: Costs | None = None


@dataclass(frozen=True, slots=True)
class Deferred:
    """Nothing is taken: it would be sent in `wait_s`; ask again in `retry_in_s`."""

    wait_s: float
    bucket: str
    retry_in_s: float


@dataclass(frozen=True, slots=True)
class Rejected:
    """Nothing is taken: the wait exceeds `wait_max_s`, or (None) the cost never fits."""

    wait_s: float | None
    bucket: str


ReservationResult = Reserved | Deferred | Rejected


@dataclass(frozen=True, slots=True)
class SettledReservation:
    """How a reservation ended: the actual use; buckets that are not named stay as charged.

    `left` is the rest of the quota that the provider reported after that use.
    """

    reservation: Reserved
    actual: Costs
    left: Costs = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QuotaStatus:
    """What is left now; negative is debt or promised. `rate_share` is what feedback left of it."""

    left: Mapping[str, float]
    rate_share: float
