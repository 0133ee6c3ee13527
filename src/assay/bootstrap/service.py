"""Builds the API on top of a process, and runs it until a signal stops it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.applications import Starlette

from assay.api.app import create_app
from assay.api.services import Services
from assay.bootstrap.batches import (
    batch_routers,
    build_batches,
    build_live,
    build_rules,
    live_routers,
    start_worker,
)
from assay.bootstrap.from_settings import tenant_limits
from assay.bootstrap.judging import open_judging
from assay.bootstrap.openai_evals import openai_routers
from assay.bootstrap.otel import trace_requests
from assay.bootstrap.process import Process, open_process, open_redis
from assay.console.pages import build_console
from assay.domain.ports import EventSink
from assay.domain.supervision import Supervisor
from assay.evaluation.comparer import Comparer
from assay.http.access import Access, OpenAccess
from assay.http.hosts import LocalHosts
from assay.http.keys_file import KeysFile
from assay.http.limits import Limits
from assay.http.memory import give_back_memory
from assay.http.rewritten import ProblemsRewritten
from assay.http.server import listen, serve, serving
from assay.openai_evals.errors import is_openai, openai_error
from assay.otlp.traces import is_export, rpc_status
from assay.resilience.directory import ModelLayers
from assay.settings import AuthSettings, Settings
from assay.store.batches.erasure import RedisEraser
from assay.store.idempotency.leases import RedisIdempotency
from assay.store.shared_secret import shared_secret
from assay.telemetry.logging import EventLog
from assay.telemetry.snapshot import snapshot


@dataclass(frozen=True, slots=True)
class Service:
    """The assembled service: its two applications and what they share."""

    app: FastAPI
    operations: Starlette
    services: Services
    limits: Limits


@asynccontextmanager
async def open_service(
    settings: Settings, *, work: bool = False, ends_stalled: bool = False
) -> AsyncIterator[Service]:
    """Assemble the service; with `work` it works on rows of batches, too.

    With `ends_stalled`, the whole process ends where its event loop stands still.
    """
    async with AsyncExitStack() as stack:
        process = await stack.enter_async_context(open_process(settings, ends_stalled=ends_stalled))
        services = _services(settings, process)
        process.supervisor.start("memory_trimming", partial(give_back_memory, process.load))
        rules = build_rules(process)
        live = build_live(settings, process, rules)
        if work:
            worker = start_worker(settings, process, live)
            stack.push_async_callback(worker.stop)
        batches = build_batches(settings, services, process)
        app = create_app(
            services,
            process.limits,
            [
                *batch_routers(batches, RedisEraser(process.redis), process.supervisor),
                *openai_routers(batches),
                *live_routers(batches, rules, live, process.traces),
            ],
            settings.server.cors_origins,
        )
        app.add_middleware(ProblemsRewritten, applies=is_openai, rewrite=openai_error)
        app.add_middleware(ProblemsRewritten, applies=is_export, rewrite=rpc_status)
        if settings.server.console:
            secret = await shared_secret(process.redis, "console")
            app.mount("/console", build_console(app, services.access, secret))
        process.metrics.add_routes(routes_of(app))
        if process.otel is not None:
            trace_requests(app, process.otel)
        yield Service(app, process.operations, services, process.limits)


def _services(settings: Settings, process: Process) -> Services:
    """What the HTTP layer works with."""
    return Services(
        evaluator=process.evaluator,
        comparer=Comparer(
            process.judging.judges,
            process.screener,
            process.events,
            process.images,
            process.delimiter_key,
            process.gate,
        ),
        access=access(settings, process.events),
        idempotency=RedisIdempotency(
            process.redis, process.supervisor, limits=tenant_limits(settings)
        ),
        gate=process.gate,
        models=process.judging.directory,
        judges=process.judging.judges,
        open_stores=process.records.open,
        usage=process.usage,
        seen=partial(snapshot, process.metrics.registry),
        audit=process.audit,
        upload_bytes_max=settings.records.upload_mb_max * 1024 * 1024,
        events=process.events,
        lifecycle=process.lifecycle,
        load=process.load,
    )


async def run_service(settings: Settings, on_started: Callable[[str, str], None]) -> bool:
    """Serve until SIGTERM or SIGINT; true if everything in flight was finished.

    `on_started` gets the two addresses. Raises `OSError` if a port is taken.
    """
    server = settings.server
    with (
        listen(server.host, server.port) as api,
        listen(server.host, server.metrics_port, "--metrics-port") as operations,
    ):
        addresses = (f"http://{_authority(port.getsockname())}" for port in (api, operations))
        async with open_service(
            settings, work=settings.worker_in_serve, ends_stalled=True
        ) as service:
            return await serve(
                (service.app, api),
                (service.operations, operations),
                lifecycle=service.services.lifecycle,
                load=service.services.load,
                limits=service.limits,
                on_started=lambda: on_started(*addresses),
            )


@asynccontextmanager
async def open_local(settings: Settings) -> AsyncIterator[str]:
    """The service inside this process, for this process: its address on a free port.

    Without a configured Redis, its private Redis uses a folder of its own, so that a service
    already running on the data directory is not disturbed. It works on batches only if the
    settings say so.
    """
    work = settings.batches.worker_in_serve is True
    with _alone(settings) as alone, listen("127.0.0.1", 0) as listener:
        async with open_service(alone, work=work) as service, serving(service.app, listener):
            service.services.lifecycle.phase = "serving"
            yield f"http://{_authority(listener.getsockname())}"


@asynccontextmanager
async def open_models(settings: Settings) -> AsyncIterator[Sequence[ModelLayers]]:
    """Each configured model inside its layers, without a service around them."""
    with _alone(settings) as alone:
        async with AsyncExitStack() as stack:
            clients = await stack.enter_async_context(open_redis(alone))
            events = EventLog()
            supervisor = await stack.enter_async_context(Supervisor(events))
            judging = open_judging(alone, clients.redis, events, supervisor)
            yield (await stack.enter_async_context(judging)).layers


@contextmanager
def _alone(settings: Settings) -> Iterator[Settings]:
    """The settings with a folder of their own, which is gone at the end."""
    with TemporaryDirectory(prefix="assay-") as folder:
        server = settings.server.model_copy(update={"data_dir": Path(folder)})
        auth = AuthSettings(required=False)
        yield settings.model_copy(update={"server": server, "auth": auth})


def access(settings: Settings, events: EventSink) -> Access:
    """Who may call: the holders of the file's keys, or everyone on a loopback host."""
    if settings.auth_required and settings.auth.keys_file is not None:
        return KeysFile(settings.auth.keys_file, events)
    return OpenAccess(LocalHosts(settings.auth.hosts))


def routes_of(app: FastAPI) -> Iterator[tuple[str, str]]:
    """The method and template of every resource of the API."""
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, APIRoute):
            for method in sorted(route.methods or ()):
                yield method, route.original_route.path


def _authority(address: tuple[object, ...]) -> str:
    host, port = str(address[0]), address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
