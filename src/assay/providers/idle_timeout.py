"""The two clocks of a call on one timer: its deadline, and the idle time between two bytes.

A model that thinks may be idle for longer until its answer begins.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Self

from assay.domain.errors import DeadlineExceeded, ProviderSilent
from assay.domain.policy import Deadline

GRAIN_S = 0.002
"""How much too early an event loop's timer may fire."""


class IdleTimeout:
    """Bounds a block, and records when bytes arrive, in times of the performance counter.

    Raises `DeadlineExceeded` or `ProviderSilent` for the clock that ran out.
    The first byte of a model that thinks is the first of its answer: what comes before it, such as
    events about its thinking, ends no wait.
    """

    def __init__(
        self,
        provider: str,
        deadline: Deadline,
        silence_s: float,
        thinking_s: float | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)
        self._provider = provider
        self._deadline = deadline
        self._silence_s = silence_s
        self._thinking_s = thinking_s
        self.patience_s = silence_s if thinking_s is None else thinking_s
        self.sent_s = self.first_byte_s = self.ended_s = 0.0

    async def __aenter__(self) -> Self:
        left_s = self._deadline.remaining_s()
        if left_s <= 0:
            raise DeadlineExceeded(f"no time was left to ask {self._provider}")
        await self._timeout.__aenter__()
        self._due_s = self._loop.time() + left_s
        self._timer = self._loop.call_at(self._due_s, self._look)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            if self._deadline.remaining_s() <= GRAIN_S:
                what = "did not answer" if self.sent_s else "could not be asked"
                late = DeadlineExceeded(f"{self._provider} {what} before the deadline")
                late.idle_s = self.idle_s
                raise late from None
            silent = f"{self._provider} was silent for {self.patience_s:g} s"
            raise ProviderSilent(silent) from None
        if isinstance(error, asyncio.CancelledError):
            # For the circuit breaker: a provider that kept a cancelled call waiting may be slow.
            error.idle_s = self.idle_s  # type: ignore[attr-defined]

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
        self._timer.cancel()

    def _arm(self, due_s: float) -> None:
        self._timer.cancel()
        self._timer = self._loop.call_at(due_s, self._look)

    def _look(self) -> None:
        if self._loop.time() < self._due_s:
            self._arm(self._due_s)
        else:
            self._timeout.reschedule(self._loop.time())
