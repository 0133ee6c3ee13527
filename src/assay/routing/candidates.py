"""A candidate: a model inside its layers, with what the router needs to know about it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from assay.domain.completion import Model
from assay.domain.ports import ChatModel

LATENCIES_KEPT = 101


class MovingMedian:
    """The median of the last calls' latencies, in milliseconds; None before the first."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=LATENCIES_KEPT)

    def add(self, latency_ms: float) -> None:
        self._recent.append(latency_ms)

    @property
    def value_ms(self) -> float | None:
        ordered = sorted(self._recent)
        return ordered[len(ordered) // 2] if ordered else None


def _never() -> float:
    return 0.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model inside its layers.

    `open_for_s` is how long its breaker will still refuse calls, `wait_s` how long a call would
    wait for quota now; both are 0 for a candidate that can answer at once.
    """

    model: Model
    chat: ChatModel
    weight: float = 1.0
    open_for_s: Callable[[], float] = _never
    wait_s: Callable[[], float] = _never
    latency: MovingMedian = field(default_factory=MovingMedian)

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
