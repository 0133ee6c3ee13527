"""Live: rules that judge the traffic of applications, and its scores by the hour."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from assay.console.api_calls import Api
from assay.console.views import go, page

EVALUATORS_SHOWN = 100
HOURS = (24, 72, 168)
CHANGED = ("evaluator", "filter", "sample_rate", "limit", "group_by", "delay_s", "alert")
"""Fields of a rule that a change of another one sends again."""


async def live(request: Request, api: Api) -> Response:
    """All rules, a form for a new one, and spans that are not understood."""
    rules, evaluators, traces = await asyncio.gather(
        api.get("/v1/rules"), api.get("/v1/evaluators", limit=EVALUATORS_SHOWN),
        api.get("/v1/traces"),
    )  # fmt: skip
    names = [one["name"] for one in evaluators["data"]]
    return page(request, "live.html", rules=rules["data"], evaluators=names, traces=traces)


async def create(request: Request, api: Api) -> Response:
    """Make a rule, and show it."""
    made = await api.post("/v1/rules", _wanted(await request.form()))
    return go(request, f"live/{made['name']}")


async def rule(request: Request, api: Api) -> Response:
    """One rule: what it does, and the mean of each hour with its interval."""
    path, hours = _path(request), request.query_params.get("hours", str(HOURS[0]))
    found, scores = await asyncio.gather(api.get(path), api.get(path + "/scores", hours=hours))
    names = [one["name"] for batch in scores["data"] for one in batch["summary"]["criteria"]]
    return page(
        request, "live_rule.html", rule=found, batches=scores["data"], hours=hours, choices=HOURS,
        criteria=list(dict.fromkeys(names)),
    )  # fmt: skip


async def switch(request: Request, api: Api) -> Response:
    """Stop the rule, or let it judge again."""
    found, form = await api.get(_path(request)), await request.form()
    wanted = {name: found[name] for name in CHANGED}
    wanted["limit"] = {**found["limit"], "per_minute": int(found["limit"]["per_minute"])}
    await api.call("PUT", _path(request), wanted | {"enabled": form.get("enabled") == "true"})
    return go(request, f"live/{found['name']}")


async def delete(request: Request, api: Api) -> Response:
    """Remove a rule; its batches stay."""
    await api.call("DELETE", _path(request))
    return go(request, "live")


def _path(request: Request) -> str:
    return f"/v1/rules/{quote(request.path_params['rule'], safe='')}"


def _wanted(form: FormData) -> dict[str, Any]:
    """The rule in a form; what was left empty is absent."""
    text = {name: str(value).strip() for name, value in form.items() if value}
    wanted: dict[str, Any] = {
        name: text[name] for name in ("name", "evaluator", "filter", "group_by") if text.get(name)
    }
    if share := text.get("percent"):
        wanted["sample_rate"] = _number(share, 100)
    if delay := text.get("delay_s"):
        wanted["delay_s"] = _number(delay)
    limit = {name: _number(text[name]) for name in ("per_minute", "usd_per_day") if name in text}
    return wanted | ({"limit": limit} if limit else {})


def _number(text: str, divisor: int = 1) -> float | str:
    """The number, or the text as it is: the API then says what is wrong with it."""
    try:
        return float(text) / divisor
    except ValueError:
        return text


PAGES = (
    ("/live", live, "GET"),
    ("/live", create, "POST"),
    ("/live/{rule}", rule, "GET"),
    ("/live/{rule}/enabled", switch, "POST"),
    ("/live/{rule}/delete", delete, "POST"),
)
