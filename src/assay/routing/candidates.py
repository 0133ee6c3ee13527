"""A candidate: a model inside its layers, with what the router needs to know about it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from assay.domain.models import Model
from assay.domain.moving_average import MovingQuantiles
from assay.domain.ports import ChatModel, Estimator
from assay.routing.hedge_times import HedgeTimes


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model inside its layers.

    `open_for_s` is how long its breaker will still refuse calls, `wait_s` how long a call would
    wait for quota now; both are 0 for a candidate that can answer at once.
    """

    model: Model
    chat: ChatModel
    weight: float = 1.0
    estimator: Estimator | None = None
    open_for_s: Callable[[], float] = lambda: 0.0
    wait_s: Callable[[], float] = lambda: 0.0
    latency: MovingQuantiles = field(default_factory=MovingQuantiles)
    hedge_times: HedgeTimes = field(default_factory=HedgeTimes)

    @property
    def estimates(self) -> Estimator:
        """Its estimator, or a general one."""
        return self.estimator or Estimator(self.model)

    @property
    def window_tokens(self) -> float:
        return self.model.context_tokens or math.inf

    def ready_in_s(self) -> float:
        """How soon it could serve a call."""
        return max(self.open_for_s(), self.wait_s())

    def is_smaller_than(self, other: Candidate) -> bool:
        """Whether its context window is known to be smaller than the other's."""
        mine, theirs = self.model.context_tokens, other.model.context_tokens
        return mine is not None and theirs is not None and mine < theirs
