"""Sends the calls that rows have put down as jobs of the providers, and brings their answers back.

A job is noted with a token of its own before it is sent, and the provider's id right after. If what
came of a submission is not known, the job is looked for at the provider before it is sent again. So
nothing is paid for twice, whatever dies in between.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from assay.batches.alone import held_alone
from assay.domain.call_results import ANSWERED
from assay.domain.clock import SYSTEM_CLOCK, Clock
from assay.domain.completion import NO_USAGE, Caller
from assay.domain.errors import (
    ModelError,
    ModelMissing,
    RateLimited,
    StoreUnavailable,
)
from assay.domain.events import AttemptFinished, ProviderJobChanged
from assay.domain.faults import internal_fault
from assay.domain.ids import now_ms, random_hex
from assay.domain.models import Model
from assay.domain.ports import EventSink, IdempotencyStore
from assay.domain.provider_jobs import (
    DeferredCall,
    DeferredCalls,
    JobApi,
    Outbox,
    ProviderJob,
)
from assay.domain.supervision import SupervisedTask

logger = logging.getLogger(__name__)

TOKEN_BYTES = 8
BATCHES_AT_ONCE = 4
"""A provider that is slow for one batch does not hold up the others."""
LEASE = "~jobs"

Settle = Callable[[str, str, float], None]
"""Replaces what is reserved of a tenant's daily budget by the real cost."""


@dataclass(frozen=True, slots=True)
class JobPolicy:
    """See the settings `jobs_…` of `[batches]`."""

    poll_s: float
    gather_s: float
    lost_after_s: float
    wait_s: float


class JobCollector:
    """The jobs of all batches; of each batch, one worker at a time looks after them."""

    def __init__(
        self,
        calls: DeferredCalls,
        apis: Mapping[str, tuple[Model, JobApi]],
        leases: IdempotencyStore,
        settle: Settle,
        events: EventSink,
        policy: JobPolicy,
        *,
        clock: Clock = SYSTEM_CLOCK,
        time_ms: Callable[[], int] = now_ms,
    ) -> None:
        self._calls = calls
        self._apis = apis
        self._leases = leases
        self._settle = settle
        self._events = events
        self._policy = policy
        self._clock = clock
        self._time_ms = time_ms
        self._at_once = asyncio.Semaphore(BATCHES_AT_ONCE)

    async def run(self, task: SupervisedTask) -> None:
        """Look after all jobs again and again; while the store is unavailable, wait."""
        while not task.stopping:
            with suppress(StoreUnavailable):
                batch_ids = await self._calls.batches()
                await asyncio.gather(*map(self._look_after, batch_ids))
            await self._clock.sleep(self._policy.poll_s)

    async def _look_after(self, batch_id: str) -> None:
        async with self._at_once:
            with suppress(StoreUnavailable):
                await self._look_alone(batch_id)

    async def _look_alone(self, batch_id: str) -> None:
        async with held_alone(self._leases, LEASE, batch_id) as held:
            try:
                if held:
                    await self.look(batch_id)
            except StoreUnavailable:
                raise
            except Exception as error:  # noqa: BLE001  # one batch's fault must not stop the others
                self._events.emit(internal_fault("provider_jobs", error, batch_id))

    async def look(self, batch_id: str) -> None:
        """Bring the jobs of a batch as far as they are, and send the calls that are due."""
        outbox = await self._calls.outbox(batch_id)
        for job in await self._calls.jobs(batch_id):
            try:
                await self._advance(batch_id, job, wanted=outbox.status == "running")
            except ModelError as error:
                logger.warning("a job of %s is not known: %s", job.model, error.log_message)
        for model in self._due(outbox):
            await self._send(batch_id, model, outbox.tenant)
        if outbox.status != "running" and not await self._calls.jobs(batch_id):
            for call in await self._calls.forget(batch_id):
                self._settle(call.tenant, call.reservation, 0.0)

    def _due(self, outbox: Outbox) -> list[str]:
        """The models whose calls are to be sent: no more will come, or they have waited long.

        Of a model that is not configured any more, they are closed at once.
        """
        if outbox.status != "running":
            return []
        gather_ms = self._policy.gather_s * 1_000
        ages_ms = (outbox.ages_ms or {}).items()
        return [model for model, age_ms in ages_ms if not outbox.unparked or age_ms >= gather_ms]

    async def _send(self, batch_id: str, model: str, tenant: str) -> None:
        """Send all calls to the model that wait, in as many jobs as they need."""
        api = self._apis[model][1] if model in self._apis else None
        calls_max, bytes_max = (api.calls_max, api.bytes_max) if api else (1_000, 1 << 30)
        while True:
            at_ms = self._time_ms()
            job = ProviderJob(random_hex(TOKEN_BYTES), model, tenant, at_ms, at_ms)
            if not await self._calls.take(batch_id, job, calls_max, bytes_max):
                return
            await self._submit(batch_id, job)

    async def _submit(self, batch_id: str, job: ProviderJob) -> None:
        calls = await self._calls.bodies(batch_id, await self._calls.keys(batch_id, job))
        if not calls or job.model not in self._apis:
            await self._close(batch_id, job)
            return
        try:
            id_ = await self._apis[job.model][1].submit(job.token, calls)
        except ModelError as error:
            logger.warning("a job for %s was not taken: %s", job.model, error.log_message)
            if error.call_result is ANSWERED and not isinstance(error, RateLimited):
                await self._close(batch_id, job, "refused")
            return  # else it is not known: see `_found`
        await self._note(batch_id, replace(job, id=id_, proven=True), "submitted")

    async def _advance(self, batch_id: str, job: ProviderJob, *, wanted: bool) -> None:
        if job.model not in self._apis:
            await self._close(batch_id, job, "lost")
            return
        api = self._apis[job.model][1]
        is_late = self._time_ms() - job.since_ms > self._policy.wait_s * 1_000
        if not job.id:
            found = await self._found(batch_id, job, api, wanted=wanted and not is_late)
            if found is None:
                return
            job = found
        if job.proven and not job.cancelled and (is_late or not wanted):
            with suppress(ModelError):  # it may have ended
                await api.cancel(job.id)
            job = replace(job, cancelled=True)
            await self._calls.change(batch_id, job)
        try:
            ended = await api.poll(job.id)
        except ModelMissing:
            await self._close(batch_id, job, "lost")
            return
        if ended is not None and api.is_over_limit(ended):
            others = (*job.others, job.id)
            again = replace(job, id="", others=others, sent_ms=self._time_ms())
            await self._calls.change(batch_id, again)
        elif ended is not None:
            await self._collect(batch_id, job, ended)
        elif is_late:
            await self._close(batch_id, job, "lost")

    async def _found(
        self, batch_id: str, job: ProviderJob, api: JobApi, *, wanted: bool
    ) -> ProviderJob | None:
        """The job at the provider, if it was sent; if it never was, it is sent now."""
        keys = await self._calls.keys(batch_id, job)
        known = {other.id for other in await self._calls.jobs(batch_id)} - {""}
        id_ = await api.find(job.token, job.since_ms, len(keys), (*job.others, *sorted(known)))
        if id_ is not None:
            job = replace(job, id=id_, proven=api.names_jobs)
            await self._note(batch_id, job, "found")
            return job
        if self._time_ms() - job.sent_ms < self._policy.lost_after_s * 1_000:
            return None
        if not wanted:
            await self._close(batch_id, job)
            return None
        job = replace(job, sent_ms=self._time_ms())
        await self._calls.change(batch_id, job)
        await self._submit(batch_id, job)
        return None

    async def _collect(self, batch_id: str, job: ProviderJob, ended: Mapping[str, object]) -> None:
        """Store each answer of a job that has ended, then close the job."""
        api = self._apis[job.model][1]
        own = set(await self._calls.keys(batch_id, job))
        failed: set[str] = set()
        strange = 0
        async for key, answer in api.results(job.token, ended):
            if key not in own:
                strange += 1
            elif answer is None or not await self._store(batch_id, job, key, answer):
                failed.add(key)
            else:
                job = job if job.proven else replace(job, proven=True)
        if strange:
            logger.warning("a job of %s had %d results that are not its own", job.model, strange)
        if not job.proven and not failed:
            # It was taken for ours by its time and size.
            others = (*job.others, job.id)
            await self._calls.change(batch_id, replace(job, id="", proven=True, others=others))
            return
        await self._close(batch_id, job, "ended")
        with suppress(ModelError):
            await api.delete(ended)

    async def _store(self, batch_id: str, job: ProviderJob, key: str, answer: bytes) -> bool:
        """Store an answer and account for it, once; False for one that is of no use."""
        (model, api), outcome = self._apis[job.model], "ok"
        try:
            completion = api.read(answer)
            usage, cost_usd = completion.usage, completion.cost_usd
        except ModelError as error:
            if error.transient:  # it is broken: a call of its own may do better
                return False
            usage, outcome = error.usage or NO_USAGE, error.outcome
            cost_usd = model.cost_usd(usage)
        call = await self._calls.resolve(batch_id, key, "answered", answer)
        if call == "known":
            return True
        criteria: tuple[str, ...] = ()
        if isinstance(call, DeferredCall):
            criteria = call.criteria
            self._settle(call.tenant, call.reservation, cost_usd)
        caller = Caller(job.tenant, batch_id, "batch")
        self._events.emit(
            AttemptFinished(
                *(caller, model.provider, model.id, outcome, 0.0, None, usage, cost_usd),
                host=model.host,
                criteria=criteria,
                timed=False,
            )
        )
        return True

    async def _close(self, batch_id: str, job: ProviderJob, state: str = "lost") -> None:
        """End a job: what it did not answer is to be asked directly."""
        for key in await self._calls.keys(batch_id, job):
            call = await self._calls.resolve(batch_id, key, "undelivered")
            if isinstance(call, DeferredCall):
                self._settle(call.tenant, call.reservation, 0.0)
        await self._calls.close(batch_id, job)
        self._report(batch_id, job, state)

    async def _note(self, batch_id: str, job: ProviderJob, state: str) -> None:
        await self._calls.change(batch_id, job)
        self._report(batch_id, job, state)

    def _report(self, batch_id: str, job: ProviderJob, state: str) -> None:
        self._events.emit(ProviderJobChanged(batch_id, job.model, state))
