"""/v1/batches: made, listed, looked at, started, cancelled, deleted."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from assay.api.batches.items import add_inline
from assay.api.batches.requests import BatchRequest, new_secret
from assay.api.batches.responses import BatchAnswer, BatchesAnswer, batch_document
from assay.api.batches.services import Batches, is_batch_id
from assay.api.judged_request import deadline_of
from assay.api.validation import invalid, validate
from assay.criteria.base import judge_spec
from assay.domain.batches import BATCH_ID_KIND, Batch, NewBatch
from assay.domain.errors import RequestError
from assay.domain.events import BatchEnded
from assay.domain.ids import id_at
from assay.domain.targets import target_fault
from assay.evaluation.selection import judges_of
from assay.http.body import read_json
from assay.http.idempotency import is_keyed, run_idempotently
from assay.http.openapi import REPLAYED_RESPONSE, problems, request_body

LIST_MAX = 100
LIST_DEFAULT = 20
CURSOR_DIGITS_MAX = 16
CURSOR_FAULT = "cursor must be one that an answer gave"
CREATED = 201
CODES = ("unauthenticated", "not_found", "internal", "overloaded", "store_unavailable")
CREATE_CODES = (
    "malformed_json",
    "unauthenticated",
    "request_timeout",
    "body_too_large",
    "unsupported_media_type",
    "invalid_request",
    "idempotency_key_reused",
    "unknown_criterion",
    "unknown_model",
    "conflict",
    "internal",
    "overloaded",
    "store_unavailable",
    "deadline_exceeded",
)


def batches_router(batches: Batches) -> APIRouter:
    """The routes that make batches and look after them."""
    router = APIRouter(tags=["batches"])

    @router.post(
        "/v1/batches",
        operation_id="create_batch",
        status_code=CREATED,
        response_model=None,
        responses={CREATED: {"model": BatchAnswer, **REPLAYED_RESPONSE}, **problems(*CREATE_CODES)},
        openapi_extra=request_body(BatchRequest),
    )
    async def create_batch(request: Request) -> Response:
        """Make a batch: with its rows, which starts it, or for rows to be uploaded."""
        tenant = batches.tenant_of(request)
        body = await read_json(request, digested=is_keyed(request))
        asked = validate(BatchRequest, body.document)
        _check(batches, asked)
        work = partial(_create, batches, tenant, asked, body.document)
        return await _once(batches, request, tenant, body.sha256, work)

    @router.get(
        "/v1/batches",
        operation_id="list_batches",
        response_model=None,
        responses={200: {"model": BatchesAnswer}, **problems("invalid_request", *CODES)},
        openapi_extra={"parameters": list_parameters(LIST_MAX, LIST_DEFAULT)},
    )
    async def list_batches(request: Request) -> Response:
        """The tenant's batches, the newest first."""
        tenant = batches.tenant_of(request)
        cursor = request.query_params.get("cursor", "")
        if cursor and not is_batch_id(cursor):
            raise invalid("", CURSOR_FAULT)
        limit = limit_of(request, LIST_MAX, LIST_DEFAULT)
        found = await batches.store.page(tenant, cursor, limit + 1)
        data = [
            batch_document(batch, orjson.loads(request or b"{}"))
            for batch, request in found[:limit]
        ]
        more = len(found) > limit
        cut = found[limit - 1][0].id if more else None
        return _json({"object": "list", "data": data, "has_more": more, "next_cursor": cut})

    @router.get(
        "/v1/batches/{batch_id}",
        operation_id="get_batch",
        response_model=None,
        responses={200: {"model": BatchAnswer}, **problems(*CODES)},
    )
    async def get_batch(request: Request, batch_id: str) -> Response:
        """A batch as it stands: counts, score so far, cost, rate and estimated end."""
        return _json(await batches.described(await batches.found(request, batch_id)))

    @router.delete(
        "/v1/batches/{batch_id}",
        operation_id="delete_batch",
        status_code=204,
        response_model=None,
        responses=problems(*CODES),
    )
    async def delete_batch(request: Request, batch_id: str) -> Response:
        """Remove a batch with its rows and results, whatever its state."""
        await batches.store.delete(await batches.found(request, batch_id))
        return Response(status_code=204)

    _add_changes(router, batches)
    return router


def _add_changes(router: APIRouter, batches: Batches) -> None:
    """The routes that change a batch's state; each is harmless when it is repeated."""
    documented: dict[str, Any] = {
        "response_model": None,
        "responses": {
            200: {"model": BatchAnswer, **REPLAYED_RESPONSE},
            **problems("conflict", "invalid_request", *CODES),
        },
    }

    @router.post("/v1/batches/{batch_id}/start", operation_id="start_batch", **documented)
    async def start_batch(request: Request, batch_id: str) -> Response:
        """Start the work on the rows that were uploaded."""
        batch = await batches.found(request, batch_id)
        work = partial(_start, batches, batch)
        return await _once(batches, request, batch.tenant, "", work)

    @router.post("/v1/batches/{batch_id}/cancel", operation_id="cancel_batch", **documented)
    async def cancel_batch(request: Request, batch_id: str) -> Response:
        """Stop the rows that wait; those in flight still get their result."""
        batch = await batches.found(request, batch_id)
        work = partial(_cancel, batches, batch)
        return await _once(batches, request, batch.tenant, "", work)


async def _once(
    batches: Batches, request: Request, tenant: str, body_sha256: str, work: Any
) -> Response:
    deadline = deadline_of(None, batches.limits)
    store = batches.services.idempotency
    return await run_idempotently(
        request, body_sha256, store, tenant=tenant, deadline=deadline, work=work
    )


def _check(batches: Batches, asked: BatchRequest) -> None:
    """What only the configuration shows: judges that are not there, targets not to be called."""
    judges_of(asked.criteria, judge_spec(asked.judge), batches.judges)
    if asked.webhook is not None:
        allowed = batches.rules.allow_private_webhooks
        fault = target_fault(asked.webhook.url, allow_private=allowed)
        if fault is not None:
            raise invalid("/webhook/url", fault)


async def _create(
    batches: Batches, tenant: str, asked: BatchRequest, document: dict[str, Any]
) -> Response:
    now_ms = time.time_ns() // 1_000_000
    hook = asked.webhook
    secret = "" if hook is None else hook.secret or new_secret()
    kept = {
        "tenant": tenant,
        "criteria": document["criteria"],
        "judge": document.get("judge"),
        "metadata": asked.metadata,
        "webhook_url": None if hook is None else hook.url,
    }
    batch = NewBatch(
        id=id_at(BATCH_ID_KIND, now_ms),
        tenant=tenant,
        created_ms=now_ms,
        expires_ms=now_ms + round(batches.rules.retention_s * 1_000),
        request=orjson.dumps(kept),
        webhook=b"" if hook is None else orjson.dumps({"url": hook.url, "secret": secret}),
    )
    await batches.store.create(batch)
    if asked.items:
        await _fill(batches, batch, asked)
        await batches.store.durable(batch.id)
    answer = await batches.described(await _again(batches, tenant, batch.id))
    if hook is not None:
        answer["webhook"]["secret"] = secret
    headers = {"location": f"/v1/batches/{batch.id}"}
    return Response(orjson.dumps(answer), CREATED, headers, media_type="application/json")


async def _fill(batches: Batches, batch: NewBatch, asked: BatchRequest) -> None:
    added, bad = await add_inline(batches, batch.id, asked.items)
    if not added.accepted:
        made = await _again(batches, batch.tenant, batch.id)
        await batches.store.delete(made)
        raise invalid(f"/items/{bad[0].line - 1}", f"no row is valid; the first: {bad[0].message}")
    if asked.start:
        await batches.store.start(batch.id)


async def _start(batches: Batches, batch: Batch) -> Response:
    await batches.store.start(batch.id)
    await batches.store.durable(batch.id)
    return _json(await batches.described(await _again(batches, batch.tenant, batch.id)))


async def _cancel(batches: Batches, batch: Batch) -> Response:
    await batches.store.cancel(batch.id)
    await batches.store.durable(batch.id)
    if batch.status != "cancelled":
        batches.services.events.emit(BatchEnded(batch.id, "cancelled"))
    return _json(await batches.described(await _again(batches, batch.tenant, batch.id)))


async def _again(batches: Batches, tenant: str, batch_id: str) -> Batch:
    batch = await batches.store.find(tenant, batch_id)
    if batch is None:
        raise RequestError("not_found", "There is no such batch.")
    return batch


def list_query(request: Request, most: int, default: int) -> tuple[int, int]:
    """`cursor` (an index, 0 where none) and `limit` of a list; raises `ProblemError`."""
    cursor = request.query_params.get("cursor", "0")
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= CURSOR_DIGITS_MAX):
        raise invalid("", CURSOR_FAULT)
    return int(cursor), limit_of(request, most, default)


def limit_of(request: Request, most: int, default: int) -> int:
    """`limit` of a list; raises `ProblemError`."""
    limit = request.query_params.get("limit", str(default))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= most):
        raise invalid("", f"limit must be from 1 to {most}")
    return int(limit)


def list_parameters(most: int, default: int) -> list[dict[str, Any]]:
    """The OpenAPI parameters of a list."""
    size = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return [
        {"name": "cursor", "in": "query", "required": False, "schema": {"type": "string"}},
        {"name": "limit", "in": "query", "required": False, "schema": size},
    ]


def _json(document: dict[str, Any]) -> Response:
    return Response(orjson.dumps(document), media_type="application/json")
