"""Bounds the time to open a connection, by a clock that stops while this process is busy."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import aiohttp

TICKS = 20
"""Parts of the limit; each counts once, however late the event loop runs it."""


class ConnectTimeout:
    """Expires a timeout when a connection takes longer than `limit_s` to open.

    A burst of large bodies keeps the event loop from its sockets. Then this process is late and
    not the provider, whose breaker must not open.
    """

    def __init__(self, timeout: asyncio.Timeout, limit_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout = timeout
        self._tick_s = limit_s / TICKS
        self._left = TICKS
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._timer = self._loop.call_later(self._tick_s, self._tick)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._left -= 1
        if self._left > 0:
            self.start()
        else:
            self._timeout.reschedule(self._loop.time())


def tracing() -> aiohttp.TraceConfig:
    """Runs the `ConnectTimeout` in a request's `trace_request_ctx` while it connects."""
    config = aiohttp.TraceConfig()
    config.on_connection_create_start.append(_connecting)
    config.on_connection_create_end.append(_connected)
    return config


async def _connecting(
    _session: aiohttp.ClientSession,
    context: SimpleNamespace,
    _params: aiohttp.TraceConnectionCreateStartParams,
) -> None:
    context.trace_request_ctx.start()


async def _connected(
    _session: aiohttp.ClientSession,
    context: SimpleNamespace,
    _params: aiohttp.TraceConnectionCreateEndParams,
) -> None:
    context.trace_request_ctx.stop()
