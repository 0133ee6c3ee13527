"""What routes have in common: how they are documented, and how they write JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from assay.domain.exact_json import dumps
from assay.domain.problem_codes import ProblemCode
from assay.http.openapi import (
    IDEMPOTENCY_KEY,
    REPLAYED_RESPONSE,
    problems,
    query_flag,
    request_body,
    text_content,
)
from assay.http.pagination import Paging
from assay.http.problems import invalid_request

ERASE = query_flag("erase", "Free the name at once, and keep nothing.")


def add_route(
    router: APIRouter,
    method: str,
    path: str,
    endpoint: Callable[..., Awaitable[Response]],
    response: Any,
    codes: Sequence[ProblemCode],
    *,
    body: type[BaseModel] | None = None,
    status: int = 200,
    page: Paging | None = None,
    uploads: Iterable[str] = (),
    downloads: Iterable[str] = (),
    parameters: Sequence[Mapping[str, Any]] = (),
    replayed: bool = False,
    others: Mapping[int | str, dict[str, Any]] | None = None,
    operation_id: str | None = None,
) -> None:
    """Add a route that reads its body by hand; its operation is named like the endpoint
    unless it has an `operation_id`.

    `response` is the model of its body, or None for a response without one. `uploads` are the media
    types of a file that is its body, `downloads` those of a response besides JSON. With `replayed`,
    it takes an `Idempotency-Key`, and the response says whether it is that of an earlier request.
    `others` are responses with other statuses than `status`.
    """
    extra: dict[str, Any] = {} if body is None else request_body(body)
    if content := text_content(uploads):
        sent = extra.setdefault("requestBody", {"required": True, "content": {}})
        sent["content"] |= content
    keyed = [IDEMPOTENCY_KEY] if replayed else []
    if given := [*keyed, *(page.parameters() if page else ()), *parameters]:
        extra["parameters"] = given
    answer = {"model": response, **(REPLAYED_RESPONSE if replayed else {})}
    if downloads:
        answer["content"] = text_content(downloads)
    router.add_api_route(
        path,
        endpoint,
        methods=[method],
        operation_id=operation_id or endpoint.__name__,
        status_code=status,
        response_model=None,
        responses={**({status: answer} if response else {}), **(others or {}), **problems(*codes)},
        openapi_extra=extra,
    )


def json_response(
    document: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A response of JSON."""
    return Response(dumps(document), status, headers, media_type="application/json")


def list_document(
    found: Sequence[Mapping[str, Any]], limit: int, cursor: str = "id"
) -> dict[str, Any]:
    """A page of a list, from one more document than the page may have if there are more.

    `cursor` is the member by which the next page goes on.
    """
    return page_document(
        found[:limit], str(found[limit - 1][cursor]) if len(found) > limit else None
    )


def page_document(data: Sequence[Any], next_cursor: str | None) -> dict[str, Any]:
    """A page of a list; `next_cursor` is None for the last page."""
    has_more = next_cursor is not None
    return {"object": "list", "data": data, "has_more": has_more, "next_cursor": next_cursor}


def flag(request: Request, name: str) -> bool:
    """A parameter of the query that is true or false; false where it is absent."""
    value = request.query_params.get(name, "false")
    if value not in ("true", "false"):
        raise invalid_request("", f"{name} must be true or false")
    return value == "true"


def text_parameters(request: Request, names: Iterable[str]) -> dict[str, str]:
    """Those of the query's parameters that are given; raises `RequestError`."""
    given = {name: value for name in names if (value := request.query_params.get(name)) is not None}
    if any("\0" in value for value in given.values()):
        raise invalid_request("", "parameters must not contain a NUL character")
    return given
