"""Overview: is the service well, and what does it cost."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from assay.console.api_calls import Api, ApiError
from assay.console.views import page

BATCHES_SHOWN = 6


async def overview(request: Request, api: Api) -> Response:
    """Models, today's spending and the latest batches; what cannot be read says why."""
    models, usage, batches = await asyncio.gather(
        api.get("/v1/models"),
        _or_problem(_usage(api)),
        _or_problem(api.get("/v1/batches", limit=BATCHES_SHOWN)),
    )
    spent = {row["model"]: row for row in usage["data"]}
    return page(
        request, "overview.html", models=models["data"], usage=usage, spent=spent, batches=batches
    )


async def _usage(api: Api) -> Any:
    today = datetime.now(UTC).date().isoformat()
    return await api.call(
        "GET", "/v1/usage", query={"from": today, "to": today, "group_by": "model"}
    )


async def _or_problem(call: Any) -> Any:
    """The document, or the problem in its place: one part of a page may fail alone."""
    try:
        return await call
    except ApiError as error:
        return {"problem": str(error), "data": []}


PAGES = (("/", overview, "GET"),)
