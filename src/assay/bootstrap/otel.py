"""Turns OpenTelemetry on where the configuration or the environment names a collector."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from assay import __version__
from assay.domain.models import Model
from assay.settings import Settings

if TYPE_CHECKING:
    from assay.telemetry.otel.conventions import Upstream
    from assay.telemetry.otel.exporting import Signal
    from assay.telemetry.otel.spans import Spans

logger = logging.getLogger(__name__)

VARIABLE = "OTEL_EXPORTER_OTLP_"
SIGNALS: tuple[Signal, ...] = ("traces", "logs", "metrics")


def otel_endpoints(
    settings: Settings, environ: Mapping[str, str] = os.environ
) -> dict[Signal, str | None]:
    """Where each signal is exported, None for what the environment says; empty: nothing is.

    The setting names the base of all signals; the variables of OpenTelemetry name it, or an address
    of one signal alone, and can turn a signal off.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return {}
    found: dict[Signal, str | None] = {}
    for signal in SIGNALS:
        upper = signal.upper()
        exporters = environ.get(f"OTEL_{upper}_EXPORTER", "").strip() or "otlp"
        if "otlp" not in exporters.split(","):
            continue
        if settings.otel.endpoint:
            found[signal] = f"{settings.otel.endpoint.rstrip('/')}/v1/{signal}"
        elif environ.get(f"{VARIABLE}{upper}_ENDPOINT") or environ.get(f"{VARIABLE}ENDPOINT"):
            found[signal] = None
    return found


@asynccontextmanager
async def open_otel(
    settings: Settings, models: Sequence[Model], registry: CollectorRegistry
) -> AsyncIterator[Spans | None]:
    """What describes events to OpenTelemetry; None where it is off, and nothing of it is loaded."""
    endpoints = otel_endpoints(settings)
    if not endpoints:
        yield None
        return
    try:
        from assay.telemetry.otel.exporting import open_pipelines  # noqa: PLC0415  # an extra
        from assay.telemetry.otel.spans import Spans  # noqa: PLC0415
    except ImportError:
        logger.warning(
            "OpenTelemetry is configured, but its library is not installed, so nothing is sent: "
            "pip install 'assay-judge[server,otel]'"
        )
        yield None
        return
    if os.environ.get(f"{VARIABLE}PROTOCOL", "").startswith("grpc"):
        logger.warning("%sPROTOCOL: only http/protobuf is spoken, on port 4318 as a rule", VARIABLE)
    pipelines = open_pipelines(endpoints, __version__, registry)
    try:
        yield Spans(
            pipelines,
            _upstreams(settings, models),
            __version__,
            explains=settings.otel.explanations,
        )
    finally:
        await pipelines.aclose()


def trace_requests(app: FastAPI, spans: Spans) -> None:
    """Give each request a span, around everything else."""
    from assay.telemetry.otel.spans import TracedRequests  # noqa: PLC0415

    app.add_middleware(TracedRequests, spans=spans)


def _upstreams(settings: Settings, models: Sequence[Model]) -> dict[str, Upstream]:
    from assay.telemetry.otel.conventions import Upstream, provider_name  # noqa: PLC0415

    upstreams = {}
    for model in models:
        provider = settings.providers[model.provider]
        url = urlsplit(provider.url)
        port = url.port or {"http": 80, "https": 443}.get(url.scheme)
        name = provider_name(model.provider, provider.protocol, model.host)
        upstreams[model.id] = Upstream(model, name, port, provider.stream)
    return upstreams
