"""Takes rows of batches and does them, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from assay.batches.rows import BatchSpecError, RetryLater, RowRunner
from assay.batches.webhooks import Webhooks
from assay.domain.batches import ENDED, BatchStatus, Claim, RowResult
from assay.domain.completion import Caller
from assay.domain.errors import StoreUnavailable
from assay.domain.events import BatchEnded, BatchRowFinished, BatchRowReturned
from assay.domain.ports import EventSink, JobQueue

logger = logging.getLogger(__name__)

T = TypeVar("T")

WEBHOOKS_MAX = 8
"""Webhooks that one worker calls at a time."""


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """Bounds of one worker; `renew_s` must be a small part of the queue's lease."""

    slots: int = 16
    poll_s: float = 0.25
    renew_s: float = 3.0
    grace_s: float = 20.0
    return_s: float = 3.0
    store_for_s: float = 300.0
    store_pause_s: float = 0.1
    store_pause_max_s: float = 2.0
    slow_down_max_s: float = 5.0


class BatchWorker:
    """Does rows, `slots` at a time, of all batches in turn.

    While the store is away it goes on with what it has, and keeps the results until they can be
    stored: a restart of Redis costs no judgement twice.
    """

    def __init__(
        self,
        queue: JobQueue,
        runner: RowRunner,
        webhooks: Webhooks,
        events: EventSink,
        limits: WorkerLimits,
    ) -> None:
        self._queue = queue
        self._runner = runner
        self._webhooks = webhooks
        self._events = events
        self._limits = limits
        self._claims: dict[tuple[str, str], Claim] = {}
        self._rows: set[asyncio.Task[None]] = set()
        self._telling: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._stopped = False
        self._turn = 0
        self._failures = 0
        self._resume_at_s = 0.0

    @property
    def rows(self) -> int:
        """Rows in hand now."""
        return len(self._rows)

    def stop(self) -> None:
        """Take no more rows; `run` returns when those in hand are done or given back."""
        self._stopped = True
        self._wake.set()

    async def run(self) -> None:
        """Work until `stop`."""
        renewing = asyncio.create_task(self._renew())
        try:
            while not self._stopped:
                self._wake.clear()
                if not await self._round() or self._free == 0:
                    await self._sleep(self._limits.poll_s)
        finally:
            try:
                await self._leave()
            finally:
                renewing.cancel()

    @property
    def _free(self) -> int:
        return self._limits.slots - len(self._rows)

    async def _sleep(self, seconds: float) -> None:
        """Until a row ends, at most `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _round(self) -> bool:
        """Take rows for the free slots, from all batches alike; False where there are none."""
        if self._free == 0 or time.monotonic() < self._resume_at_s:
            return False
        found = False
        try:
            names = list(await self._queue.active())
            self._turn += 1
            first = self._turn % max(len(names), 1)
            for place, name in enumerate(names[first:] + names[:first]):
                if self._free == 0:
                    break
                found |= await self._take(name, math.ceil(self._free / (len(names) - place)))
        except StoreUnavailable as error:
            logger.warning("no rows taken: %s", error.message)
        except Exception:  # a worker that ends itself serves nobody
            logger.exception("no rows taken")
        return found

    async def _take(self, batch_id: str, count: int) -> bool:
        claims = await self._queue.claim(batch_id, count)
        if claims is None or isinstance(claims, str):
            await self._idle(batch_id, claims)
            return False
        for claim in claims:
            if claim.deliveries:
                self._events.emit(BatchRowReturned(batch_id, "taken_over"))
            self._claims[batch_id, claim.entry] = claim
            task = asyncio.create_task(self._row(claim))
            self._rows.add(task)
            task.add_done_callback(partial(self._ended, claim))
        return bool(claims)

    async def _idle(self, batch_id: str, status: BatchStatus | None) -> None:
        """A batch that does not run has its end to be told, or nothing to do."""
        if status in ENDED and batch_id not in self._telling and len(self._telling) < WEBHOOKS_MAX:
            task = asyncio.create_task(self._tell(batch_id))
            self._telling[batch_id] = task
            task.add_done_callback(lambda _: self._telling.pop(batch_id, None))
        elif status not in ENDED:
            await self._queue.forget(batch_id)

    async def _tell(self, batch_id: str) -> None:
        with contextlib.suppress(StoreUnavailable):
            await self._webhooks.tell(batch_id)
            await self._queue.forget(batch_id)

    def _ended(self, claim: Claim, task: asyncio.Task[None]) -> None:
        self._rows.discard(task)
        self._wake.set()
        if task.cancelled():
            return  # to be given back
        # A row that is not renewed any more, and has no result, is another worker's before long.
        self._claims.pop((claim.batch_id, claim.entry), None)
        if (error := task.exception()) is not None:
            logger.error("%s in a row of %s", type(error).__name__, claim.batch_id)

    async def _row(self, claim: Claim) -> None:
        """One row, to its end: stored, given back for later, or left to lapse."""
        started_s = time.monotonic()
        try:
            outcome = await self._patiently(lambda: self._runner.run(claim))
            if isinstance(outcome, RetryLater):
                await self._patiently(lambda: self._queue.give_back(claim, outcome.delay_s))
                self._events.emit(BatchRowReturned(claim.batch_id, "retry"))
            else:
                await self._store(claim, outcome, started_s)
            self._slow_down(isinstance(outcome, RetryLater))
        except BatchSpecError as error:
            reason = error.message
            await self._patiently(lambda: self._queue.fail(claim.batch_id, reason))
        except StoreUnavailable:
            logger.warning("the store was away too long: a row of %s is left", claim.batch_id)

    async def _store(self, claim: Claim, result: RowResult, started_s: float) -> None:
        settled = await self._patiently(lambda: self._queue.settle(claim, result))
        if settled not in ("stored", "completed"):
            return
        caller = Caller(request_id=claim.batch_id, priority="batch")
        seconds = time.monotonic() - started_s
        self._events.emit(BatchRowFinished(caller, claim.batch_id, result.status, seconds))
        if settled == "completed":
            self._events.emit(BatchEnded(claim.batch_id, "completed"))

    def _slow_down(self, failed: bool) -> None:
        """Where row after row fails for a passing reason, take fewer: they would only be spent."""
        self._failures = self._failures + 1 if failed else 0
        rounds = self._failures // self._limits.slots
        if rounds:
            pause_s = min(
                self._limits.poll_s * 2.0 ** min(rounds, 10), self._limits.slow_down_max_s
            )
            self._resume_at_s = time.monotonic() + pause_s

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """The answer of `call`, tried again while the store is away; raises `StoreUnavailable`."""
        give_up_s = time.monotonic() + self._limits.store_for_s
        pause_s = self._limits.store_pause_s
        while True:
            try:
                return await call()
            except StoreUnavailable:
                if time.monotonic() > give_up_s:
                    raise
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, self._limits.store_pause_max_s)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._limits.renew_s)
            try:
                await self._queue.renew(tuple(self._claims.values()))
            except StoreUnavailable:
                continue  # what lapses meanwhile may be done twice, and counts once

    async def _leave(self) -> None:
        """Finish what is in hand within the grace; give back the rest, so that nobody waits for it
        to lapse."""
        if self._rows:
            await asyncio.wait(self._rows, timeout=self._limits.grace_s)
        unfinished = [*self._rows, *self._telling.values()]
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
        await self._give_back(tuple(self._claims.values()))

    async def _give_back(self, claims: Sequence[Claim]) -> None:
        with contextlib.suppress(TimeoutError, StoreUnavailable):
            async with asyncio.timeout(self._limits.return_s):
                for claim in claims:
                    await self._queue.give_back(claim)
                    self._events.emit(BatchRowReturned(claim.batch_id, "shutdown"))
