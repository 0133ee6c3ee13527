"""The process that does rows of batches: the wiring of the service, without its API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

from assay import __version__
from assay.bootstrap.batches import Backlog, build_worker
from assay.bootstrap.from_settings import limits_of, models_of
from assay.bootstrap.judging import open_judging
from assay.bootstrap.readings import GaugeReader
from assay.bootstrap.service import known, open_redis, running
from assay.domain.supervision import Supervisor
from assay.evaluation.evaluator import Evaluator
from assay.evaluation.sandbox.pool import SandboxPool
from assay.http.lifecycle import Lifecycle, Load
from assay.http.operations import create_operations_app
from assay.http.server import SIGNALS, listen, serving
from assay.screening import Screener
from assay.settings import Settings
from assay.telemetry.event_loop import watch_loop
from assay.telemetry.logging import EventLog
from assay.telemetry.metrics import Metrics
from assay.telemetry.sinks import Sinks


class NoSharedRedis(ValueError):
    """A worker of its own needs the Redis that the API uses."""


async def run_worker(settings: Settings, on_started: Callable[[str], None]) -> None:
    """Do rows until SIGTERM or SIGINT, then finish those in hand or give them back.

    `on_started` gets the address of health and metrics. Raises `NoSharedRedis`, and `OSError`
    where the port is taken.
    """
    if not settings.redis.url and settings.redis.url_file is None:
        raise NoSharedRedis(
            "redis.url: a worker of its own needs the Redis of the service; "
            "with a private Redis, `assay serve` does the rows itself"
        )
    metrics = Metrics(known(settings, models_of(settings)), __version__)
    events = Sinks([metrics, EventLog()])
    lifecycle = Lifecycle()
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(listen(settings.server.host, settings.server.metrics_port))
        redis, budgeted = await stack.enter_async_context(open_redis(settings))
        supervisor = await stack.enter_async_context(Supervisor(events))
        judging = await stack.enter_async_context(
            open_judging(settings, redis, events, supervisor, budgeted=budgeted)
        )
        offload = SandboxPool(events)
        stack.push_async_callback(offload.aclose)
        screener = Screener(events)
        stack.push_async_callback(screener.aclose)
        readings = GaugeReader(judging, Load(), limits_of(settings))
        backlog = Backlog(redis)
        await backlog.look()
        metrics.watch(backlog.with_it(readings.read))
        await stack.enter_async_context(
            running(readings.poll(), backlog.poll(), watch_loop(events))
        )
        operations = create_operations_app(lifecycle, metrics.render)
        await stack.enter_async_context(serving(operations, listener))
        evaluator = Evaluator(judging.judges, offload, screener, events)
        worker = build_worker(settings.batches, redis, evaluator, events)
        loop = asyncio.get_running_loop()

        def leave() -> None:
            lifecycle.phase = "draining"
            worker.stop()

        for number in SIGNALS:
            loop.add_signal_handler(number, leave)
        stack.callback(lambda: [loop.remove_signal_handler(number) for number in SIGNALS])
        lifecycle.phase = "serving"
        on_started(f"http://{settings.server.host}:{listener.getsockname()[1]}")
        await worker.run()
