"""Builds and runs the process that only works on rows of batches."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

from assay.bootstrap.batches import build_live, build_rules, start_worker
from assay.bootstrap.process import open_process
from assay.http.server import handled_signals, listen, serving
from assay.settings import Settings


async def run_worker(settings: Settings, on_started: Callable[[str], None]) -> None:
    """Work on rows until SIGTERM or SIGINT, then finish those in hand or give them back.

    `on_started` gets the address of health and metrics. Raises `ValueError` without a
    shared Redis, and `OSError` if the port is taken.
    """
    if not settings.redis.is_shared:
        raise ValueError(
            "redis.url is not set: `assay worker` needs the Redis that `assay serve` uses. "
            "With a private Redis, `assay serve` works on the rows itself."
        )
    async with AsyncExitStack() as stack:
        server = settings.server
        listener = stack.enter_context(listen(server.host, server.metrics_port, "--metrics-port"))
        process = await stack.enter_async_context(
            open_process(settings, needs_store=True, ends_stalled=True)
        )
        await stack.enter_async_context(serving(process.operations, listener))
        signals = stack.enter_context(handled_signals())
        live = build_live(settings, process, build_rules(process))
        worker = start_worker(settings, process, live)
        stack.push_async_callback(worker.stop)
        process.lifecycle.phase = "serving"
        on_started(f"http://{server.host}:{listener.getsockname()[1]}")
        await signals.get()
        process.lifecycle.phase = "draining"
