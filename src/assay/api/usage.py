"""/v1/usage: what judge calls took, by day, model, criterion and tenant."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from assay.api.problem_codes import AUTHENTICATED
from assay.api.routes import add_route, json_response
from assay.api.services import Services
from assay.domain.completion import Usage
from assay.domain.errors import RequestError
from assay.domain.suggestions import did_you_mean
from assay.domain.usage import Spent
from assay.http.access import authenticate
from assay.http.keys_file import NAME_CHARS_MAX, is_name
from assay.http.openapi import query_parameter
from assay.http.problems import invalid_request

Group = Literal["tenant", "day", "model", "criterion"]
GROUPS: tuple[Group, ...] = get_args(Group)
PARAMETERS = ("from", "to", "group_by", "tenant")
DAYS, DAYS_MAX = 30, 400
READ_MAX = 12_000
"""Days of all tenants together that one response may read."""
ROWS_MAX = 10_000
TENANT = rf"^[A-Za-z0-9._-]{{1,{NAME_CHARS_MAX}}}$"
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class SpentResponse(BaseModel):
    """What calls took together."""

    calls: int = Field(description="Upstream calls, with those that failed.")
    usage: Usage
    cost_usd: float


class UsageRow(SpentResponse):
    """What the calls of one group took; it has the fields of `group_by`."""

    tenant: str | None = None
    day: date | None = None
    model: str | None = None
    criterion: str | None = Field(
        default=None, description="Its type, with its name after a colon if the caller gave one."
    )


class UsageResponse(BaseModel):
    """The usage of some days, in UTC."""

    object: Literal["usage"] = "usage"
    first: Annotated[date, Field(alias="from")]
    to: date
    group_by: list[Group]
    data: list[UsageRow]
    total: SpentResponse


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """What is asked for; `tenant` is empty for the key's own, and None for all tenants."""

    first: date
    last: date
    group_by: tuple[Group, ...]
    tenant: str | None

    @property
    def days(self) -> list[str]:
        """The days asked for, both ends included."""
        numbers = range(self.first.toordinal(), self.last.toordinal() + 1)
        return [date.fromordinal(number).isoformat() for number in numbers]


def usage_router(services: Services) -> APIRouter:
    """The route that shows what judge calls took."""
    router = APIRouter(tags=["catalogue"])

    async def get_usage(request: Request) -> Response:
        """Calls, tokens and cost of judges, by day, model, criterion or tenant.

        Other tenants' usage needs an API key with `role=operator`.
        """
        own = await services.admit(request)
        query = usage_query(request.query_params.multi_items(), datetime.now(UTC).date())
        if query.tenant != "":
            authenticate(request, services.access, "operator")
        if query.tenant is None:
            tenants = await services.usage.tenants(query.first)
        else:
            tenants = [query.tenant or own]
        rows, total = await _sum_up(services, query, tenants)
        document = {
            "object": "usage",
            "from": query.first,
            "to": query.last,
            "group_by": query.group_by,
            "data": [
                dict(zip(query.group_by, key, strict=True)) | _shown(rows[key])
                for key in sorted(rows)
            ],
            "total": _shown(total),
        }
        return json_response(document)

    codes = (*AUTHENTICATED, "forbidden", "invalid_request", "store_unavailable")
    add_route(router, "GET", "/v1/usage", get_usage, UsageResponse, codes, parameters=_parameters())
    return router


async def _sum_up(
    services: Services, query: UsageQuery, tenants: Sequence[str]
) -> tuple[Mapping[tuple[str, ...], Spent], Spent]:
    """The sums by group, and over all; raises `RequestError` for too many."""
    if len(tenants) * len(query.days) > READ_MAX:
        raise _fault("from", f"spans too many days for {len(tenants)} tenants: name a tenant")
    rows: dict[tuple[str, ...], Spent] = {}
    total = Spent()
    async for key, spent in services.usage.read(tenants, query.days):
        group = tuple(getattr(key, name) for name in query.group_by)
        rows[group] = rows.get(group, Spent()) + spent
        total += spent
        if len(rows) > ROWS_MAX:
            raise _fault("group_by", f"gives more than {ROWS_MAX:,} rows: ask for fewer days")
    return rows, total


def usage_query(given: Sequence[tuple[str, str]], today: date) -> UsageQuery:
    """The query of a request; raises `RequestError` that names the parameter at fault."""
    values: dict[str, str] = {}
    for name, value in given:
        if name not in PARAMETERS:
            hint = did_you_mean(name, PARAMETERS)
            raise invalid_request("", f"{name[:64]!r} is not a parameter{hint}")
        if name in values:
            raise _fault(name, "is given twice")
        values[name] = value
    last = _date("to", values["to"]) if "to" in values else today
    earliest = date.fromordinal(max(1, last.toordinal() - DAYS + 1))
    first = _date("from", values["from"]) if "from" in values else earliest
    if first > last:
        raise _fault("from", "must not be after to")
    if (last - first).days >= DAYS_MAX:
        raise _fault("from", f"must be at most {DAYS_MAX} days before the end")
    group_by = _groups(values.get("group_by", "day"))
    tenant = values.get("tenant", None if "tenant" in group_by else "")
    if "tenant" in values and not is_name(values["tenant"]):
        raise _fault("tenant", "must be the name of a tenant")
    return UsageQuery(first, last, group_by, tenant)


def _groups(text: str) -> tuple[Group, ...]:
    names = text.split(",")
    unknown = next((name for name in names if name not in GROUPS), None)
    if unknown is not None or len(set(names)) < len(names):
        hint = "" if unknown is None else did_you_mean(unknown, GROUPS)
        raise _fault("group_by", f"must be one or more of {', '.join(GROUPS)}{hint}")
    return tuple(name for name in GROUPS if name in names)


def _date(name: str, text: str) -> date:
    try:
        if DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise _fault(name, "must be a date such as 2026-11-26")


def _fault(name: str, message: str) -> RequestError:
    return invalid_request("", f"{name} {message}")


def _shown(spent: Spent) -> dict[str, Any]:
    return {"calls": spent.calls, "usage": spent.usage, "cost_usd": spent.cost_usd}


def _parameters() -> list[dict[str, Any]]:
    """The OpenAPI parameters."""
    day = {"type": "string", "format": "date"}
    groups = {
        "type": "array",
        "items": {"enum": list(GROUPS)},
        "minItems": 1,
        "uniqueItems": True,
        "default": ["day"],
    }
    described: dict[str, tuple[dict[str, Any], str]] = {
        "from": (day, f"First day, in UTC. Default: {DAYS} days with the last one."),
        "to": (day, f"Last day, in UTC; at most {DAYS_MAX} days in all. Default: today."),
        "group_by": (groups, "What the rows tell apart, with commas. `tenant`: for operators."),
        "tenant": (
            {"type": "string", "pattern": TENANT},
            "Another tenant than the key's own: for operators.",
        ),
    }
    return [
        {
            **query_parameter(name, text, schema),
            **({"explode": False} if name == "group_by" else {}),
        }
        for name, (schema, text) in described.items()
    ]
