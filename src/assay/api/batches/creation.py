"""POST /v1/batches: a new batch, with its rows in the request, in a dataset or to be uploaded."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from assay.api.batches.items import add_inline
from assay.api.batches.requests import BatchRequest
from assay.api.batches.responses import BatchResponse, ForecastResponse
from assay.api.batches.services import Batches
from assay.api.judged_request import deadline_of
from assay.api.problem_codes import IDEMPOTENT, JSON_BODY
from assay.api.routes import add_route, flag, json_response
from assay.api.validation import validate
from assay.batches.creation import BatchRequestSpec
from assay.batches.forecast import forecast
from assay.catalog.evaluators import with_criteria
from assay.catalog.names import find_version
from assay.criteria.judge import judge_spec
from assay.domain.batches import NewBatch
from assay.domain.completion import Caller
from assay.domain.evaluation import NamedVersion
from assay.domain.records import DatasetVersion
from assay.evaluation.selection import judges_of
from assay.http.body import read_json
from assay.http.idempotency import is_keyed
from assay.http.openapi import query_flag
from assay.http.problems import invalid_request

CREATED = 201


def batch_creation_router(batches: Batches) -> APIRouter:
    """The route that creates batches."""
    router = APIRouter(tags=["batches"])

    async def create_batch(request: Request) -> Response:
        """Create a batch: with `items` or a `dataset` it starts at once, else rows are uploaded.

        With `dry_run=true` nothing is created: the response says what the batch would take.
        """
        tenant = await batches.services.admit(request)
        body = await read_json(request, digested=is_keyed(request))
        document, named = await with_criteria(batches.services.open_stores, tenant, body.document)
        wanted = validate(BatchRequest, document)
        wanted.check_store(keyed=is_keyed(request))
        spec = await _checked(batches, tenant, wanted, document, named)
        await batches.services.evaluator.compile(
            wanted.criteria,
            caller=Caller(tenant, request.state.request_id),
            deadline=deadline_of(None, batches.limits),
        )
        if flag(request, "dry_run"):
            taken = await forecast(spec, wanted.items, batches.services.judges, batches.open)
            return json_response(taken)
        work = partial(create, batches, spec, wanted.items, start=wanted.start)
        return await batches.run_idempotently(request, tenant, work, body.sha256)

    add_route(
        router, "POST", "/v1/batches", create_batch, BatchResponse,
        (*JSON_BODY, *IDEMPOTENT, "unknown_criterion", "unknown_model", "conflict",
         "records_unavailable"),
        body=BatchRequest, status=CREATED, replayed=True,
        others={200: {"model": ForecastResponse, "description": "With `dry_run=true`."}},
        parameters=[query_flag("dry_run", "Create nothing, and say what the batch would take.")],
    )  # fmt: skip
    return router


async def _checked(
    batches: Batches,
    tenant: str,
    wanted: BatchRequest,
    document: dict[str, Any],
    named: NamedVersion | None,
) -> BatchRequestSpec:
    """The batch that a request wants.

    Refuses what only the configuration and the records show: unknown judges, models and datasets,
    too many calls for a row, and forbidden webhook targets.
    """
    calls_max = batches.services.gate.judge_calls_max(tenant)
    judges_of(wanted.criteria, judge_spec(wanted.judge), batches.services.judges, calls_max)
    if wanted.generate is not None:
        wanted.generate.check(batches.services.judges)
    names = [criterion.name for criterion in wanted.criteria]
    for place, gate in enumerate(wanted.gates):
        if gate.criterion is not None and gate.criterion not in names:
            raise invalid_request(
                f"/gates/{place}/criterion", "must be the name of one of the criteria"
            )
    stop, webhook = wanted.stop_when_certain, wanted.webhook
    return BatchRequestSpec(
        tenant,
        document["criteria"],
        wanted.criteria,
        document.get("judge"),
        named,
        wanted.generate,
        await _dataset(batches, tenant, wanted),
        wanted.filter.to_filter(),
        wanted.name,
        wanted.metadata,
        None if webhook is None else webhook.to_webhook(allow_private=batches.private_webhooks),
        gates=[gate.model_dump() for gate in wanted.gates],
        stop_when_certain=None if stop is None else stop.model_dump(),
        store=wanted.store,
    )


async def _dataset(batches: Batches, tenant: str, wanted: BatchRequest) -> DatasetVersion | None:
    if wanted.dataset is None:
        return None
    store = (await batches.open()).datasets
    found = await find_version(store, tenant, wanted.dataset, "/dataset")
    if found is None or not found.items:
        raise invalid_request("/dataset", f"there is no dataset {wanted.dataset} with items")
    return found


async def create(
    batches: Batches, spec: BatchRequestSpec, items: list[dict[str, Any]], *, start: bool = True
) -> Response:
    """Create a batch and fill it; what cannot be filled leaves nothing."""
    creator = batches.creator
    if spec.dataset is None and not items:
        batch = await creator.create(spec)
    else:
        async with creator.filled(spec, start=start) as batch:
            await _fill(batches, batch, spec, items)
    created = await batches.describe(await batches.found(spec.tenant, batch.id))
    if spec.webhook is not None:
        created["webhook"]["secret"] = spec.webhook["secret"]
    return json_response(created, CREATED, {"location": f"/v1/batches/{batch.id}"})


async def _fill(
    batches: Batches, batch: NewBatch, spec: BatchRequestSpec, items: list[dict[str, Any]]
) -> None:
    if spec.dataset is not None:
        if not await batches.creator.fill(batch, spec.dataset, spec.wanted):
            raise invalid_request("/filter", "no item of the dataset passes it")
        return
    report = await add_inline(batches, batch, items)
    if not report.accepted:
        first = report.bad[0]
        message = f"no row is valid; the first: {first.message}"
        raise invalid_request(f"/items/{first.line - 1}", message)
