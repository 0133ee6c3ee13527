"""What every process of Assay has, whether it serves the API, works on rows, or does both."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import permutations
from typing import TYPE_CHECKING, NamedTuple

from starlette.applications import Starlette

from assay import __version__
from assay.batches.in_hand import RowsInHand
from assay.bootstrap.from_settings import limits_from_settings, models_from_settings, tenant_limits
from assay.bootstrap.gauges import gauge_reader
from assay.bootstrap.judging import Judging, open_judging
from assay.bootstrap.otel import open_otel, otel_endpoints
from assay.bootstrap.records import Records
from assay.criteria import CRITERIA
from assay.domain.ids import random_hex
from assay.domain.models import Model
from assay.domain.ports import EventSink
from assay.domain.supervision import SupervisedTask, Supervisor
from assay.domain.targets import is_loopback
from assay.evaluation.evaluator import Evaluator
from assay.evaluation.sandbox.pool import SandboxPool
from assay.http.hosts import LocalHosts
from assay.http.lifecycle import Lifecycle, Load
from assay.http.limits import Limits
from assay.http.operations import create_operations_app
from assay.providers.images import ImageFetcher
from assay.redis.client import BUDGETED, Client, connect
from assay.redis.embedded import EmbeddedRedis
from assay.redis.watch import StoreWatch
from assay.screening import Screener
from assay.settings import ENDS_SOON, Settings
from assay.store.audit.audit import RedisAudit
from assay.store.shared_secret import shared_secret
from assay.store.tenants.gate import RedisTenantGate
from assay.store.traces.traces import RedisTraces
from assay.store.usage.usage import RedisUsage
from assay.telemetry.event_loop import LoopWatchdog, watch_loop
from assay.telemetry.labels import LabelUniverse, trace_exemplar, untraced
from assay.telemetry.logging import EventLog, configure_logging
from assay.telemetry.metrics import Metrics
from assay.telemetry.sinks import Sinks

if TYPE_CHECKING:
    from assay.telemetry.otel.spans import Spans

logger = logging.getLogger(__name__)
DAY_S = 86_400.0
INFLIGHT_MARGIN_S = 30.0
"""After its deadline, a request of a process that died no longer counts as in flight."""


@dataclass(frozen=True, slots=True)
class Process:
    """The parts of one process, its background tasks and its operations app."""

    metrics: Metrics
    otel: Spans | None
    events: EventSink
    supervisor: Supervisor
    lifecycle: Lifecycle
    load: Load
    limits: Limits
    redis: Client
    judging: Judging
    screener: Screener
    images: ImageFetcher
    delimiter_key: bytes = field(repr=False)
    gate: RedisTenantGate
    evaluator: Evaluator
    operations: Starlette
    in_hand: RowsInHand
    records: Records
    usage: RedisUsage
    audit: RedisAudit
    traces: RedisTraces


class Clients(NamedTuple):
    """Two clients of one Redis; `budgeted` is for callers that bound their calls themselves."""

    redis: Client
    budgeted: Client
    private: EmbeddedRedis | None


@asynccontextmanager
async def open_process(
    settings: Settings, *, needs_store: bool = False, ends_stalled: bool = False
) -> AsyncIterator[Process]:
    """Assemble a process; everything opened here is closed in the reverse order.

    `needs_store`: without Redis it can do nothing, and is not ready. With `ends_stalled`, the whole
    process ends where its event loop stands still.
    """
    models = models_from_settings(settings)
    metrics = _metrics(settings, models)
    lifecycle, load, limits = Lifecycle(), Load(), limits_from_settings(settings)
    async with AsyncExitStack() as stack:
        clients = await stack.enter_async_context(open_redis(settings))
        redis, budgeted = clients.redis, clients.budgeted
        usage, audit = RedisUsage(redis), RedisAudit(redis)
        otel = await stack.enter_async_context(open_otel(settings, models, metrics.registry))
        events = Sinks([metrics, EventLog(), usage, audit, *filter(None, [otel])])
        supervisor = await stack.enter_async_context(Supervisor(events))
        for kept in (usage, audit):
            kept.start(supervisor, events)
            stack.push_async_callback(kept.aclose)
        store = _watch_store(clients, events, supervisor)
        _warn(settings, models, supervisor)
        judging = await stack.enter_async_context(
            open_judging(settings, redis, events, supervisor, budgeted=budgeted)
        )
        sandbox, screener = SandboxPool(events), Screener(events)
        stack.push_async_callback(sandbox.aclose)
        metrics.watch(await gauge_reader(judging, redis, load, limits, supervisor))
        gate = _gate(settings, limits, budgeted, supervisor)
        delimiter_key = await shared_secret(redis, "delimiter")
        in_hand = _watch_loop(settings, events, supervisor, stack, ends_stalled=ends_stalled)
        operations = create_operations_app(
            lifecycle,
            metrics.render,
            lambda: supervisor.failing,
            lambda: store.available,
            LocalHosts(settings.auth.hosts) if is_loopback(settings.server.host) else None,
            needs_store=needs_store,
        )
        records = await stack.enter_async_context(Records(settings, redis, events, supervisor))
        images = ImageFetcher(limits.image_hosts)
        stack.push_async_callback(images.aclose)
        engine = (judging.judges, sandbox, screener, events, images, delimiter_key, gate)
        evaluator = Evaluator(*engine)
        yield Process(
            *(metrics, otel, events, supervisor, lifecycle, load, limits, redis, judging, screener),
            *(images, delimiter_key, gate, evaluator, operations, in_hand, records, usage, audit),
            RedisTraces(redis),
        )


def _metrics(settings: Settings, models: Sequence[Model]) -> Metrics:
    exemplar = trace_exemplar if otel_endpoints(settings) else untraced
    return Metrics(label_universe(settings, models), __version__, exemplar)


def _watch_store(clients: Clients, events: EventSink, supervisor: Supervisor) -> StoreWatch:
    if clients.private is not None:
        supervisor.start("private_redis", clients.private.watch, essential=True)
    store = StoreWatch(clients.redis, events)
    supervisor.start("store_watch", store.run)
    return store


def _watch_loop(
    settings: Settings,
    events: EventSink,
    supervisor: Supervisor,
    stack: AsyncExitStack,
    *,
    ends_stalled: bool,
) -> RowsInHand:
    """Watch the event loop; what is in hand is noted where a process that stalls leaves it."""
    in_hand = RowsInHand(settings.server.data_dir / "stalls", f"{os.getpid()}-{random_hex(4)}")
    watchdog = LoopWatchdog(in_hand.trace) if ends_stalled else None
    if watchdog is not None:
        stack.enter_context(watchdog.armed())
    supervisor.start("event_loop_lag", partial(watch_loop, events, watchdog=watchdog))
    return in_hand


def _gate(
    settings: Settings, limits: Limits, redis: Client, supervisor: Supervisor
) -> RedisTenantGate:
    longest_s = limits.request_timeout_ms / 1_000 + limits.body_timeout_s
    return RedisTenantGate(
        redis,
        tenant_limits(settings),
        supervisor,
        judge_calls_max=settings.server.judge_calls_max,
        inflight_s=longest_s + INFLIGHT_MARGIN_S,
    )


@asynccontextmanager
async def open_redis(settings: Settings) -> AsyncIterator[Clients]:
    """Clients of the configured Redis, or of a private one that lives as long as this."""
    async with AsyncExitStack() as stack:
        url, private = settings.redis.url, None
        if settings.redis.url_file is not None:
            url = settings.redis.url_file.read_text().strip()
        if not url:
            memory_bytes = settings.redis.private_memory_mb * 1024 * 1024
            private = EmbeddedRedis(settings.server.data_dir, memory_bytes)
            url = await stack.enter_async_context(private)
        clients = Clients(connect(url), connect(url, BUDGETED), private)
        for client in clients[:2]:
            stack.push_async_callback(client.aclose)
        yield clients


def _warn(settings: Settings, models: Sequence[Model], supervisor: Supervisor) -> None:
    """Warn of what works now and would not later."""
    supervisor.start("model_ends", partial(warn_of_ends, models))
    if settings.redis.is_shared and "pods_max" not in settings.quota.model_fields_set:
        logger.warning(
            "quota.pods_max is not set: while Redis is unavailable, every process takes itself for "
            "the only one and uses the whole quota of each provider"
        )


async def warn_of_ends(models: Sequence[Model], task: SupervisedTask) -> None:
    """Once a day, a warning for each model that its provider ends within a month."""
    while not task.stopping:
        today = datetime.now(UTC).date()
        for model in models:
            if model.end_of_life is not None and model.end_of_life <= today + ENDS_SOON:
                logger.warning(
                    "The provider ends the model %s on %s: configure another one in its place",
                    *(model.id, model.end_of_life),
                )
        await asyncio.sleep(DAY_S)


def start_logging(settings: Settings) -> None:
    """Write logs in the configured form."""
    as_json = {"auto": None, "json": True, "text": False}[settings.telemetry.log_format]
    correlated = bool(otel_endpoints(settings))
    configure_logging(settings.telemetry.log_level, as_json=as_json, correlated=correlated)


def label_universe(settings: Settings, models: Sequence[Model]) -> LabelUniverse:
    """The values of labels that the configuration decides."""
    fallbacks = {
        pair for judge in settings.judges.values() for pair in permutations(judge.models, 2)
    }
    return LabelUniverse(criteria=tuple(CRITERIA), models=models, fallbacks=sorted(fallbacks))
