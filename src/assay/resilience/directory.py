"""The configured models as an operator sees and steers them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assay.domain.errors import RequestError, StoreUnavailable
from assay.domain.models import Model
from assay.domain.ports import BreakerCommand, ModelStatus
from assay.resilience.adapted import Adapted
from assay.resilience.breaker.fleet import BreakerFleet
from assay.resilience.guarded import Guarded
from assay.resilience.limited import Limited
from assay.resilience.slotted import Slotted


@dataclass(frozen=True, slots=True)
class ModelLayers:
    """A model, and the layers around it that know its state."""

    model: Model
    guarded: Guarded
    limited: Limited
    slotted: Slotted
    adapted: Adapted


class Directory:
    """A `ModelDirectory` that reads the layers of each model."""

    def __init__(self, models: Sequence[ModelLayers], fleet: BreakerFleet) -> None:
        self._models = {layers.model.id: layers for layers in models}
        self._fleet = fleet

    async def statuses(self) -> Sequence[ModelStatus]:
        return [await self._status(layers) for layers in self._models.values()]

    async def set_breaker(self, model_id: str, command: BreakerCommand) -> ModelStatus:
        """Set a model's breaker in all processes; raises `RequestError`, `StoreUnavailable`."""
        if model_id not in self._models:
            raise RequestError("not_found", "No configured model has this id.")
        await self._fleet.set_breaker(model_id, command)
        return await self._status(self._models[model_id])

    async def _status(self, layers: ModelLayers) -> ModelStatus:
        try:
            left = (await layers.limited.status()).left
        except StoreUnavailable:
            left = {}
        return ModelStatus(
            layers.model,
            layers.guarded.breaker.state,
            left.get("requests"),
            left.get("tokens"),
            layers.adapted.refused,
        )
