"""/v1/evals/{eval_id}/runs: a run is a batch over a dataset, which may generate the outputs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, get_args

from fastapi import APIRouter, Request, Response

from assay.batches.webhook_field import WebhookField
from assay.catalog.item_schema import schema_faults
from assay.catalog.stores import Stores
from assay.criteria.frozen import Frozen
from assay.domain.errors import FieldError, RequestError
from assay.domain.ids import new_id
from assay.domain.records import StoredObject
from assay.openai_evals.backend import (
    RUN,
    Backend,
    Page,
    answer,
    caller_of,
    list_answer,
    page_of,
    page_of_objects,
    read_body,
    router_of,
    seconds,
)
from assay.openai_evals.batch_runs import RunState, RunStatus
from assay.openai_evals.data_sources import DataSource, FileContent
from assay.openai_evals.errors import not_found
from assay.openai_evals.evals import MetadataField, NameField, find_eval
from assay.openai_evals.files import find_file, row_document, store_rows, stored_rows
from assay.openai_evals.summary import EMPTY, RunSummary, add_result

RESULTS_AT_ONCE = 200
SCHEMA_ROWS = 200
FAULTS_MAX = 20


class CreateRun(Frozen):
    """A new run."""

    data_source: DataSource
    name: NameField = None
    metadata: MetadataField = None
    webhook: WebhookField | None = None
    """An addition of ours: OpenAI's are set up on its website."""


class EvalRuns:
    """The resource of runs."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def router(self) -> APIRouter:
        """Its routes."""
        one = "/{run_id}"
        return router_of(
            "/v1/evals/{eval_id}/runs",
            ("POST", "", self.create), ("GET", "", self.list), ("GET", one, self.get),
            ("POST", one, self.cancel), ("DELETE", one, self.delete),
            # The newer clients cancel at a path of its own.
            ("POST", one + "/cancel", self.cancel),
        )  # fmt: skip

    async def create(self, request: Request, eval_id: str) -> Response:
        """Start a run over rows that all conform to the schema of the eval."""
        tenant, stores = await self._backend.opened(request)
        wanted = await read_body(request, CreateRun)
        found = await find_eval(stores, tenant, eval_id)
        source = wanted.data_source.rows()
        generate = wanted.data_source.generate(self._backend.judges)
        run_id, webhook = new_id(RUN), None
        if wanted.webhook is not None:
            webhook = wanted.webhook.to_webhook(allow_private=self._backend.private_webhooks)
        if isinstance(source, FileContent):
            dataset = run_id
            items = _listed([row.item for row in source.content])
            await self._check_rows(request, found.document["data_source_config"], items)
            await store_rows(stores, tenant, dataset, enumerate(source.content, 1))
        else:
            dataset = (await find_file(stores, tenant, source.id)).id
            items = _items_of(stores, tenant, dataset)
            await self._check_rows(request, found.document["data_source_config"], items)
        try:
            name = wanted.name or run_id
            hook = webhook and {**webhook, "run_id": run_id}
            batch = await self._backend.runs.start(tenant, name, eval_id, dataset, generate, hook)
        except BaseException:
            if dataset == run_id:
                await stores.datasets.delete(tenant, dataset, erase=True)
            raise
        sent = wanted.data_source.model_dump(mode="json", exclude_unset=True)
        document = {
            "name": name, "metadata": wanted.metadata, "data_source": sent, "batch": batch,
            "dataset": dataset, "summary": EMPTY,
        }  # fmt: skip
        made = await stores.objects.add(tenant, StoredObject(run_id, RUN, document, eval_id))
        secret = {} if webhook is None else {"webhook": webhook}
        return answer(await self._shown(request, stores, made) | secret, 201)

    async def list(self, request: Request, eval_id: str) -> Response:
        """List runs, also those of one status only."""
        tenant, stores = await self._backend.opened(request)
        await find_eval(stores, tenant, eval_id)
        page = page_of(request, statuses=get_args(RunStatus))
        found: list[dict[str, Any]] = []
        while len(found) <= page.limit:
            runs = await page_of_objects(stores, tenant, RUN, page, eval_id)
            for run in runs:
                shown = await self._shown(request, stores, run)
                if page.status in ("", shown["status"]):
                    found.append(shown)
            if len(runs) <= page.limit:
                break
            page = Page(runs[-1].id, page.limit, page.descending, page.by_update, page.status)
        return list_answer(found[: page.limit + 1], page.limit)

    async def get(self, request: Request, eval_id: str, run_id: str) -> Response:
        """Read a run."""
        _, stores, run = await self.requested(request, eval_id, run_id)
        return answer(await self._shown(request, stores, run))

    async def cancel(self, request: Request, eval_id: str, run_id: str) -> Response:
        """Stop a run; rows that are judged already keep their results."""
        tenant, stores, run = await self.requested(request, eval_id, run_id)
        await self._backend.runs.cancel(tenant, run.document["batch"])
        return answer(await self._shown(request, stores, run))

    async def delete(self, request: Request, eval_id: str, run_id: str) -> Response:
        """Delete a run with its results, and with the rows that it brought."""
        tenant, stores, run = await self.requested(request, eval_id, run_id)
        await self._backend.remove_run(stores, tenant, run)
        return answer({"object": "eval.run.deleted", "deleted": True, "run_id": run_id})

    async def requested(
        self, request: Request, eval_id: str, run_id: str
    ) -> tuple[str, Stores, StoredObject]:
        """The run of a request; raises `RequestError`."""
        tenant, stores = await self._backend.opened(request)
        run = await stores.objects.find(tenant, RUN, run_id, eval_id)
        if run is None:
            raise not_found("run", run_id)
        return tenant, stores, run

    async def _check_rows(
        self, request: Request, config: Mapping[str, Any], items: AsyncIterator[Sequence[Any]]
    ) -> None:
        """Raises `RequestError` with the rows that do not conform to the eval's schema."""
        if config["type"] != "custom":
            return
        schema, number = config["schema"]["properties"]["item"], 0
        async for chunk in items:
            terms = caller_of(request), self._backend.deadline()
            faulty = await schema_faults(self._backend.evaluator, schema, chunk, *terms)
            if faulty:
                at = "/data_source/source/content"
                faults = [
                    FieldError(f"{at}/{number + index}/item", fault)
                    for index, fault in faulty[:FAULTS_MAX]
                ]
                message = f"Row {number + faulty[0][0] + 1}: {faults[0].message}"
                raise RequestError("invalid_request", message, faults)
            number += len(chunk)

    async def _shown(self, request: Request, stores: Stores, run: StoredObject) -> dict[str, Any]:
        """A run as callers read it, with the sums of the results that there are."""
        document, tenant = run.document, request.state.tenant
        state = await self._backend.runs.find(tenant, document["batch"])
        state = state or RunState("failed", 0, "The batch of this run is gone.")
        summary = await self._summed(stores, tenant, run)
        ended = state.status not in ("queued", "in_progress")
        counts = summary["counts"]
        return {
            "object": "eval.run",
            "id": run.id,
            "eval_id": run.parent,
            "status": state.status,
            "model": document["data_source"].get("model") or "",
            "name": document["name"],
            "created_at": seconds(run.created_ms),
            "report_url": f"{request.base_url}v1/batches/{document['batch']}",
            "result_counts": {"total": state.total, **counts},
            "per_model_usage": list(summary["models"].values()) if ended else None,
            "per_testing_criteria_results": list(summary["criteria"].values()) if ended else None,
            "data_source": document["data_source"],
            "metadata": document["metadata"],
            "error": {"code": "failed", "message": state.error} if state.error else None,
        }

    async def _summed(self, stores: Stores, tenant: str, run: StoredObject) -> RunSummary:
        """The sums of all results so far; what was summed before is not read again."""
        summary: RunSummary = run.document["summary"]
        before = summary["next"]
        while found := await self._backend.runs.results(
            tenant, run.document["batch"], summary["next"], RESULTS_AT_ONCE
        ):
            for result in found:
                summary = add_result(summary, result)
        if summary["next"] > before:
            document = {**run.document, "summary": summary}
            await stores.objects.change(tenant, run.id, document, updates=False)
        return summary


async def _listed(items: Sequence[Any]) -> AsyncIterator[Sequence[Any]]:
    for start in range(0, len(items), SCHEMA_ROWS):
        yield items[start : start + SCHEMA_ROWS]


async def _items_of(stores: Stores, tenant: str, name: str) -> AsyncIterator[Sequence[Any]]:
    chunk: list[Any] = []
    async for item in stored_rows(stores, tenant, name):
        chunk.append(row_document(item)["item"])
        if len(chunk) == SCHEMA_ROWS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
