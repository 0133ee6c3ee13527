"""Builds the service out of its parts, and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from fastapi import FastAPI
from starlette.applications import Starlette

from assay import __version__
from assay.api.app import create_app
from assay.api.services import Services
from assay.bootstrap.batches import BATCH_ROUTES, Backlog, batch_routers, build_worker, working
from assay.bootstrap.from_settings import limits_of, models_of
from assay.bootstrap.judging import open_judging
from assay.bootstrap.readings import GaugeReader
from assay.criteria import CRITERIA
from assay.domain.completion import Model
from assay.domain.ports import EventSink
from assay.domain.supervision import Supervisor
from assay.evaluation.comparer import Comparer
from assay.evaluation.evaluator import Evaluator
from assay.evaluation.sandbox.pool import SandboxPool
from assay.http.access import Access, KeysFile, OpenAccess
from assay.http.limits import Limits
from assay.http.memory import give_back_memory
from assay.http.operations import create_operations_app
from assay.http.server import Listeners, listen, serve, serving
from assay.redis.client import BUDGETED, Client, connect
from assay.redis.embedded import EmbeddedRedis
from assay.screening import Screener
from assay.settings import AuthSettings, Settings
from assay.store.idempotency.leases import RedisIdempotency
from assay.telemetry.event_loop import watch_loop
from assay.telemetry.logging import EventLog, configure_logging
from assay.telemetry.metrics import LabelUniverse, Metrics
from assay.telemetry.sinks import Sinks


@dataclass(frozen=True, slots=True)
class Service:
    """The assembled service: its two applications and what they share."""

    app: FastAPI
    operations: Starlette
    services: Services
    limits: Limits
    models: Sequence[Model]


class Clients(NamedTuple):
    """Two clients of one Redis; `budgeted` is for callers who bound their calls themselves."""

    redis: Client
    budgeted: Client


@asynccontextmanager
async def open_service(settings: Settings, *, work: bool = False) -> AsyncIterator[Service]:
    """Assemble the service; everything opened here is closed in the reverse order.

    With `work` it does rows of batches too.
    """
    models = models_of(settings)
    metrics = Metrics(known(settings, models), __version__)
    events: EventSink = Sinks([metrics, EventLog()])
    limits = limits_of(settings)
    async with AsyncExitStack() as stack:
        redis, budgeted = await stack.enter_async_context(open_redis(settings))
        supervisor = await stack.enter_async_context(Supervisor(events))
        judging = await stack.enter_async_context(
            open_judging(settings, redis, events, supervisor, budgeted=budgeted)
        )
        offload = SandboxPool(events)
        stack.push_async_callback(offload.aclose)
        screener = Screener(events)
        stack.push_async_callback(screener.aclose)
        services = Services(
            evaluator=Evaluator(judging.judges, offload, screener, events),
            comparer=Comparer(judging.judges, screener, events),
            access=access(settings),
            idempotency=RedisIdempotency(redis, supervisor),
            models=judging.directory,
            events=events,
        )
        readings = GaugeReader(judging, services.load, limits)
        backlog = Backlog(redis)
        await backlog.look()
        metrics.watch(backlog.with_it(readings.read))
        await stack.enter_async_context(
            running(
                readings.poll(),
                backlog.poll(),
                watch_loop(events),
                give_back_memory(services.load),
            )
        )
        if work:
            worker = build_worker(settings.batches, redis, services.evaluator, events)
            await stack.enter_async_context(working(worker))
        routers = batch_routers(settings, services, limits, redis, judging.judges)
        yield Service(
            create_app(services, limits, routers),
            create_operations_app(services.lifecycle, metrics.render),
            services,
            limits,
            models,
        )


async def run_service(settings: Settings, on_started: Callable[[str, str], None]) -> bool:
    """Serve until SIGTERM or SIGINT; true where everything in flight was finished.

    `on_started` gets the two addresses. Raises `OSError` where a port is taken.
    """
    server = settings.server
    with Listeners.bind(server.host, server.port, server.metrics_port) as listeners:
        api, operations = (
            f"http://{_authority(listener.getsockname())}"
            for listener in (listeners.api, listeners.operations)
        )
        async with open_service(settings, work=settings.worker_in_serve) as service:
            return await serve(
                service.app,
                service.operations,
                listeners,
                lifecycle=service.services.lifecycle,
                load=service.services.load,
                limits=service.limits,
                on_started=lambda: on_started(api, operations),
            )


@asynccontextmanager
async def open_local(settings: Settings) -> AsyncIterator[str]:
    """The service inside this process, for this process: gives its address on a free port.

    Where no Redis URL is configured its private Redis lives in a folder of its own, so that a
    service already running on the data directory is left alone.
    """
    with TemporaryDirectory(prefix="assay-") as folder:
        server = settings.server.model_copy(update={"data_dir": Path(folder)})
        alone = settings.model_copy(update={"server": server, "auth": AuthSettings(required=False)})
        with listen("127.0.0.1", 0) as listener:
            async with open_service(alone) as service, serving(service.app, listener):
                service.services.lifecycle.phase = "serving"
                yield f"http://{_authority(listener.getsockname())}"


@asynccontextmanager
async def running(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Background work that ends with the context."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def start_logging(settings: Settings) -> None:
    """Write logs in the configured form."""
    as_json = {"auto": None, "json": True, "text": False}[settings.telemetry.log_format]
    configure_logging(settings.telemetry.log_level, as_json=as_json)


@asynccontextmanager
async def open_redis(settings: Settings) -> AsyncIterator[Clients]:
    """Clients of the configured Redis, or of a private one that lives as long as this."""
    async with AsyncExitStack() as stack:
        url = settings.redis.url
        if settings.redis.url_file is not None:
            url = settings.redis.url_file.read_text().strip()
        if not url:
            url = await stack.enter_async_context(EmbeddedRedis(settings.server.data_dir))
        clients = Clients(connect(url), connect(url, BUDGETED))
        for client in clients:
            stack.push_async_callback(client.aclose)
        yield clients


def access(settings: Settings) -> Access:
    """Who may call: the holders of the file's keys, or everybody on a loopback host."""
    if settings.auth_required and settings.auth.keys_file is not None:
        return KeysFile(settings.auth.keys_file)
    return OpenAccess()


def known(settings: Settings, models: Sequence[Model]) -> LabelUniverse:
    """What can become a label of a metric."""
    fallbacks = {
        pair for judge in settings.judges.values() for pair in permutations(judge.models, 2)
    }
    return LabelUniverse(
        routes=ROUTES, criteria=tuple(CRITERIA), models=models, fallbacks=sorted(fallbacks)
    )


def _authority(address: tuple[object, ...]) -> str:
    host, port = str(address[0]), address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


ROUTES = (
    ("POST", "/v1/evaluations"),
    ("POST", "/evaluate"),
    ("POST", "/v1/comparisons"),
    ("GET", "/v1/criteria"),
    ("GET", "/v1/models"),
    *BATCH_ROUTES,
    ("PUT", "/v1/models/{model_id:path}/breaker"),
)
