"""Audit log: what operators and tenants did that cannot be undone, or that concerns others."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from assay.console.api_calls import Api
from assay.console.views import page

FILTERS = ("action", "since")


async def audit(request: Request, api: Api) -> Response:
    """The actions, newest first."""
    query = {name: request.query_params.get(name, "") for name in (*FILTERS, "cursor")}
    found = await api.get("/v1/audit", **query)
    filters = urlencode({name: query[name] for name in FILTERS if query[name]})
    return page(request, "audit.html", found=found, query=query, filters=filters)


PAGES = (("/audit", audit, "GET"),)
