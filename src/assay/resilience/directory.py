"""The configured models as an operator sees and steers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assay.domain.errors import RequestError, StoreUnavailable
from assay.domain.models import Model
from assay.domain.ports import BreakerCommand, ModelStatus
from assay.resilience.adapted import Adapted
from assay.resilience.breaker.fleet import BreakerFleet
from assay.resilience.guarded import Guarded
from assay.resilience.limited import Limited


@dataclass(frozen=True, slots=True)
class DirectoryEntry:
    """A model, and the layers around it that know its state."""

    model: Model
    guarded: Guarded
    limited: Limited
    adapted: Adapted


class Directory:
    """A `ModelDirectory` that reads the layers of each model."""

    def __init__(self, entries: Mapping[str, DirectoryEntry], fleet: BreakerFleet) -> None:
        self._entries = entries
        self._fleet = fleet

    async def statuses(self) -> Sequence[ModelStatus]:
        return [await self._status(entry) for entry in self._entries.values()]

    async def set_breaker(self, model_id: str, command: BreakerCommand) -> ModelStatus:
        """Set a model's breaker in all processes; raises `RequestError`, `StoreUnavailable`."""
        if model_id not in self._entries:
            raise RequestError("not_found", "No configured model has this id.")
        await self._fleet.set_breaker(model_id, command)
        return await self._status(self._entries[model_id])

    async def _status(self, entry: DirectoryEntry) -> ModelStatus:
        try:
            left = (await entry.limited.status()).left
        except StoreUnavailable:
            left = {}
        return ModelStatus(
            entry.model,
            entry.guarded.breaker.state,
            left.get("requests"),
            left.get("tokens"),
            entry.adapted.refused,
        )
