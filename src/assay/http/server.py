"""Runs the API and the operations app in one event loop, and drains them before exit."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator

import uvicorn
from starlette.types import ASGIApp

from assay.http.lifecycle import Lifecycle, Load
from assay.http.limits import Limits
from assay.http.memory import settle_memory
from assay.http.protocol import PacedConnection

logger = logging.getLogger(__name__)

BACKLOG = 2_048
ACCEPTED_AT_ONCE = 16
"""How many connections a turn of the event loop takes. libuv takes one from each socket that it
listens to: on a busy loop, the last of 256 new connections was answered after three seconds."""
KEEP_ALIVE_S = 75
"""Longer than the 60 s of common gateways: they must be the first to close a connection."""
DRAIN_MARGIN_S = 2.0
"""Added to the longest deadline, for responses on their way."""
CLOSE_S = 10
"""For responses that wait in a buffer for a slow reader."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def listen(host: str, port: int, option: str = "--port") -> socket.socket:
    """A listening socket; port 0 takes a free port.

    Raises `OSError` if the port is taken, with a message that names the `option` of the port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise OSError(
            f"port {port} of {host} is already in use; choose another one with {option}"
        ) from None


async def serve(
    *apps: tuple[ASGIApp, socket.socket],
    lifecycle: Lifecycle,
    load: Load,
    limits: Limits,
    on_started: Callable[[], None] = lambda: None,
) -> bool:
    """Serve until SIGTERM or SIGINT, then drain; true if everything in flight was finished.

    `apps` are applications, each with its listening socket. A second signal ends the drain at once.
    """
    with handled_signals() as signals:
        servers = [_Server(server_config(app)) for app, _ in apps]
        listeners = [_copies(listener) for _, listener in apps]
        running = [
            asyncio.create_task(server.serve(sockets=sockets))
            for server, sockets in zip(servers, listeners, strict=True)
        ]
        try:
            await _started(servers, running)
            settle_memory()
            lifecycle.phase = "serving"
            on_started()
            await _first(signals, *running)
            drained = await _drain(signals, lifecycle, load, limits)
            for server in servers:
                server.should_exit = True
                server.force_exit = not drained
            if drained:
                await asyncio.gather(*running)
            return drained
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, listener: socket.socket) -> AsyncIterator[uvicorn.Server]:
    """Serve one app for as long as the context lasts, without handling signals."""
    server = _Server(server_config(app))
    running = asyncio.create_task(server.serve(sockets=_copies(listener)))
    try:
        await _started([server], [running])
        yield server
    finally:
        server.should_exit = True
        server.force_exit = True
        await running


def _copies(listener: socket.socket) -> list[socket.socket]:
    """The listening socket under several descriptors; it is closed with the last of them."""
    return [listener, *(listener.dup() for _ in range(ACCEPTED_AT_ONCE - 1))]


async def _drain(
    signals: asyncio.Queue[int], lifecycle: Lifecycle, load: Load, limits: Limits
) -> bool:
    """Fail readiness, wait for the load balancer, refuse new work, and finish the rest."""
    lifecycle.phase = "leaving"
    logger.info("shutting down: readiness fails, %d requests in flight", load.requests)
    second = asyncio.create_task(signals.get())
    try:
        await asyncio.wait([second], timeout=limits.drain_delay_s)
        lifecycle.phase = "draining"
        if second.done():
            return False
        idle = asyncio.create_task(load.idle.wait())
        longest_s = limits.body_timeout_s + limits.request_timeout_ms / 1_000 + DRAIN_MARGIN_S
        await asyncio.wait([second, idle], timeout=longest_s, return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        if load.requests:
            logger.warning("exiting with %d unfinished requests", load.requests)
        return load.requests == 0
    finally:
        second.cancel()


async def _first(signals: asyncio.Queue[int], *running: asyncio.Task[None]) -> None:
    """Wait for a signal; a server that ends by itself is an error."""
    signalled = asyncio.create_task(signals.get())
    done, _ = await asyncio.wait([signalled, *running], return_when=asyncio.FIRST_COMPLETED)
    signalled.cancel()
    for task in done - {signalled}:
        task.result()
        raise RuntimeError("a server ended without a signal")


async def _started(servers: list[_Server], running: list[asyncio.Task[None]]) -> None:
    while not all(server.started for server in servers):
        for task in running:
            if task.done():
                task.result()
        await asyncio.sleep(0.005)


@contextlib.contextmanager
def handled_signals() -> Iterator[asyncio.Queue[int]]:
    """SIGTERM and SIGINT go into a queue; when it is full, another one adds nothing."""
    loop = asyncio.get_running_loop()
    signals: asyncio.Queue[int] = asyncio.Queue(maxsize=16)

    def take(number: int) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            signals.put_nowait(number)

    for number in SIGNALS:
        loop.add_signal_handler(number, take, number)
    try:
        yield signals
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


def server_config(app: ASGIApp) -> uvicorn.Config:
    """The configuration of a server: no access log, no lifespan, bounded connections."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=PacedConnection,  # type: ignore[arg-type]  # uvicorn only calls it with these settings
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=CLOSE_S,
    )


class _Server(uvicorn.Server):
    """A server that handles no signals: two of them share the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
