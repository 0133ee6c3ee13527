"""What the router and the layers below it tell each other about a call that may be hedged."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from assay.domain.clock import SYSTEM_CLOCK, Clock

if TYPE_CHECKING:
    from assay.domain.completion import Attempt, Usage

SUPERSEDED = "superseded"
"""Outcome of a call that was cancelled because another call had given the verdict."""
SUPERSEDED_MESSAGE = "Another call gave the verdict first; the usage is estimated."


class HedgedCall:
    """One of up to two calls for the same verdict: the first one, or the hedge.

    `usual` estimates what the call takes. `rival` is the other call while it is out: then a failed
    call is not repeated. A call that must not wait (`may_wait`) is refused where it would have to.
    `attempts` are those of the call, of use if it is cancelled. `took_s` is how long the model took
    to answer, without any wait in this process.
    """

    def __init__(
        self,
        usual: Callable[[], Usage],
        rival: HedgedCall | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.usual = usual
        self.rival = rival
        self.may_wait = rival is None
        self.superseded = False
        self.attempts: list[Attempt] = []
        self.sent_s = -math.inf
        self.took_s: float | None = None
        self._clock = clock
        self._out = asyncio.Event()

    @property
    def was_sent(self) -> bool:
        return self.sent_s > -math.inf

    @property
    def is_out(self) -> bool:
        """Whether the provider owes an answer now."""
        return self._out.is_set()

    @property
    def out_s(self) -> float:
        """How long ago the call was last sent."""
        return self._clock.monotonic_s() - self.sent_s

    @contextmanager
    def sent(self) -> Iterator[None]:
        """The call is with the provider until the end of the block."""
        self.sent_s, self.took_s = self._clock.monotonic_s(), None
        self._out.set()
        try:
            yield
            self.took_s = self.out_s
        finally:
            self._out.clear()

    async def overdue(self, after_s: float) -> None:
        """Return once the call has been with the provider for so long without an answer."""
        waited_for_s = None
        while not self.is_out or self.sent_s != waited_for_s:
            await self._out.wait()
            waited_for_s = self.sent_s
            await self._clock.sleep(max(after_s - self.out_s, 0.0))
