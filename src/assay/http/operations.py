"""The operations application: probes and metrics, on a port of their own."""

from __future__ import annotations

from collections.abc import Callable

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from assay.http.lifecycle import Lifecycle

Render = Callable[[str], tuple[bytes, str]]
"""Renders the metrics in the format that an `Accept` header asks for, with their content type."""


def create_operations_app(lifecycle: Lifecycle, render: Render) -> Starlette:
    """`/healthz` (the event loop runs), `/readyz` (accepts traffic) and `/metrics`."""

    async def healthz(_: Request) -> Response:
        return _status_response(200, "ok")

    async def readyz(_: Request) -> Response:
        return _status_response(200 if lifecycle.ready else 503, lifecycle.phase)

    async def metrics(request: Request) -> Response:
        body, content_type = render(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
        ]
    )


def _status_response(status: int, phase: str) -> Response:
    return Response(orjson.dumps({"status": phase}), status, media_type="application/json")
