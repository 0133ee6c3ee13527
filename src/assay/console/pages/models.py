"""Models: state, price and end of life, and an operator's commands to their breakers."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from assay.console.api_calls import Api
from assay.console.views import go, page


async def models(request: Request, api: Api) -> Response:
    """All models."""
    found, seen = await asyncio.gather(api.get("/v1/models"), api.get("/v1/status"))
    return page(request, "models.html", models=found["data"], calls=seen["calls"])


async def command(request: Request, api: Api) -> Response:
    """Force a breaker open, disable it, or return it to normal operation."""
    form = await request.form()
    path = f"/v1/models/{request.path_params['model']}/breaker"
    await api.call("PUT", path, {"state": str(form.get("state", ""))})
    return go(request, "models")


PAGES = (("/models", models, "GET"), ("/models/{model:path}/breaker", command, "POST"))
