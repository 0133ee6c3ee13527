"""The fair queue: a bounded number of calls of one process wait for their turn.

The same queue serves both kinds of waiting: for a local slot (as many turns at once as there are
slots) and for the provider's quota (one turn: only the head of the queue asks Redis). Events and
refusals say which of the two it is, since the remedies differ.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Literal

from assay.domain.completion import Caller
from assay.domain.errors import ModelError, Overloaded, QuotaExhausted
from assay.domain.events import QueueRefused, WaitFinished
from assay.domain.policy import Deadline
from assay.domain.ports import EventSink
from assay.resilience.queue.fair_order import FairOrder, QueuedCall, QueuedWork, QueueLimits

WaitReason = Literal["local_slot", "provider_quota"]
RefusalReason = Literal["full_count", "full_bytes", "deadline", "pushed_out"]

RETRY_AFTER_S_MIN = 0.1
"""Shortest `retry_after_s` of a refused call."""

SPARE_PART = 4
"""Batch calls leave one in this many turns free while interactive calls are expected: these find a
free turn, and need not wait until a row's call has ended. A queue of fewer turns has none to spare.
"""

INTERACTIVE_EXPECTED_S = 60.0
"""How long the next interactive call is expected; after that, batch calls may use all turns."""

PACE_KEPT = 0.95
"""What each turn keeps of the pace measured before: about the last twenty turns count."""

_REFUSALS: dict[WaitReason, tuple[type[ModelError], str]] = {
    "local_slot": (Overloaded, "a local slot"),
    "provider_quota": (QuotaExhausted, "the provider's quota"),
}


class _Pace:
    """How long a turn usually lasts per unit of cost, weighted by cost, over the last turns."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._cost = 0.0

    @property
    def s_per_cost(self) -> float:
        return self._seconds / self._cost if self._cost else 0.0

    def add(self, seconds: float, cost: float) -> None:
        self._seconds = PACE_KEPT * self._seconds + seconds
        self._cost = PACE_KEPT * self._cost + cost


class QueueTurn:
    """A call in the queue, which has its turn once `granted` is done; see `FairQueue.turn`."""

    def __init__(self, call: QueuedCall, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self.call = call
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.granted_at_s = 0.0
        self.pausing = False
        self._overtaken = asyncio.Event()

    @property
    def waited_s(self) -> float:
        """How long ago the call arrived."""
        return self._clock_s() - self.call.since_s

    async def pause(self, seconds: float) -> None:
        """Wait at the head of the queue; a more urgent call may go first meanwhile.

        On return, the call has its turn (again). Calls overtake only in a queue with one turn.
        """
        self._overtaken.clear()
        self.pausing = True
        try:
            async with asyncio.timeout(seconds):
                await self._overtaken.wait()
        except TimeoutError:
            pass
        finally:
            self.pausing = False
        if self._overtaken.is_set():
            await self.granted

    def give_way(self) -> None:
        """Go back into the queue while pausing."""
        self.granted = asyncio.get_running_loop().create_future()
        self._overtaken.set()


class _KeptTurn:
    """Waits for a turn, and keeps it until the end of the block."""

    def __init__(
        self, queue: FairQueue, turn: QueueTurn, deadline: Deadline, service_s: float
    ) -> None:
        self._queue = queue
        self._turn = turn
        self._deadline = deadline
        self._service_s = service_s

    async def __aenter__(self) -> QueueTurn:
        try:
            await self._queue.obtain(self._turn, self._deadline, self._service_s)
        except BaseException:
            self._queue.leave(self._turn)
            raise
        return self._turn

    async def __aexit__(self, *_: object) -> None:
        self._queue.leave(self._turn)


class FairQueue:
    """Gives turns to callers: `width` at a time, in the order of `FairOrder`."""

    def __init__(
        self,
        model_id: str,
        waiting_for: WaitReason,
        width: int,
        events: EventSink,
        limits: QueueLimits,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model_id = model_id
        self._waiting_for = waiting_for
        self._width = width
        self._events = events
        self._limits = limits
        self._clock_s = clock_s
        # The wait for the provider's quota is known to Redis, which is asked before queueing.
        self._foresees = waiting_for == "local_slot"
        self._order = FairOrder()
        self._interactive_at_s = -math.inf
        self._waiting: dict[QueuedCall, QueueTurn] = {}
        self._holding: set[QueueTurn] = set()
        self._pace = _Pace()

    @property
    def present(self) -> int:
        """How many calls wait or have their turn."""
        return self.depth + self.in_flight

    @property
    def width(self) -> int:
        """The most calls that have their turn at once."""
        return self._width

    @property
    def in_flight(self) -> int:
        """How many calls have their turn."""
        return len(self._holding)

    @property
    def depth(self) -> int:
        """How many calls wait."""
        return self._order.depth

    @property
    def bytes(self) -> int:
        """The bytes of the waiting calls."""
        return self._order.size

    def ahead_of(self, caller: Caller) -> QueuedWork:
        """The work likely to be done before a call that `caller` made now, turns included."""
        before = self._order.before(caller)
        held = [turn.call.cost for turn in self._holding]
        return QueuedWork(before.calls + len(held), before.cost + sum(held))

    @property
    def waiting(self) -> QueuedWork:
        """The waiting calls, without those that have their turn."""
        return QueuedWork(self._order.depth, self._order.cost)

    def predicted_wait_s(self, caller: Caller, cost: float = 1.0) -> float:
        """How long a call made now would probably wait; 0 where a turn is free."""
        if self._is_free_for(caller):
            return 0.0
        before = self._order.before(caller).cost
        return (before + cost) * self._pace.s_per_cost / self._width

    def turn(
        self, caller: Caller, cost: float, size: int, deadline: Deadline, service_s: float = 0.0
    ) -> AbstractAsyncContextManager[QueueTurn]:
        """Wait for a turn and keep it until the end of the block.

        `cost` is positive, in the unit in which tenants are served alike; `size` in bytes;
        `service_s` is what the call usually takes after its wait.

        Raises `Overloaded` (waiting for a slot) or `QuotaExhausted` (waiting for quota): at once
        where the queue is full or the wait for a slot would outlast the deadline, else as soon as
        it does.
        """
        call = QueuedCall(caller, max(cost, 1e-9), size, self._clock_s())
        return _KeptTurn(self, QueueTurn(call, self._clock_s), deadline, service_s)

    async def obtain(self, turn: QueueTurn, deadline: Deadline, service_s: float) -> None:
        """Wait for the turn, which has to be left again even where this fails."""
        await self._wait(turn, deadline, service_s)
        caller = turn.call.caller
        self._events.emit(WaitFinished(caller, self._model_id, self._waiting_for, turn.waited_s))

    async def _wait(self, turn: QueueTurn, deadline: Deadline, service_s: float) -> None:
        call = turn.call
        patience_s = deadline.remaining_s() - service_s
        if call.caller.priority == "interactive":
            self._interactive_at_s = call.since_s
        if self._is_free_for(call.caller):
            self._order.pass_over(call.caller)
            self._grant(turn)
            return
        if self._foresees and self.predicted_wait_s(call.caller, call.cost) > patience_s:
            raise self._refusal(call, "deadline")
        self._make_room(call)
        self._enqueue(turn)
        try:
            async with asyncio.timeout(max(patience_s, 0.0)):
                await turn.granted
        except TimeoutError:
            raise self._refusal(call, "deadline") from None

    def _enqueue(self, turn: QueueTurn) -> None:
        self._order.push(turn.call)
        self._waiting[turn.call] = turn
        self._let_overtake(turn.call)
        self._dispatch()

    def _let_overtake(self, call: QueuedCall) -> None:
        """Let an interactive call go before a batch call that pauses with the one turn."""
        if self._width > 1 or call.caller.priority != "interactive":
            return
        for owner in list(self._holding):
            if owner.call.caller.priority == "batch" and owner.pausing:
                self._holding.discard(owner)
                owner.give_way()
                self._order.push_back(owner.call)
                self._waiting[owner.call] = owner

    def _dispatch(self) -> None:
        while self.depth and self.in_flight < self._width:
            now_s = self._clock_s()
            is_batch = self._order.next_priority(now_s) == "batch"
            if is_batch and not (self._has_spare or self._order.is_batch_due(now_s)):
                return
            self._grant(self._waiting.pop(self._order.pop(now_s)))

    @property
    def _has_spare(self) -> bool:
        """Whether a batch call may start: enough turns stay free for interactive ones."""
        expected = self._clock_s() - self._interactive_at_s < INTERACTIVE_EXPECTED_S
        spare = self._width // SPARE_PART if expected else 0
        return self.in_flight < self._width - spare

    def _is_free_for(self, caller: Caller) -> bool:
        """Whether a call made now has its turn at once: no call with the same claim waits."""
        if caller.priority == "batch":
            return self.depth == 0 and self._has_spare
        return self.in_flight < self._width

    def _grant(self, turn: QueueTurn) -> None:
        self._holding.add(turn)
        turn.granted_at_s = self._clock_s()
        if not turn.granted.done():
            turn.granted.set_result(None)

    def leave(self, turn: QueueTurn) -> None:
        """Take a call out, wherever it is; the next one gets its turn at once."""
        if self._waiting.pop(turn.call, None) is not None:
            self._order.remove(turn.call)
        if turn in self._holding:
            self._holding.discard(turn)
            self._pace.add(self._clock_s() - turn.granted_at_s, turn.call.cost)
        if turn.granted.done() and not turn.granted.cancelled():
            # A call that was pushed out and went away at once never looks at its refusal.
            turn.granted.exception()
        self._dispatch()

    def _make_room(self, call: QueuedCall) -> None:
        """Push out calls with a weaker claim, or refuse this one, so that the bounds hold."""
        calls_max, bytes_max = self._limits.calls_max, self._limits.bytes_max
        while (too_many := self.depth >= calls_max) or self.bytes + call.size > bytes_max:
            weaker = self._order.to_push_out(call, self._limits)
            if weaker is None or call.size > bytes_max:
                raise self._refusal(call, "full_count" if too_many else "full_bytes")
            self._order.remove(weaker)
            pushed_out = self._waiting.pop(weaker)
            if not pushed_out.granted.done():
                pushed_out.granted.set_exception(self._refusal(weaker, "pushed_out"))

    def _refusal(self, call: QueuedCall, reason: RefusalReason) -> ModelError:
        self._events.emit(QueueRefused(call.caller, self._model_id, self._waiting_for, reason))
        wait_s = self.predicted_wait_s(call.caller, call.cost)
        error, awaited = _REFUSALS[self._waiting_for]
        message = (
            f"The wait for {awaited} outlasts the deadline."
            if reason == "deadline"
            else f"Too many calls wait for {awaited}."
        )
        return error(message, retry_after_s=max(wait_s, RETRY_AFTER_S_MIN))
