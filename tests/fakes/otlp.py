"""An OTLP/HTTP receiver: decodes what a real exporter sends with OpenTelemetry's own protobuf."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

REQUESTS = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}
WAIT_S = 20.0


@dataclass
class OtlpReceiver:
    """What arrived, and how the receiver answers: `status`, after `hold` where that is set."""

    url: str = ""
    status: int = 200
    body: bytes = b""
    hold: asyncio.Event | None = None
    requests: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in REQUESTS})
    refused: int = 0

    @property
    def spans(self) -> list[Any]:
        """Every span that arrived."""
        return [
            span
            for request in self.requests["traces"]
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def events(self) -> list[Any]:
        """Every log record that arrived."""
        return [
            record
            for request in self.requests["logs"]
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    @property
    def metrics(self) -> dict[str, Any]:
        """The newest of each metric that arrived."""
        return {
            metric.name: metric
            for request in self.requests["metrics"]
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def named(self, name: str) -> list[Any]:
        """The spans of that name."""
        return [span for span in self.spans if span.name == name]

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until the condition holds; its value."""
        async with asyncio.timeout(WAIT_S):
            while not (value := condition()):  # noqa: ASYNC110  # of any kind
                await asyncio.sleep(0.02)
        return value

    async def receive(self, request: web.Request) -> web.Response:
        if self.hold is not None:
            await self.hold.wait()
        if self.status != 200:
            self.refused += 1
            return web.Response(status=self.status, body=self.body)
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        signal = request.match_info["signal"]
        self.requests[signal].append(REQUESTS[signal].FromString(body))
        return web.Response(body=self.body, content_type="application/x-protobuf")


def attributes(item: Any) -> dict[str, Any]:
    """The attributes of a span, an event or a point, as Python's values."""
    return {entry.key: _value(entry.value) for entry in item.attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(inner) for inner in value.array_value.values]
    return getattr(value, kind)


def points(metric: Any) -> Iterator[Any]:
    """The points of a metric, of whatever kind it is."""
    return iter(getattr(metric, metric.WhichOneof("data")).data_points)


@contextlib.asynccontextmanager
async def otlp_receiver() -> AsyncIterator[OtlpReceiver]:
    """A receiver on a free port of this machine."""
    receiver = OtlpReceiver()
    app = web.Application(client_max_size=256 * 1024 * 1024)
    app.router.add_post("/v1/{signal}", receiver.receive)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        if receiver.hold is not None:
            receiver.hold.set()
        await runner.cleanup()
