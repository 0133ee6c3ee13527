"""The two clocks of a call on one timer: its deadline, and the idle time between two bytes.

A model that thinks may be idle for longer until its answer begins.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from assay.domain.errors import DeadlineExceeded, ProviderSilent
from assay.domain.policy import Deadline

GRAIN_S = 0.002
"""How much too early an event loop's timer may fire."""


class IdleTimeout:
    """Records when bytes arrive; its times are those of the performance counter.

    The first byte of a model that thinks is the first of its answer: what comes before it, such as
    events about its thinking, ends no wait.
    """

    def __init__(
        self,
        timeout: asyncio.Timeout,
        deadline: Deadline,
        silence_s: float,
        thinking_s: float | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout = timeout
        self._deadline = deadline
        self._silence_s = silence_s
        self._thinking_s = thinking_s
        self.patience_s = silence_s if thinking_s is None else thinking_s
        self._due_s = self._loop.time() + deadline.remaining_s()
        self._timer = self._loop.call_at(self._due_s, self._look)
        self.sent_s = self.first_byte_s = self.ended_s = 0.0

    @property
    def idle_s(self) -> float:
        """How long the provider has owed its first byte; 0 once it has arrived."""
        if not self.sent_s or self.first_byte_s:
            return 0.0
        return time.perf_counter() - self.sent_s

    def send(self) -> None:
        """The request is sent: from now on the provider owes a byte."""
        self.sent_s = time.perf_counter()
        self.wait()

    def received(self, *, answering: bool) -> None:
        """Bytes arrived; `answering` says whether the answer has begun."""
        if self._thinking_s is None or answering:
            self.received_first()
            self.patience_s = self._silence_s
            self.wait()

    def received_first(self) -> None:
        self.first_byte_s = self.first_byte_s or time.perf_counter()

    def wait(self) -> None:
        """The wait for the next bytes starts."""
        due_s = self._loop.time() + min(self.patience_s, self._deadline.remaining_s())
        if due_s < self._due_s:
            self._arm(due_s)
        self._due_s = due_s  # a timer that fires too early is set again

    def ended(self) -> None:
        """The answer is complete: neither clock can fail it any more."""
        self.ended_s = self.ended_s or time.perf_counter()
        self.first_byte_s = self.first_byte_s or self.ended_s
        self.stop()

    def stop(self) -> None:
        self._timer.cancel()

    def _arm(self, due_s: float) -> None:
        self._timer.cancel()
        self._timer = self._loop.call_at(due_s, self._look)

    def _look(self) -> None:
        if self._loop.time() < self._due_s:
            self._arm(self._due_s)
        else:
            self._timeout.reschedule(self._loop.time())


@asynccontextmanager
async def idle_timeout(
    provider: str, deadline: Deadline, silence_s: float, thinking_s: float | None = None
) -> AsyncIterator[IdleTimeout]:
    """Bound a block; raises `DeadlineExceeded` or `ProviderSilent` for the clock that ran out."""
    if deadline.remaining_s() <= 0:
        raise DeadlineExceeded(f"no time was left to ask {provider}")
    idle: IdleTimeout | None = None
    try:
        async with asyncio.timeout(None) as timeout:
            idle = IdleTimeout(timeout, deadline, silence_s, thinking_s)
            try:
                yield idle
            finally:
                idle.stop()
    except asyncio.CancelledError as cancelled:
        # For the circuit breaker: a provider that kept a cancelled call waiting may be slow.
        cancelled.idle_s = idle.idle_s if idle else 0.0  # type: ignore[attr-defined]
        raise
    except TimeoutError:
        if deadline.remaining_s() <= GRAIN_S:
            late = DeadlineExceeded(f"{provider} did not answer before the deadline")
            late.idle_s = idle.idle_s if idle else 0.0
            raise late from None
        patience_s = idle.patience_s if idle else silence_s
        raise ProviderSilent(f"{provider} was silent for {patience_s:g} s") from None
