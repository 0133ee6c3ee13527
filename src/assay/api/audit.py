"""/v1/audit: who did what cannot be undone, or concerns others."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import ClassVar, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from assay.api.problem_codes import AUTHENTICATED
from assay.api.responses import EXACT
from assay.api.routes import add_route, json_response, page_document, text_parameters
from assay.api.services import Services
from assay.domain.audit import Action
from assay.http.openapi import query_parameter
from assay.http.pagination import Paging
from assay.http.problems import invalid_request

PAGE = Paging(largest=1_000, default=100, cursor_pattern="[0-9]{1,15}-[0-9]{1,10}")
FILTERS = [
    query_parameter("action", "Only this one, such as `delete_dataset`."),
    query_parameter(
        "since",
        "Only from this time on; a date begins at midnight in UTC.",
        {"type": "string", "format": "date-time"},
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionResponse(Action):
    """Who did what to what, with which result."""

    __pydantic_config__: ClassVar[ConfigDict] = EXACT

    id: str
    object: Literal["action"] = "action"


class ActionListResponse(BaseModel):
    """Actions, newest first."""

    object: Literal["list"] = "list"
    data: list[ActionResponse]
    has_more: bool
    next_cursor: str | None


def audit_router(services: Services) -> APIRouter:
    """The route that lists actions."""
    router = APIRouter(tags=["catalogue"])

    async def list_actions(request: Request) -> Response:
        """List what was done, in all tenants, that cannot be undone or concerns others.

        Needs an API key with `role=operator`. With a filter, a page may be short, or empty, and
        still have a `next_cursor`: only a part of the log was searched.
        """
        await services.admit(request, "operator")
        before, limit = PAGE.cursor(request), PAGE.limit(request)
        given = text_parameters(request, ("action", "since"))
        since_ms = _time_ms(given["since"]) if "since" in given else 0
        found = await services.audit.page(before, limit, since_ms, given.get("action", ""))
        data = [{"id": id_, "object": "action", **asdict(one)} for id_, one in found.actions]
        return json_response(page_document(data, found.next_cursor))

    codes = (*AUTHENTICATED, "forbidden", "invalid_request", "store_unavailable")
    add_route(
        router, "GET", "/v1/audit", list_actions, ActionListResponse, codes,
        parameters=[*FILTERS, *PAGE.parameters()],
    )  # fmt: skip
    return router


def _time_ms(text: str) -> int:
    """Milliseconds since 1970; raises `RequestError`."""
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is None and len(text) == len("2026-12-31"):
            time = time.replace(tzinfo=UTC)
        if time.tzinfo is not None:
            return max(0, int(time.timestamp() * 1_000))
    except (ValueError, OverflowError):
        pass
    raise invalid_request("", "since must be like 2026-12-31 or 2026-12-31T18:00:00Z")
