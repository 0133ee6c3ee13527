"""What each model's API refuses, learned by any process and known to all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

from assay.domain.events import ParameterRefused
from assay.domain.models import Model
from assay.domain.ports import EventSink
from assay.domain.supervision import SupervisedTask, Supervisor
from assay.redis.client import Client
from assay.redis.outages import OUTAGES
from assay.redis.time_budget import CALL_BUDGET_S, TimeBudget

KEY = "assay:v1:{refusals}"
"""A hash; a field is a provider, a model's name there and a parameter, as JSON."""

KEPT_S = 30 * 86_400
"""Then it is tried again: APIs change."""

LOAD_EVERY_S = 10.0


class Refusals:
    """The parameters that models refuse; `start` follows what other processes learn.

    Without Redis a process knows what it has learned itself.
    """

    def __init__(self, redis: Client, events: EventSink, supervisor: Supervisor) -> None:
        self._redis = redis
        self._events = events
        self._supervisor = supervisor
        self._loading: SupervisedTask | None = None
        self._known: dict[tuple[str, str], frozenset[str]] = {}

    def of(self, model: Model) -> frozenset[str]:
        """What the model's API is known to refuse; see `Prompt.without`."""
        return self._known.get((model.provider, model.name), frozenset())

    async def learn(self, model: Model, refused: Iterable[str]) -> None:
        """Remember what a model refuses, and report what is new; an outage is ignored."""
        new = [name for name in refused if self._note(model.provider, model.name, name)]
        for name in new:
            self._events.emit(ParameterRefused(model.provider, model.id, name))
        fields: dict[Any, str] = {
            json.dumps([model.provider, model.name, name]): "1" for name in new
        }
        if not fields:
            return
        try:
            async with TimeBudget(CALL_BUDGET_S):
                await self._redis.hset(KEY, mapping=fields)
                await self._redis.expire(KEY, KEPT_S)
        except OUTAGES:
            return

    async def start(self) -> None:
        """Load what is known, and go on doing so."""
        await self._load()
        self._loading = self._supervisor.start("refusals", self._keep_loading)

    async def aclose(self) -> None:
        if self._loading is not None:
            await self._loading.stop()

    async def _keep_loading(self, task: SupervisedTask) -> None:
        while not task.stopping:
            await asyncio.sleep(LOAD_EVERY_S)
            await self._load()

    async def _load(self) -> None:
        try:
            async with TimeBudget(1.0):
                fields = await self._redis.hgetall(KEY)
        except OUTAGES:
            return
        for field in fields:
            self._note(*json.loads(field))

    def _note(self, provider: str, model: str, name: str) -> bool:
        """Whether it was new."""
        known = self._known.get((provider, model), frozenset())
        self._known[provider, model] = known | {name}
        return name not in known
