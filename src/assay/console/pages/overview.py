"""Overview: is the service well, and what does it cost."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from assay.console.api_calls import Api
from assay.console.views import page

BATCHES_SHOWN, DAYS_SHOWN = 6, 14


async def overview(request: Request, api: Api) -> Response:
    """Models, spending and the latest batches; what cannot be read says why."""
    today = datetime.now(UTC).date()
    days = [(today - timedelta(days=ago)).isoformat() for ago in reversed(range(DAYS_SHOWN))]
    models, seen, usage, history, batches = await asyncio.gather(
        api.get("/v1/models"),
        api.get("/v1/status"),
        api.get_or_problem("/v1/usage", **_usage(days[-1], days[-1], "model")),
        api.get_or_problem("/v1/usage", **_usage(days[0], days[-1], "day")),
        api.get_or_problem("/v1/batches", limit=BATCHES_SHOWN),
    )
    tenants: dict[str, Any] = {"data": []}
    if api.identity.role == "operator":
        tenants = await api.get_or_problem("/v1/usage", **_usage(days[-1], days[-1], "tenant"))
    by_day = {row["day"]: row for row in history["data"]}
    return page(
        request, "overview.html", models=models["data"], seen=seen, usage=usage,
        tenants=tenants, spent={row["model"]: row for row in usage["data"]}, batches=batches,
        days=[(day, by_day.get(day, {"calls": 0, "cost_usd": 0.0})) for day in days],
    )  # fmt: skip


def _usage(first: str, last: str, group_by: str) -> dict[str, Any]:
    return {"from": first, "to": last, "group_by": group_by}


PAGES = (("/", overview, "GET"),)
