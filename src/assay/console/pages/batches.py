"""Batches: what one would take, its progress, and its results row by row."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import orjson
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from assay.console.api_calls import DOWNLOADS, Api, Download
from assay.console.forms import FormFault, read_count, read_json, read_number, read_texts
from assay.console.pages.datasets import CASE_FIELDS, find_item
from assay.console.views import go, page

ROWS_SHOWN = 50
CHOICES_SHOWN = 100
GATES_OFFERED = 3
FILTERS = ("criterion", "status", "reason", "passed", "score_min", "score_max", "q")
COMMANDS = ("start", "cancel", "retry")


async def batches(request: Request, api: Api) -> Response:
    """All batches, newest first."""
    found = await api.get("/v1/batches", cursor=request.query_params.get("cursor"))
    return page(request, "batches.html", found=found)


async def new(request: Request, api: Api) -> Response:
    """The form of a new batch; a link may fill it."""
    evaluators, datasets, models = await asyncio.gather(
        api.get_or_problem("/v1/evaluators", limit=CHOICES_SHOWN),
        api.get_or_problem("/v1/datasets", limit=CHOICES_SHOWN),
        api.get("/v1/models"),
    )
    given = {name: request.query_params.get(name, "") for name in ("evaluator", "dataset", "split")}
    return page(
        request, "batch_form.html", given=given, evaluators=evaluators, datasets=datasets,
        models=models["data"], gates=range(GATES_OFFERED),
    )  # fmt: skip


async def forecast(request: Request, api: Api) -> Response:
    """What the batch would take, with the command to start exactly that one."""
    document = request_of(await request.form())
    found = await api.call("POST", "/v1/batches", document, query={"dry_run": "true"})
    return page(
        request, "forecast.html", forecast=found, document=orjson.dumps(document).decode()
    )  # fmt: skip


async def create(request: Request, api: Api) -> Response:
    """Start the batch of a forecast."""
    made = await api.post("/v1/batches", read_json(await request.form(), "document"))
    return go(request, f"batches/{made['id']}")


async def batch(request: Request, api: Api) -> Response:
    """One batch with some of its results."""
    path = _path(request)
    query = {name: request.query_params.get(name, "") for name in (*FILTERS, "cursor")}
    one = await api.get(path)
    results = await api.get_or_problem(f"{path}/results", limit=ROWS_SHOWN, **query)
    filters = urlencode({name: query[name] for name in FILTERS if query[name]})
    return page(
        request, "batch.html", one=one, results=results, query=query, filters=filters,
        reasons=_reasons(one["summary"]), kinds=tuple(DOWNLOADS), describe=_row,
    )  # fmt: skip


async def progress(request: Request, api: Api) -> Response:
    """How far a batch is, for a script that asks; at its end the whole page is loaded again."""
    one = await api.get(_path(request))
    response = page(request, "batch_progress.html", one=one)
    if one["finished_at"] is not None:
        response.headers["hx-refresh"] = "true"
    return response


async def row(request: Request, api: Api) -> Response:
    """The result of one row beside its case, which a dataset has."""
    index = read_count(request.path_params["index"], otherwise=-1)
    if index < 0:
        raise HTTPException(404)
    one = await api.get(_path(request))
    result = await find_result(api, one["id"], index)
    if result is None:
        raise HTTPException(404)
    case = await find_item(api, one["dataset"], result["item_id"])
    return page(
        request, "row.html", one=one, row=_row(result), result=result, case=case,
        marks=_marks(result, request.query_params.get("q", "")), case_fields=CASE_FIELDS,
    )  # fmt: skip


async def command(request: Request, api: Api) -> Response:
    """Start, cancel or retry a batch; a retry is a batch of its own."""
    name = request.path_params["command"]
    if name not in COMMANDS:
        raise HTTPException(404)
    made = await api.post(f"{_path(request)}/{name}")
    return go(request, f"batches/{made['id']}")


async def delete(request: Request, api: Api) -> Response:
    """Delete a batch."""
    await api.call("DELETE", _path(request))
    return go(request, "batches")


async def download(request: Request, api: Api) -> Response:
    """All results that the query names, as a file."""
    kind = request.path_params["kind"]
    if kind not in DOWNLOADS:
        raise HTTPException(404)
    return Download(api, f"{_path(request)}/results", request.path_params["id"], kind)


def request_of(form: FormData) -> dict[str, Any]:
    """The request that a form stands for; raises `FormFault`."""
    document: dict[str, Any] = read_texts(form, ("name", "evaluator", "dataset"))
    if not {"evaluator", "dataset"} <= document.keys():
        raise FormFault("Choose an evaluator and a dataset.")
    wanted: dict[str, Any] = read_texts(form, ("split", "group"))
    if (metadata := read_json(form, "item_metadata")) is not None:
        wanted["metadata"] = metadata
    if wanted:
        document["filter"] = wanted
    if model := str(form.get("generate_model") or ""):
        text = str(form.get("generate_message") or "")
        document["generate"] = {"model": model, "messages": [{"role": "user", "content": text}]}
    if gates := [gate for place in range(GATES_OFFERED) if (gate := _gate(form, f"gate{place}_"))]:
        document["gates"] = gates
    if form.get("stop"):
        document["stop_when_certain"] = {"alpha": read_number(form, "alpha") or 0.05}
    return document


def _gate(form: FormData, prefix: str) -> dict[str, Any] | None:
    bound = read_number(form, f"{prefix}bound")
    if bound is None:
        return None
    kind = "min_score" if form.get(f"{prefix}kind") == "min_score" else "min_pass_rate"
    criterion = str(form.get(f"{prefix}criterion") or "").strip()
    return {kind: bound, **({"criterion": criterion} if criterion else {})}


def _row(result: Mapping[str, Any], about: str = "") -> dict[str, Any]:
    """A row of the table of results, as a whole or `about` one criterion.

    A failed one has an error in place of an evaluation.
    """
    criteria: list[dict[str, Any]] = result.get("results") or []
    chosen = [one for one in criteria if one["name"] == about]
    # The first criterion that did not pass says most about the row.
    telling = [*chosen, *(one for one in criteria if one["passed"] is not True), *criteria, {}][0]
    error = result.get("error") or {}
    verdict = chosen[0] if chosen else result
    return {
        "id": result["item_id"],
        "index": result["item_index"],
        "passed": verdict.get("passed"),
        "score": verdict.get("score"),
        "criteria": criteria,
        "about": telling.get("name"),
        "reason": telling.get("reason") or error.get("code"),
        "explanation": telling.get("explanation") or error.get("message") or "",
    }


def _marks(result: Mapping[str, Any], searched: str) -> list[str]:
    """What to mark in a case: the words that were searched, and what checks found in it."""
    found = [searched]
    for criterion in result.get("results") or ():
        found += [sign["excerpt"] for sign in criterion.get("suspect") or ()]
        if criterion.get("judge") is None and isinstance(criterion.get("value"), str):
            found.append(criterion["value"])
    return [text for text in found if text]


async def find_result(api: Api, batch_id: str, index: int) -> dict[str, Any] | None:
    """The result of a row; None while there is none."""
    found = await api.get(f"/v1/batches/{batch_id}/results", cursor=index, limit=1)
    return next((row for row in found["data"] if row["item_index"] == index), None)


def _reasons(summary: Mapping[str, Any]) -> list[str]:
    return sorted({reason for criterion in summary["criteria"] for reason in criterion["unscored"]})


def _path(request: Request) -> str:
    return f"/v1/batches/{request.path_params['id']}"


PAGES = (
    ("/batches", batches, "GET"),
    ("/batches", create, "POST"),
    ("/batches/new", new, "GET"),
    ("/batches/forecast", forecast, "POST"),
    ("/batches/{id}", batch, "GET"),
    ("/batches/{id}/progress", progress, "GET"),
    ("/batches/{id}/rows/{index}", row, "GET"),
    ("/batches/{id}/results.{kind}", download, "GET"),
    ("/batches/{id}/delete", delete, "POST"),
    ("/batches/{id}/{command}", command, "POST"),
)
