"""The operations application: probes and metrics, on a port of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from assay.http.hosts import LocalHosts
from assay.http.lifecycle import Lifecycle

Render = Callable[[str], tuple[bytes, str]]
"""Renders the metrics in the format that an `Accept` header asks for, with their content type."""


def create_operations_app(
    lifecycle: Lifecycle,
    render: Render,
    failing: Callable[[], Sequence[str]] = tuple,
    store_available: Callable[[], bool] = lambda: True,
    hosts: LocalHosts | None = None,
    *,
    needs_store: bool = False,
) -> Starlette:
    """`/healthz` (the event loop runs), `/readyz` (accepts traffic) and `/metrics`.

    `failing` names the background tasks that fail and that the process cannot do without. While
    Redis is unavailable, batches and idempotency keys wait: `/readyz` says so, and is 503 where the
    process `needs_store`. On a loopback port, `hosts` are the names under which metrics may be
    read.
    """

    async def healthz(_: Request) -> Response:
        return _status_response(200, "ok")

    async def readyz(_: Request) -> Response:
        tasks = failing()
        if lifecycle.ready and tasks:
            return _status_response(503, "failing", tasks=list(tasks))
        if lifecycle.ready and not store_available():
            status = 503 if needs_store else 200
            return _status_response(status, "degraded", unavailable=["redis"])
        return _status_response(200 if lifecycle.ready else 503, lifecycle.phase)

    async def metrics(request: Request) -> Response:
        if hosts is not None and not hosts.admits(request.headers.get("host", "")):
            return _status_response(403, "the Host is not this machine")
        body, content_type = render(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
        ]
    )


def _status_response(status: int, state: str, **details: Sequence[str]) -> Response:
    body = orjson.dumps({"status": state, **details})
    return Response(body, status, media_type="application/json")
