"""POST /v1/batches: a new batch, with its rows in the request or to be uploaded."""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from assay.api.batches.items import add_inline
from assay.api.batches.requests import BatchRequest, new_secret
from assay.api.batches.responses import BatchResponse
from assay.api.batches.services import Batches
from assay.api.judged_request import deadline_of
from assay.api.problem_codes import IDEMPOTENT, JSON_BODY
from assay.api.validation import validate
from assay.batches.summary import outline
from assay.catalog.evaluators import with_criteria
from assay.criteria.base import judge_spec
from assay.domain.batches import BATCH_ID_KIND, NewBatch
from assay.domain.completion import Caller
from assay.domain.errors import RequestError
from assay.domain.exact_json import dumps
from assay.domain.ids import id_at, now_ms
from assay.domain.targets import target_fault
from assay.domain.tenants import TenantLimited
from assay.evaluation.selection import judges_of
from assay.http.body import read_json
from assay.http.idempotency import is_keyed
from assay.http.openapi import REPLAYED_RESPONSE, problems, request_body
from assay.http.problems import invalid_request

CREATED = 201


def batch_creation_router(batches: Batches) -> APIRouter:
    """The route that creates batches."""
    router = APIRouter(tags=["batches"])

    @router.post(
        "/v1/batches",
        operation_id="create_batch",
        status_code=CREATED,
        response_model=None,
        responses={
            CREATED: {"model": BatchResponse, **REPLAYED_RESPONSE},
            **problems(*JSON_BODY, *IDEMPOTENT, "unknown_criterion", "unknown_model", "conflict"),
        },
        openapi_extra=request_body(BatchRequest),
    )
    async def create_batch(request: Request) -> Response:
        """Create a batch: with `items` it starts at once, without them rows are uploaded."""
        tenant = await batches.services.admit(request)
        body = await read_json(request, digested=is_keyed(request))
        open_stores = batches.services.open_stores
        document = await with_criteria(open_stores, tenant, body.document)
        wanted = validate(BatchRequest, document)
        wanted.check_store(keyed=is_keyed(request))
        _check(batches, tenant, wanted)
        caller = Caller(tenant, request.state.request_id)
        await batches.services.evaluator.compile(
            wanted.criteria, caller=caller, deadline=deadline_of(None, batches.limits)
        )
        work = partial(_create, batches, tenant, wanted, document)
        return await batches.run_idempotently(request, tenant, work, body.sha256)

    return router


def _check(batches: Batches, tenant: str, wanted: BatchRequest) -> None:
    """Refuse what only the configuration shows: unknown judges, too many calls for a row, and
    forbidden webhook targets."""
    calls_max = batches.services.gate.judge_calls_max(tenant)
    judges_of(wanted.criteria, judge_spec(wanted.judge), batches.judges, calls_max)
    if wanted.webhook is not None:
        allowed = batches.rules.allow_private_webhooks
        fault = target_fault(wanted.webhook.url, allow_private=allowed)
        if fault is not None:
            raise invalid_request("/webhook/url", fault)


async def _create(
    batches: Batches, tenant: str, wanted: BatchRequest, document: dict[str, Any]
) -> Response:
    created_ms = now_ms()
    webhook = wanted.webhook
    secret = "" if webhook is None else webhook.secret or new_secret()
    spec = {
        "tenant": tenant,
        "criteria": document["criteria"],
        "judge": document.get("judge"),
        "evaluator": wanted.named,
        "store": wanted.store,
    }
    shown = {
        "criteria": outline(wanted.criteria),
        "evaluator": wanted.named and "@".join(map(str, wanted.named)),
        "metadata": wanted.metadata,
        "webhook_url": None if webhook is None else webhook.url,
    }
    batch = NewBatch(
        id=id_at(BATCH_ID_KIND, created_ms),
        tenant=tenant,
        created_ms=created_ms,
        expires_ms=created_ms + round(batches.rules.retention_s * 1_000),
        request=dumps(spec),
        shown=dumps(shown),
        webhook=b"" if webhook is None else orjson.dumps({"url": webhook.url, "secret": secret}),
    )
    await batches.store.create(batch)
    try:
        await batches.storage.open_batch(tenant, batch.id)
        if wanted.items:
            await _fill(batches, batch, wanted)
            await batches.store.durable(batch.id)
    except (TenantLimited, RequestError):
        await batches.store.delete(await batches.found(tenant, batch.id))
        raise
    created = await batches.describe(await batches.found(tenant, batch.id))
    if webhook is not None:
        created["webhook"]["secret"] = secret
    headers = {"location": f"/v1/batches/{batch.id}"}
    return Response(dumps(created), CREATED, headers, media_type="application/json")


async def _fill(batches: Batches, batch: NewBatch, wanted: BatchRequest) -> None:
    report = await add_inline(batches, batch, wanted.items)
    if not report.accepted:
        first = report.bad[0]
        message = f"no row is valid; the first: {first.message}"
        raise invalid_request(f"/items/{first.line - 1}", message)
    if wanted.start:
        await batches.store.start(batch.id)
