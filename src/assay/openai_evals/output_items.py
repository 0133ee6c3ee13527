"""/v1/evals/{eval_id}/runs/{run_id}/output_items: the results of a run."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from assay.catalog.stores import Stores
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case
from assay.domain.exact_json import loads
from assay.domain.records import StoredObject
from assay.http.problems import invalid_request
from assay.judging.generation import Generation
from assay.openai_evals.backend import (
    Backend,
    Page,
    answer,
    list_answer,
    page_of,
    router_of,
    seconds,
)
from assay.openai_evals.batch_runs import RunResult
from assay.openai_evals.data_sources import DataSource
from assay.openai_evals.errors import not_found
from assay.openai_evals.runs import EvalRuns
from assay.openai_evals.summary import OWN_SCALE, item_status, tokens

RESULTS_AT_ONCE = 200
ITEM_ID = re.compile(r"outputitem_([0-9a-f]{32})_([0-9]{1,9})")


class OutputItems:
    """The resource of output items."""

    def __init__(self, backend: Backend, runs: EvalRuns) -> None:
        self._backend = backend
        self._runs = runs

    def router(self) -> APIRouter:
        """Its routes."""
        path = "/v1/evals/{eval_id}/runs/{run_id}/output_items"
        return router_of(path, ("GET", "", self.list), ("GET", "/{item_id}", self.get))

    async def list(self, request: Request, eval_id: str, run_id: str) -> Response:
        """List the rows that have a result, also those of one status only."""
        tenant, stores, run = await self._runs.requested(request, eval_id, run_id)
        page = page_of(request, statuses=("pass", "fail", "error"))
        after = _number(page.after, run_id) if page.after else None
        if page.after and after is None:
            raise invalid_request("/after", "must be the id of an output item of this run")
        found: list[RunResult] = []
        async for result in self._results(tenant, run, page, after):
            if page.status in ("", item_status(result.document)):
                found.append(result)
            if len(found) > page.limit:
                break
        return list_answer(await _shown(stores, tenant, run, found), page.limit)

    async def get(self, request: Request, eval_id: str, run_id: str, item_id: str) -> Response:
        """Read one row with its results."""
        tenant, stores, run = await self._runs.requested(request, eval_id, run_id)
        number = _number(item_id, run_id)
        found = None
        if number is not None:
            batch = run.document["batch"]
            found = await self._backend.runs.results(tenant, batch, number, 1)
        if not found or found[0].number != number:
            raise not_found("output item", item_id)
        return answer((await _shown(stores, tenant, run, found))[0])

    async def _results(
        self, tenant: str, run: StoredObject, page: Page, after: int | None
    ) -> AsyncIterator[RunResult]:
        """The results after a row number, in the order of the page."""
        batch, read = run.document["batch"], self._backend.runs.results
        if not page.descending:
            start = 0 if after is None else after + 1
            while found := await read(tenant, batch, start, RESULTS_AT_ONCE):
                for result in found:
                    yield result
                start = found[-1].number + 1
            return
        state = await self._backend.runs.find(tenant, batch)
        end = after if after is not None else (state.total if state else 0)
        while end > 0:
            start = max(0, end - RESULTS_AT_ONCE)
            found = await read(tenant, batch, start, end - start)
            for result in reversed([one for one in found if one.number < end]):
                yield result
            end = start


async def _shown(
    stores: Stores, tenant: str, run: StoredObject, results: Sequence[RunResult]
) -> list[dict[str, Any]]:
    """Results as callers read them, each with its row."""
    dataset = await stores.datasets.find(tenant, run.document["dataset"])
    source = run.document["data_source"]
    generation = DataSource.model_validate(source).generate()
    ids = [str(result.number) for result in results]
    items = {} if dataset is None else await stores.datasets.items_called(dataset, ids)
    shown = []
    for result, id_ in zip(results, ids, strict=True):
        row: Mapping[str, Any] = loads(items[id_].body) if id_ in items else {}
        document = result.document
        shown.append(
            {
                "object": "eval.run.output_item",
                "id": f"outputitem_{run.id.partition('_')[2]}_{id_}",
                "run_id": run.id,
                "eval_id": run.parent,
                "created_at": seconds(run.created_ms),
                "status": item_status(document),
                "datasource_item_id": result.number,
                "datasource_item": row.get("fields", {}),
                "results": [
                    _shown_result(scored)
                    for scored in document.get("results") or ()
                    if scored["status"] == "scored"
                ],
                "sample": _sample(source, generation, row, document),
            }
        )
    return shown


def _number(item_id: str, run_id: str) -> int | None:
    """The row number in an output item's id, if it is of the run."""
    found = ITEM_ID.fullmatch(item_id)
    return int(found[2]) if found and f"evalrun_{found[1]}" == run_id else None


def _shown_result(scored: Mapping[str, Any]) -> dict[str, Any]:
    own = scored["type"] in OWN_SCALE
    return {
        "name": scored["name"],
        "type": scored["type"],
        "score": scored["value"] if own else scored["score"],
        "passed": scored["passed"],
        "label": scored["label"],
        "explanation": scored["explanation"],
        "sample": _judge_sample(scored) if scored["judge"] else None,
    }


def _judge_sample(scored: Mapping[str, Any]) -> dict[str, Any]:
    """What the grader's model said, as far as it is kept."""
    said = [{"role": "assistant", "content": scored["explanation"]}]
    return _sample_document([], said, scored["judge"]["model"], scored["usage"], "stop", None, {})


def _sample(
    source: Mapping[str, Any],
    generation: Generation | None,
    row: Mapping[str, Any],
    document: Mapping[str, Any],
) -> dict[str, Any]:
    """The output that was graded; its `error` is why the row is not scored."""
    made = document.get("generated") or {}
    output = made.get("output", row.get("output", ""))
    message = {"role": "assistant", "content": output}
    if made.get("tool_calls"):
        message["tool_calls"] = made["tool_calls"]
    said = [message] if made or row.get("sample") else []
    error = document.get("error") or next(
        (
            {"code": scored["reason"], "message": f"{scored['name']}: {scored['explanation']}"}
            for scored in document.get("results") or ()
            if scored["status"] != "scored"
        ),
        None,
    )
    params = source.get("sampling_params") or {}
    model = made.get("model") or str((row.get("sample") or {}).get("model") or "")
    usage, finish = made.get("usage") or {}, made.get("finish") or ""
    asked = _asked(generation, row) if generation and row else []
    return _sample_document(asked, said, model, usage, finish, error, params)


def _asked(generation: Generation, row: Mapping[str, Any]) -> list[Any]:
    """The messages that a model was asked with; none for a row that lacks what they name."""
    try:
        messages = generation.conversation(Case.from_fields({**row, "output": ""}))
    except NotApplicable:
        return []
    return [{"role": role, "content": "".join(map(str, parts))} for role, parts in messages]


def _sample_document(
    asked: list[Any],
    said: list[Any],
    model: str,
    usage: Mapping[str, int],
    finish: str,
    error: Mapping[str, Any] | None,
    params: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "input": asked,
        "output": said,
        "finish_reason": finish,
        "model": model,
        "usage": tokens(usage),
        "error": error,
        "temperature": params.get("temperature"),
        "top_p": params.get("top_p"),
        "max_completion_tokens": params.get("max_completion_tokens"),
        "seed": params.get("seed"),
    }
