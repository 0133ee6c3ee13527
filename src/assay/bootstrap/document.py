"""The OpenAPI document of a service with every resource, made without a connection."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from assay.api.app import create_app
from assay.api.batches.services import Batches
from assay.api.services import Services
from assay.bootstrap.batches import batch_routers, live_routers
from assay.bootstrap.from_settings import limits_from_settings
from assay.bootstrap.openai_evals import openai_routers
from assay.settings import Settings


def openapi_document() -> dict[str, Any]:
    """What `/openapi.json` of every service says."""
    return unconnected_app().openapi()


def unconnected_app() -> FastAPI:
    """The API with all of its routes, and nothing behind them."""
    absent: Any = None
    limits = limits_from_settings(Settings())
    services = Services(*[absent] * 9)
    batches = Batches(services, limits, *[absent] * 5)
    routers = [*batch_routers(batches, absent, absent), *openai_routers(batches)]
    return create_app(services, limits, [*routers, *live_routers(batches, absent, absent, absent)])
