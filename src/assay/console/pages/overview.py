"""Overview: is the service well, and what does it cost."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from assay.console.api_calls import Api
from assay.console.views import page

BATCHES_SHOWN = 6


async def overview(request: Request, api: Api) -> Response:
    """Models, today's spending and the latest batches; what cannot be read says why."""
    today = datetime.now(UTC).date().isoformat()
    models, usage, batches = await asyncio.gather(
        api.get("/v1/models"),
        api.get_or_problem("/v1/usage", **{"from": today, "to": today, "group_by": "model"}),
        api.get_or_problem("/v1/batches", limit=BATCHES_SHOWN),
    )
    spent = {row["model"]: row for row in usage["data"]}
    return page(
        request, "overview.html", models=models["data"], usage=usage, spent=spent, batches=batches
    )


PAGES = (("/", overview, "GET"),)
