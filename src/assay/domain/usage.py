"""What judge calls took, and the port that counts it by tenant, day, model and criterion."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, Protocol

from assay.domain.completion import NO_USAGE, Usage


class UsageKey(NamedTuple):
    """By what usage is told apart; `criterion` is a type, with the caller's name if it has one.

    The day is one in UTC, such as `2026-11-26`.
    """

    tenant: str
    day: str
    model: str
    criterion: str


@dataclass(frozen=True, slots=True)
class Spent:
    """What calls took together."""

    calls: int = 0
    usage: Usage = NO_USAGE
    cost_usd: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.calls + other.calls, self.usage + other.usage, self.cost_usd + other.cost_usd
        )


class UsageRecords(Protocol):
    """What tenants' judge calls took; every method raises `StoreUnavailable`."""

    async def tenants(self, first: date) -> list[str]:
        """Those that made calls on `first` or later."""
        ...

    def read(
        self, tenants: Sequence[str], days: Sequence[str]
    ) -> AsyncIterator[tuple[UsageKey, Spent]]:
        """What each of the tenants used on each of the days."""
        ...
