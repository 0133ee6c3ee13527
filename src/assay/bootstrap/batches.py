"""Builds the batches: the resources of the API, and the worker that does the rows."""

from __future__ import annotations

import os
import socket

from fastapi import APIRouter

from assay.api.batches.batches import batches_router
from assay.api.batches.creation import batch_creation_router
from assay.api.batches.items import batch_items_router
from assay.api.batches.progress import batch_progress_router
from assay.api.batches.results import batch_results_router
from assay.api.batches.services import Batches, BatchRules
from assay.api.erasures import Erasures
from assay.api.labels import HumanLabels
from assay.api.responses import render
from assay.api.services import Services
from assay.batches.rows import RowRetryPolicy, RowRunner
from assay.batches.webhooks import WebhookPolicy, Webhooks
from assay.batches.worker import BatchWorker, WorkerLimits
from assay.bootstrap.from_settings import tenant_limits
from assay.bootstrap.process import Process
from assay.domain.ids import random_hex
from assay.settings import BatchSettings, Settings
from assay.store.batches.batches import RedisBatches
from assay.store.batches.erasure import RedisErasure
from assay.store.batches.queue import RedisJobQueue
from assay.store.batches.results import RedisResults
from assay.store.tenants.storage import RedisTenantStorage

RENEWALS_PER_LEASE = 4


def batch_routers(settings: Settings, services: Services, process: Process) -> list[APIRouter]:
    """The resources of batches."""
    rules = BatchRules(
        row_bytes_max=settings.server.max_body_bytes,
        retention_s=settings.batches.retention_h * 3_600,
        allow_private_webhooks=settings.batches.webhooks_to_private_hosts,
    )
    store = RedisBatches(process.redis, rows_max=settings.batches.rows_max)
    results = RedisResults(process.redis)
    storage = RedisTenantStorage(process.redis, tenant_limits(settings), rules.retention_s)
    batches = Batches(
        services, process.limits, store, results, process.judging.judges, rules, storage
    )
    return [
        batch_creation_router(batches),
        batches_router(batches),
        batch_items_router(batches),
        batch_results_router(batches),
        batch_progress_router(batches),
        HumanLabels(services, process.limits, batches.found).router(),
        Erasures(batches, RedisErasure(process.redis)).router(),
    ]


def build_worker(settings: BatchSettings, process: Process) -> BatchWorker:
    """A worker with a name of its own."""
    events = process.events
    store = RedisBatches(process.redis, rows_max=settings.rows_max)
    queue = RedisJobQueue(process.redis, worker_name(), lease_s=settings.lease_s)
    retries = RowRetryPolicy(settings.attempts_max, settings.row_timeout_s)
    runner = RowRunner(process.evaluator, store, render, retries, events)
    webhooks = Webhooks(queue, store, events, WebhookPolicy(settings.webhooks_to_private_hosts))
    limits = WorkerLimits(
        slots=settings.worker_rows,
        renew_s=settings.lease_s / RENEWALS_PER_LEASE,
        grace_s=settings.grace_s,
    )
    return BatchWorker(queue, runner, webhooks, events, process.supervisor, limits, process.in_hand)


def worker_name() -> str:
    """Unique among all processes, so that a new worker never mistakes a dead one's rows for its
    own."""
    return f"{socket.gethostname()}-{os.getpid()}-{random_hex(4)}"
