"""The pages, one module for each entry of the navigation."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.types import ASGIApp

from assay.console.app import Console
from assay.console.pages import (
    audit,
    batches,
    calibrations,
    compare,
    datasets,
    evaluators,
    labels,
    live,
    models,
    overview,
    playground,
    tables,
)
from assay.http.access import Access


def build_console(app: ASGIApp, access: Access, secret: bytes) -> Starlette:
    """The console over the API `app`; `secret` signs its sessions."""
    modules = (
        *(overview, playground, evaluators, datasets, batches, compare, labels, calibrations),
        *(live, models, audit, tables),
    )
    pages = [one for module in modules for one in module.PAGES]
    return Console(app, access, secret).build(pages)
