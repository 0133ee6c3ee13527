"""Slots: how many calls to one model this process has under way, and the queue for the next one.

The layer goes inside the quota, `Limited(Slotted(provider))`: a call that waits for the provider's
quota must not hold a slot, since more pods would not make it any quicker.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from typing import TypeVar

from assay.domain.completion import CallContext, Completion, Prompt
from assay.domain.models import Model
from assay.domain.moving_average import MovingAverage
from assay.domain.ports import ChatModel, EventSink
from assay.resilience.queue.fair_order import QueueLimits
from assay.resilience.queue.fair_queue import FairQueue

T = TypeVar("T")

SERVICE_WEIGHT = 0.1
"""Weight of the newest call in the moving mean of service times."""

NOT_HEDGED = nullcontext()


class Slotted:
    """A `ChatModel` with a bounded number of calls under way; the others wait in fair order."""

    def __init__(
        self,
        inner: ChatModel,
        model: Model,
        events: EventSink,
        slots: int,
        limits: QueueLimits,
    ) -> None:
        self._inner = inner
        self._service_s = MovingAverage(SERVICE_WEIGHT, 0.0)
        self.queue = FairQueue(model.id, "local_slot", slots, events, limits)

    @property
    def utilization(self) -> float:
        """(under way + waiting) ÷ slots: above 1 where calls wait. What the autoscaler follows."""
        return self.queue.present / self.queue.width

    async def complete(self, prompt: Prompt[T], context: CallContext) -> Completion[T]:
        """Answer when a slot is free.

        Raises `Overloaded` where none becomes free in time for a usual call, or, for a hedge, is
        free now.
        """
        hedged = context.hedged
        service_s = self._service_s.value if hedged is None or hedged.may_wait else math.inf
        async with self.queue.turn(context.caller, 1.0, prompt.size, context.deadline, service_s):
            started_s = time.monotonic()
            with hedged.sent() if hedged else NOT_HEDGED:
                completion = await self._inner.complete(prompt, context)
            self._service_s.add(time.monotonic() - started_s)
            return completion
