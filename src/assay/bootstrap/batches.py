"""Builds the batches: the resources of the API, and the worker that does their rows."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable

from fastapi import APIRouter

from assay.api.batches.batches import batches_router
from assay.api.batches.creation import batch_creation_router
from assay.api.batches.items import batch_items_router
from assay.api.batches.progress import batch_progress_router
from assay.api.batches.results import batch_results_router
from assay.api.batches.services import Batches, BatchRules
from assay.api.responses import render
from assay.api.services import Services
from assay.batches.rows import RowRetryPolicy, RowRunner
from assay.batches.webhooks import WebhookPolicy, Webhooks
from assay.batches.worker import BatchWorker, WorkerLimits
from assay.domain.errors import StoreUnavailable
from assay.domain.ports import EventSink, Judges
from assay.evaluation.ports import Evaluates
from assay.http.limits import Limits
from assay.redis.client import Client
from assay.settings import BatchSettings, Settings
from assay.store.batches.batches import RedisBatches
from assay.store.batches.queue import RedisJobQueue
from assay.store.batches.results import RedisResults
from assay.telemetry.live import ScrapedGauges

RENEWALS_PER_LEASE = 4
BACKLOG_EVERY_S = 5.0
LOOK_S_MAX = 1.0
"""A Redis that does not answer must not hold up the start of a process."""


def batch_routers(
    settings: Settings, services: Services, limits: Limits, redis: Client, judges: Judges
) -> list[APIRouter]:
    """The resources of batches."""
    rules = BatchRules(
        row_bytes_max=settings.server.max_body_bytes,
        retention_s=settings.batches.retention_h * 3_600,
        allow_private_webhooks=settings.batches.webhooks_to_private_hosts,
    )
    store = RedisBatches(redis, rows_max=settings.batches.rows_max)
    batches = Batches(services, limits, store, RedisResults(redis), judges, rules)
    return [
        batch_creation_router(batches),
        batches_router(batches),
        batch_items_router(batches),
        batch_results_router(batches),
        batch_progress_router(batches),
    ]


def build_worker(
    settings: BatchSettings, redis: Client, evaluator: Evaluates, events: EventSink
) -> BatchWorker:
    """A worker with a name of its own."""
    store = RedisBatches(redis)
    queue = RedisJobQueue(redis, worker_name(), lease_s=settings.lease_s)
    tries = RowRetryPolicy(attempts_max=settings.attempts_max, row_timeout_s=settings.row_timeout_s)
    runner = RowRunner(evaluator, store, render, tries)
    policy = WebhookPolicy(allow_private=settings.webhooks_to_private_hosts)
    limits = WorkerLimits(
        slots=settings.worker_rows,
        renew_s=settings.lease_s / RENEWALS_PER_LEASE,
        grace_s=settings.grace_s,
    )
    return BatchWorker(queue, runner, Webhooks(queue, store, events, policy), events, limits)


@contextlib.asynccontextmanager
async def working(worker: BatchWorker) -> AsyncIterator[None]:
    """Work for as long as the context lasts; at its end rows in hand are finished or given back."""
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await task


class Backlog:
    """The rows that wait, read from Redis now and then: a scrape must not wait for it."""

    def __init__(self, redis: Client) -> None:
        self._queue = RedisJobQueue(redis, "")
        self._rows = math.nan

    async def look(self) -> None:
        """Read it once; while nobody can tell, the backlog is no number."""
        try:
            async with asyncio.timeout(LOOK_S_MAX):
                self._rows = await self._queue.backlog()
        except (StoreUnavailable, TimeoutError):
            self._rows = math.nan

    async def poll(self) -> None:
        """Look for as long as the task lives."""
        while True:
            await asyncio.sleep(BACKLOG_EVERY_S)
            await self.look()

    def with_it(self, read: Callable[[], ScrapedGauges]) -> Callable[[], ScrapedGauges]:
        """`read`, and the backlog beside it."""
        return lambda: {**read(), "assay_batch_backlog_rows": {(): self._rows}}


def worker_name() -> str:
    """Unique among all processes, so that a new one never takes a dead one's rows for its own."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


BATCH_ROUTES = (
    ("POST", "/v1/batches"),
    ("GET", "/v1/batches"),
    ("GET", "/v1/batches/{batch_id}"),
    ("DELETE", "/v1/batches/{batch_id}"),
    ("PUT", "/v1/batches/{batch_id}/items"),
    ("POST", "/v1/batches/{batch_id}/start"),
    ("POST", "/v1/batches/{batch_id}/cancel"),
    ("GET", "/v1/batches/{batch_id}/results"),
    ("GET", "/v1/batches/{batch_id}/events"),
)
