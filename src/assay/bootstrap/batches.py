"""Builds the batches: the resources of the API, and the worker that does the rows."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from fastapi import APIRouter

from assay.api.batches.batches import BatchResource
from assay.api.batches.comparison import BatchComparisons
from assay.api.batches.creation import batch_creation_router
from assay.api.batches.items import batch_items_router, check_rows
from assay.api.batches.lines import Line
from assay.api.batches.progress import batch_progress_router
from assay.api.batches.results import batch_results_router
from assay.api.batches.services import Batches
from assay.api.calibrations.calibrations import Calibrations
from assay.api.calibrations.control import Controls
from assay.api.calibrations.draws import LabelDraws
from assay.api.erasures import Erasures
from assay.api.labels import HumanLabels
from assay.api.responses import render
from assay.api.rules import LiveRules
from assay.api.services import Services
from assay.batches.collecting import JobCollector, JobPolicy
from assay.batches.control import ControlSets
from assay.batches.creation import BatchCreator
from assay.batches.kept_comparisons import KeptComparisons
from assay.batches.labelled import LabelledBatches
from assay.batches.lasting import BatchArchive, LastingBatches
from assay.batches.live import LiveTraffic
from assay.batches.rows import RowRetryPolicy, RowRunner, untraced
from assay.batches.webhooks import WebhookPolicy, Webhooks
from assay.batches.worker import BatchWorker, WorkerLimits
from assay.bootstrap.from_settings import tenant_limits
from assay.bootstrap.process import Process
from assay.catalog.rules import Rules
from assay.domain.batches import NewRow
from assay.domain.ids import now_ms, random_hex
from assay.domain.supervision import Supervisor
from assay.domain.traces import TraceStore
from assay.otlp.traces import TracesIn
from assay.providers.images import PublicResolver
from assay.settings import BatchSettings, Settings
from assay.store.batches.batches import RedisBatches
from assay.store.batches.deferred import RedisDeferredCalls
from assay.store.batches.erasure import RedisEraser
from assay.store.batches.queue import RedisJobQueue
from assay.store.batches.results import RedisResults
from assay.store.idempotency.leases import RedisIdempotency
from assay.store.tenants.storage import RedisTenantStorage

RENEWALS_PER_LEASE = 4


class _Parts(NamedTuple):
    """What batches are kept in and made with."""

    store: RedisBatches
    lasting: LastingBatches
    creator: BatchCreator
    storage: RedisTenantStorage


def _parts(settings: Settings, process: Process) -> _Parts:
    retention_s = settings.batches.retention_h * 3_600
    store = RedisBatches(process.redis, rows_max=settings.batches.rows_max)
    storage = RedisTenantStorage(process.redis, tenant_limits(settings), retention_s)
    open_stores = process.records.open
    lasting = LastingBatches(store, RedisResults(process.redis), open_stores)
    creator = BatchCreator(store, storage, open_stores, retention_s)
    return _Parts(store, lasting, creator, storage)


def build_batches(settings: Settings, services: Services, process: Process) -> Batches:
    """What the resources of batches work with."""
    private_webhooks = settings.batches.webhooks_to_private_hosts
    return Batches(services, process.limits, *_parts(settings, process), private_webhooks)


def live_routers(
    batches: Batches, rules: Rules, live: LiveTraffic, traces: TraceStore
) -> list[APIRouter]:
    """The resources of live traffic: rules, and where traces are exported to."""
    services = batches.services
    received = TracesIn(
        services.admit, rules, traces, services.events, batches.limits, services.load
    )
    return [received.router(), LiveRules(batches, rules, live, traces).router()]


def batch_routers(batches: Batches, eraser: RedisEraser, supervisor: Supervisor) -> list[APIRouter]:
    """The resources of batches, and those that look into them."""
    labelled = LabelledBatches(batches.lasting, batches.open)
    comparisons = KeptComparisons(batches.lasting, batches.open, supervisor)
    return [
        batch_creation_router(batches),
        BatchResource(batches).router(),
        batch_items_router(batches),
        batch_results_router(batches),
        batch_progress_router(batches),
        BatchComparisons(batches, comparisons).router(),
        HumanLabels(batches).router(),
        LabelDraws(batches.services, labelled).router(),
        Calibrations(batches.services, labelled).router(),
        Controls(batches, labelled).router(),
        Erasures(batches, eraser).router(),
    ]


def start_worker(settings: Settings, process: Process, live: LiveTraffic) -> BatchWorker:
    """A worker that takes rows, beside tasks that look after control sets and live traffic."""
    worker = build_worker(settings.batches, process)
    worker.start()
    process.supervisor.start("control_sets", build_control_sets(settings, process).run)
    if process.judging.job_apis:
        collector = build_collector(settings.batches, process)
        process.supervisor.start("provider_jobs", collector.run)
    process.supervisor.start("live_traffic", live.run)
    return worker


def build_collector(settings: BatchSettings, process: Process) -> JobCollector:
    """What sends the calls of batches as jobs, and collects the answers."""
    judging = process.judging
    return JobCollector(
        RedisDeferredCalls(process.redis),
        judging.job_apis,
        RedisIdempotency(process.redis, process.supervisor, lease_s=settings.lease_s),
        judging.shared.caps.settle,
        process.events,
        JobPolicy(
            settings.jobs_poll_s,
            settings.jobs_gather_s,
            settings.jobs_lost_after_s,
            settings.jobs_wait_h * 3_600,
        ),
    )


def build_control_sets(
    settings: Settings, process: Process, time_ms: Callable[[], int] = now_ms
) -> ControlSets:
    """What judges control sets again."""
    parts = _parts(settings, process)
    return ControlSets(
        lambda: process.records.exist,
        process.records.open,
        parts.store,
        parts.lasting,
        parts.creator,
        process.judging.judges,
        RedisIdempotency(process.redis, process.supervisor),
        process.events,
        time_ms=time_ms,
    )


def build_rules(process: Process) -> Rules:
    """The rules of all tenants."""
    return Rules(lambda: process.records.exist, process.records.open)


def build_live(
    settings: Settings, process: Process, rules: Rules, time_ms: Callable[[], int] = now_ms
) -> LiveTraffic:
    """What judges live traffic."""

    def check_row(row: Mapping[str, Any]) -> NewRow | str:
        rows, bad = check_rows([Line(1, document=dict(row))], process.limits.image_hosts)
        return rows[0] if rows else bad[0].message

    return LiveTraffic(
        rules,
        process.traces,
        *_parts(settings, process),
        open_stores=process.records.open,
        leases=RedisIdempotency(process.redis, process.supervisor),
        events=process.events,
        check_row=check_row,
        time_ms=time_ms,
    )


def build_worker(settings: BatchSettings, process: Process) -> BatchWorker:
    """A worker with a name of its own."""
    events = process.events
    store = RedisBatches(process.redis, rows_max=settings.rows_max)
    queue = RedisJobQueue(process.redis, worker_name(), lease_s=settings.lease_s)
    retries = RowRetryPolicy(settings.attempts_max, settings.row_timeout_s)
    open_stores = process.records.open
    traced = untraced if process.otel is None else process.otel.row
    runner = RowRunner(
        process.evaluator, store, render, retries, events, open_stores, process.traces.key, traced
    )
    resolver = None if settings.webhooks_to_private_hosts else PublicResolver()
    policy = WebhookPolicy(settings.webhooks_to_private_hosts)
    webhooks = Webhooks(queue, store, events, policy, resolver)
    archive = BatchArchive(
        queue,
        store,
        RedisResults(process.redis),
        open_stores,
        late_s=settings.row_timeout_s + settings.lease_s,
        retention_s=settings.retention_h * 3_600,
    )
    limits = WorkerLimits(
        slots=settings.worker_rows,
        renew_s=settings.lease_s / RENEWALS_PER_LEASE,
        grace_s=settings.grace_s,
    )
    return BatchWorker(
        queue, runner, webhooks, archive, events, process.supervisor, limits, process.in_hand
    )


def worker_name() -> str:
    """Unique among all processes, so that a new worker never mistakes a dead one's rows for its
    own."""
    return f"{socket.gethostname()}-{os.getpid()}-{random_hex(4)}"
