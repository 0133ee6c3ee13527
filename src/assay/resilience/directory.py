"""The configured models as an operator sees and steers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assay.domain.completion import Model
from assay.domain.errors import RequestError, StoreUnavailable
from assay.domain.ports import BreakerOrder, ModelStatus
from assay.resilience.breaker.fleet import BreakerFleet
from assay.resilience.guarded import Guarded
from assay.resilience.limited import Limited


@dataclass(frozen=True, slots=True)
class DirectoryEntry:
    """A model, and the layers around it that know its state."""

    model: Model
    guarded: Guarded
    limited: Limited


class Directory:
    """A `ModelDirectory` that reads the layers of each model."""

    def __init__(self, entries: Mapping[str, DirectoryEntry], fleet: BreakerFleet) -> None:
        self._entries = entries
        self._fleet = fleet

    async def statuses(self) -> Sequence[ModelStatus]:
        return [await self._status(entry) for entry in self._entries.values()]

    async def order(self, model_id: str, order: BreakerOrder) -> ModelStatus:
        """Set a model's breaker in all processes; raises `RequestError`, `StoreUnavailable`."""
        if model_id not in self._entries:
            raise RequestError("not_found", "no model of that id is configured")
        await self._fleet.order(model_id, order)
        return await self._status(self._entries[model_id])

    async def _status(self, entry: DirectoryEntry) -> ModelStatus:
        try:
            left = (await entry.limited.status()).left
        except StoreUnavailable:
            left = {}
        breaker = entry.guarded.breaker.state
        return ModelStatus(entry.model, breaker, left.get("requests"), left.get("tokens"))
