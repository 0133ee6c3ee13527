"""Takes rows of batches from the queue and finishes them, until it is stopped."""

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

from assay.batches.gates import decide
from assay.batches.in_hand import RowsInHand, forget, stalled_processes
from assay.batches.lasting import BatchArchive
from assay.batches.rows import BatchSpecError, Parked, RetryLater, RowRunner
from assay.batches.webhooks import Webhooks
from assay.domain.batches import ENDED, BatchStatus, Claim, RowResult
from assay.domain.completion import Caller
from assay.domain.errors import StoreUnavailable
from assay.domain.events import BatchEnded, BatchRowFinished, BatchRowReturned
from assay.domain.faults import internal_fault
from assay.domain.ports import EventSink, JobQueue
from assay.domain.records import RecordsUnavailable
from assay.domain.supervision import SupervisedTask, Supervisor

logger = logging.getLogger(__name__)

T = TypeVar("T")

WAKE_SHARE = 0.125
"""Part of the slots that must be free before the queue is asked again ahead of `poll_s`."""

DELIVERIES_AT_ONCE_MAX = 8
"""Webhooks that one worker calls at the same time."""


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """Bounds of one worker; `renew_s` must be a small part of the queue's lease."""

    slots: int
    renew_s: float
    grace_s: float
    poll_s: float = 0.25
    return_s: float = 3.0
    store_for_s: float = 300.0
    store_pause_s: float = 0.1
    store_pause_max_s: float = 2.0
    slow_down_max_s: float = 5.0


class BatchWorker:
    """Works on up to `slots` rows at a time, taken from all batches in turn.

    While the store is unavailable, the worker finishes the rows that it holds and keeps their
    results until they can be stored: a restart of Redis costs no second judgement.
    """

    def __init__(
        self,
        queue: JobQueue,
        runner: RowRunner,
        webhooks: Webhooks,
        archive: BatchArchive,
        events: EventSink,
        supervisor: Supervisor,
        limits: WorkerLimits,
        in_hand: RowsInHand,
    ) -> None:
        self._queue = queue
        self._runner = runner
        self._webhooks = webhooks
        self._archive = archive
        self._events = events
        self._supervisor = supervisor
        self._limits = limits
        self._in_hand = in_hand
        self._claims: dict[tuple[str, str], Claim] = {}
        self._evaluating: set[tuple[str, str]] = set()
        self._suspects = asyncio.Lock()
        self._rows: dict[tuple[str, str], SupervisedTask] = {}
        self._deliveries: dict[str, SupervisedTask] = {}
        self._wake = asyncio.Event()
        self._round_number = 0
        self._failures = 0
        self._resume_at_s = 0.0

    def start(self) -> None:
        """Take rows from now on; the process is not ready while taking or renewing them fails."""
        self._renewing = self._supervisor.start("batch_leases", self._renew, essential=True)
        self._taking = self._supervisor.start("batch_worker", self._take_rows, essential=True)

    async def stop(self) -> None:
        """Take no more rows; finish those in hand within the grace and give back the rest."""
        self._wake.set()
        # To cancel a claim on its way would leave the rows to lapse.
        await self._taking.stop(self._limits.return_s)
        await self._finish()
        await self._renewing.stop()
        self._in_hand.close()

    async def _take_rows(self, task: SupervisedTask) -> None:
        await self._report_stalls()
        while not task.stopping:
            self._wake.clear()
            if not await self._round() or self._free < self._limits.slots * WAKE_SHARE:
                await self._sleep(self._limits.poll_s)

    async def _report_stalls(self) -> None:
        """Count the rows of earlier processes here that were ended because they stood still."""
        for trace, rows in list(stalled_processes(self._in_hand.folder)):
            for batch_id, key in rows:
                await self._with_store_retries(partial(self._queue.count_stall, batch_id, key))
            logger.error("an earlier process stood still and was ended with %d rows", len(rows))
            forget(trace)

    @property
    def _free(self) -> int:
        return self._limits.slots - len(self._rows)

    async def _sleep(self, seconds: float) -> None:
        """Sleep until enough slots are free or no row is left, at most `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _round(self) -> bool:
        """Fill the free slots, from all batches evenly; False if there was nothing to take."""
        if self._free == 0 or time.monotonic() < self._resume_at_s:
            return False
        found = False
        try:
            batch_ids = list(await self._queue.active())
            self._round_number += 1
            first = self._round_number % max(len(batch_ids), 1)
            for place, batch_id in enumerate(batch_ids[first:] + batch_ids[:first]):
                if self._free == 0:
                    break
                share = math.ceil(self._free / (len(batch_ids) - place))
                found |= await self._take(batch_id, share)
        except StoreUnavailable as error:
            logger.warning("no rows taken: %s", error.message)
        return found

    async def _take(self, batch_id: str, count: int) -> bool:
        try:
            claims = await self._queue.claim(batch_id, count)
            if claims == "due":
                await self._decide(batch_id)
                return True
            if claims is None or isinstance(claims, str):
                await self._close(batch_id, claims)
                return False
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001  # one batch's fault must not stop the others
            self._events.emit(internal_fault("batch_claim", error, batch_id))
            return False
        for claim in claims:
            if claim.deliveries:
                self._events.emit(BatchRowReturned(batch_id, "taken_over"))
            self._claims[batch_id, claim.entry] = claim
            self._rows[batch_id, claim.entry] = self._supervisor.start(
                "batch_row", partial(self._work_on, claim), restarts=False
            )
        return bool(claims)

    async def _decide(self, batch_id: str) -> None:
        """Decide on the gates of a batch, by the rows that have finished."""
        try:
            batch_spec = await self._runner.batch_spec(batch_id)
            rows = await self._queue.finished_rows(batch_id)
            step = await asyncio.to_thread(decide, batch_spec.gates, batch_spec.alpha, rows)
            stored = await self._queue.decide(batch_id, rows.first, step)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001  # without decisions the batch would never end
            self._events.emit(internal_fault("batch_gates", error, batch_id))
            await self._queue.fail(batch_id, "The gates of the batch could not be decided.")
        else:
            if stored and step.status is not None:
                self._events.emit(BatchEnded(batch_id, step.status))

    async def _close(self, batch_id: str, status: BatchStatus | None) -> None:
        """Deliver the webhook of a batch that has ended and copy it; forget one that is gone."""
        if status not in ENDED:
            await self._queue.forget(batch_id)
        elif batch_id not in self._deliveries and len(self._deliveries) < DELIVERIES_AT_ONCE_MAX:
            self._deliveries[batch_id] = self._supervisor.start(
                "webhook", partial(self._deliver, batch_id), restarts=False
            )

    async def _deliver(self, batch_id: str, _: SupervisedTask) -> None:
        try:
            await self._webhooks.deliver(batch_id)
            await self._archive.copy(batch_id)
            await self._queue.forget(batch_id)
        except StoreUnavailable:
            pass  # the claim lapses, and the webhook is due again
        except RecordsUnavailable:
            # The batch stays on the list, and is tried again.
            await asyncio.sleep(self._limits.store_pause_max_s)
        except Exception as error:  # noqa: BLE001  # reported with the batch
            self._events.emit(internal_fault("webhook", error, batch_id))
        finally:
            del self._deliveries[batch_id]

    async def _work_on(self, claim: Claim, task: SupervisedTask) -> None:
        given_back = False
        try:
            await self._row(claim)
        except asyncio.CancelledError:
            given_back = task.stopping  # by `_finish`
            raise
        except Exception as error:  # noqa: BLE001  # reported with the batch
            self._events.emit(internal_fault("batch_row", error, claim.batch_id))
        finally:
            place = claim.batch_id, claim.entry
            del self._rows[place]
            if not given_back:
                # A row without a result that is no longer renewed soon goes to another worker.
                del self._claims[place]
            if self._free >= self._limits.slots * WAKE_SHARE or not self._rows:
                self._wake.set()

    async def _row(self, claim: Claim) -> None:
        """One row, to its end: stored, given back for later, or left for another worker."""
        started_s = time.monotonic()
        try:
            outcome = await self._with_store_retries(lambda: self._evaluate(claim))
            if isinstance(outcome, RetryLater):
                await self._with_store_retries(
                    lambda: self._queue.give_back(claim, outcome.delay_s, outcome.document)
                )
                self._events.emit(BatchRowReturned(claim.batch_id, "retry"))
            elif isinstance(outcome, Parked):
                parked = outcome
                await self._with_store_retries(
                    lambda: self._queue.park(claim, parked.calls, parked.document)
                )
            else:
                await self._store(claim, outcome, started_s)
            self._slow_down(isinstance(outcome, RetryLater))
        except BatchSpecError as error:
            reason = error.message
            await self._with_store_retries(lambda: self._queue.fail(claim.batch_id, reason))
        except StoreUnavailable:
            logger.warning("storage was unavailable too long: a row of %s is left", claim.batch_id)

    async def _evaluate(self, claim: Claim) -> RowResult | RetryLater | Parked:
        """Run the row; one that was in hand when a process stood still runs without the like.

        So it shows at the next time which of the rows it is, and the others get their results.
        """
        async with self._suspects if claim.stalls else contextlib.nullcontext():
            self._evaluating.add((claim.batch_id, claim.key))
            self._in_hand.note(self._evaluating)
            try:
                return await self._runner.run(claim)
            finally:
                self._evaluating.discard((claim.batch_id, claim.key))
                self._in_hand.note(self._evaluating)

    async def _store(self, claim: Claim, result: RowResult, started_s: float) -> None:
        settled = await self._with_store_retries(lambda: self._queue.settle(claim, result))
        if settled not in ("stored", "completed"):
            return
        caller = Caller(request_id=claim.batch_id, priority="batch")
        seconds = time.monotonic() - started_s
        self._events.emit(BatchRowFinished(caller, claim.batch_id, result.status, seconds))
        for scored in result.live:
            self._events.emit(scored)
        if settled == "completed":
            self._events.emit(BatchEnded(claim.batch_id, "completed"))

    def _slow_down(self, failed: bool) -> None:
        """Take fewer rows while row after row fails for a transient reason: each costs a retry."""
        self._failures = self._failures + 1 if failed else 0
        rounds = self._failures // self._limits.slots
        if rounds:
            pause_s = min(
                self._limits.poll_s * 2.0 ** min(rounds, 10), self._limits.slow_down_max_s
            )
            self._resume_at_s = time.monotonic() + pause_s

    async def _with_store_retries(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat `call` while the store is unavailable; in the end, raise `StoreUnavailable`."""
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

    async def _renew(self, task: SupervisedTask) -> None:
        while not task.stopping:
            # A row whose lease lapses while the store is unavailable may be judged twice; its
            # result counts once.
            with contextlib.suppress(StoreUnavailable):
                await self._queue.renew(tuple(self._claims.values()))
            await asyncio.sleep(self._limits.renew_s)

    async def _finish(self) -> None:
        """Finish rows within the grace; give back the rest, so that no lease has to lapse first."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.grace_s):
                while self._rows:
                    self._wake.clear()
                    await self._wake.wait()
        unfinished = [*self._rows.values(), *self._deliveries.values()]
        await asyncio.gather(*(task.stop() for task in unfinished))
        await self._give_back(tuple(self._claims.values()))

    async def _give_back(self, claims: Sequence[Claim]) -> None:
        with contextlib.suppress(TimeoutError, StoreUnavailable):
            async with asyncio.timeout(self._limits.return_s):
                for claim in claims:
                    await self._queue.give_back(claim)
                    self._events.emit(BatchRowReturned(claim.batch_id, "shutdown"))
