"""What the resources of this surface work with, handed in by the composition root."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import APIRouter
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from assay.catalog.stores import OpenStores, Stores
from assay.criteria.locations import location_as_sent
from assay.domain.completion import Caller
from assay.domain.errors import FieldError, RequestError
from assay.domain.exact_json import dumps
from assay.domain.json_pointer import json_pointer
from assay.domain.policy import Deadline
from assay.domain.ports import Judges
from assay.domain.records import StoredObject
from assay.domain.tenants import TenantGate
from assay.evaluation.ports import Evaluates
from assay.http.access import Access
from assay.http.body import read_json
from assay.http.limits import Limits
from assay.http.problems import fault_sentence, invalid_request
from assay.openai_evals.batch_runs import BatchRuns

Model = TypeVar("Model", bound=BaseModel)
EVAL, RUN, FILE = "eval", "evalrun", "file"
"""Kinds of stored objects."""
PAGE_DEFAULT, PAGE_MAX = 20, 100


@dataclass(frozen=True, slots=True)
class Backend:
    """The use cases behind the surface; `admit` is the tenant of a request."""

    admit: Callable[[Request], Awaitable[str]]
    access: Access
    evaluator: Evaluates
    judges: Judges
    gate: TenantGate
    open_stores: OpenStores
    limits: Limits
    runs: BatchRuns
    private_webhooks: bool = False

    async def opened(self, request: Request) -> tuple[str, Stores]:
        """The tenant of a request, and the stores."""
        return await self.admit(request), await self.open_stores()

    async def remove_run(self, stores: Stores, tenant: str, run: StoredObject) -> None:
        """Remove a run with its results, and with the rows that it brought."""
        await self.runs.delete(tenant, run.document["batch"])
        if run.document["dataset"] == run.id:
            await stores.datasets.delete(tenant, run.id, erase=True)
        await stores.objects.delete(tenant, RUN, run.id)

    def deadline(self) -> Deadline:
        """When a request's response is due."""
        limits = self.limits
        return Deadline.after(min(limits.default_timeout_ms, limits.request_timeout_ms) / 1_000)


def caller_of(request: Request) -> Caller:
    """Who the calls of an admitted request are made for."""
    return Caller(request.state.tenant, request.state.request_id)


async def read_body(request: Request, model: type[Model]) -> Model:
    """The body of a request; raises `RequestError` with the place of each fault."""
    return validated(model, (await read_json(request)).document)


def validated(model: type[Model], document: Any) -> Model:
    """A document as a model; raises `RequestError` with the place of each fault."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise request_error(error, document) from None


def request_error(
    error: ValidationError, document: Any, *, at: tuple[str, ...] = ()
) -> RequestError:
    """The faults of a document that stands `at` a place of the request."""
    faults = [
        FieldError(
            json_pointer((*at, *location_as_sent(document, fault["loc"], fault["type"]))),
            str(fault["msg"]),
        )
        for fault in error.errors(include_url=False, include_input=False)[:20]
    ]
    first = faults[0]
    return RequestError("invalid_request", fault_sentence(first.pointer, first.message), faults)


def router_of(prefix: str, *routes: tuple[str, str, Callable[..., Any]]) -> APIRouter:
    """The routes of a resource: a method, a path below the prefix, and the endpoint of each."""
    router = APIRouter(prefix=prefix, include_in_schema=False)
    for method, path, endpoint in routes:
        router.add_api_route(path, endpoint, methods=[method], response_model=None)
    return router


def answer(document: Mapping[str, Any], status: int = 200) -> Response:
    """A response of JSON."""
    return Response(dumps(document), status, media_type="application/json")


def seconds(at_ms: int) -> int:
    """A time as OpenAI shows it."""
    return at_ms // 1_000


def list_answer(found: Sequence[Mapping[str, Any]], limit: int) -> Response:
    """A page, from one more document than it may have if there are more."""
    data = found[:limit]
    return answer(
        {
            "object": "list",
            "data": data,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": len(found) > limit,
        }
    )


@dataclass(frozen=True, slots=True)
class Page:
    """What a list asks for."""

    after: str
    limit: int
    descending: bool
    by_update: bool
    status: str


def page_of(request: Request, *, statuses: Sequence[str] = (), descending: bool = False) -> Page:
    """The query of a list; raises `RequestError`."""
    query = request.query_params
    order = _one_of(request, "order", ("asc", "desc"), "desc" if descending else "asc")
    by = _one_of(request, "order_by", ("created_at", "updated_at"), "created_at")
    limit = query.get("limit", str(PAGE_DEFAULT))
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:9]) <= PAGE_MAX:
        raise invalid_request("/limit", f"must be from 1 to {PAGE_MAX}")
    status = _one_of(request, "status", ("", *statuses), "")
    return Page(query.get("after", ""), int(limit), order == "desc", by == "updated_at", status)


def _one_of(request: Request, name: str, allowed: Sequence[str], default: str) -> str:
    value = request.query_params.get(name, default)
    if value not in allowed:
        raise invalid_request(f"/{name}", "must be one of " + ", ".join(filter(None, allowed)))
    return value


async def page_of_objects(
    stores: Stores, tenant: str, kind: str, page: Page, parent: str = ""
) -> Sequence[StoredObject]:
    """The objects of a page, and one more if there is one."""
    return await stores.objects.page(
        tenant,
        kind,
        parent,
        after=page.after,
        limit=page.limit + 1,
        descending=page.descending,
        by_update=page.by_update,
    )
