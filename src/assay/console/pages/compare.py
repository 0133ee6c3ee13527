"""Compare: what changed from one batch to another, and whether chance explains it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from assay.console.api_calls import Api, ApiError
from assay.console.forms import read_count
from assay.console.pages.batches import find_result
from assay.console.pages.datasets import find_item
from assay.console.views import as_text, number, page
from assay.console.word_diff import word_diff

BATCHES_SHOWN = 50
ROWS_SHOWN, ROWS_ON_PAGE = 10, 50
WAIT_S = 0.1
"""A small comparison is there by then; for another one the page shows its progress."""
KINDS = (
    ("regressions", "Regressions"), ("improvements", "Improvements"),
    ("unscored", "Scored in one batch alone"),
)  # fmt: skip


async def compare(request: Request, api: Api) -> Response:
    """The choice of two batches, and their comparison."""
    base, candidate = (request.query_params.get(name, "") for name in ("base", "candidate"))
    batches = await api.get("/v1/batches", limit=BATCHES_SHOWN)
    found, progress, fault = None, None, ""
    scores: list[dict[str, list[int]]] = []
    if base and candidate:
        try:
            path = f"/v1/batches/{candidate}/compare"
            found = await api.get(path, base=base, limit=ROWS_SHOWN, wait_s=WAIT_S)
            if "criteria" in found:
                scores = [await _distributions(api, id_) for id_ in (base, candidate)]
            else:
                found, progress = None, found
        except ApiError as error:
            if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            fault = str(error)
    return page(
        request, "compare.html", found=found, fault=fault, base_id=base, candidate_id=candidate,
        batches=_choices(batches["data"], found), kinds=KINDS, progress=progress,
        in_words=in_words, scores=scores,
    )  # fmt: skip


async def compare_rows(request: Request, api: Api) -> Response:
    """The rows of a criterion that changed in one way, page by page."""
    names = ("base", "candidate", "criterion", "kind", "cursor")
    query = {name: request.query_params.get(name, "") for name in names}
    path = f"/v1/batches/{query['candidate']}/compare/rows"
    given = {name: query[name] for name in ("base", "criterion", "kind", "cursor")}
    found = await api.get(path, limit=ROWS_ON_PAGE, wait_s=WAIT_S, **given)
    title = dict(KINDS).get(query["kind"], "")
    return page(request, "compare_rows.html", found=found, query=query, title=title)


async def compare_row(request: Request, api: Api) -> Response:
    """One item in both batches: outputs with what differs, and verdicts with explanations."""
    query = request.query_params
    base, candidate = await asyncio.gather(
        _side(api, query.get("base", ""), query.get("base_row", "")),
        _side(api, query.get("candidate", ""), query.get("candidate_row", "")),
    )
    diff = None
    if base["output"] is not None and candidate["output"] is not None:
        diff = await asyncio.to_thread(word_diff, base["output"], candidate["output"])
    base_results, candidate_results = (
        {one["name"]: one for one in side["result"].get("results") or ()}
        for side in (base, candidate)
    )
    names = [*base_results, *(name for name in candidate_results if name not in base_results)]
    return page(
        request, "compare_row.html", base_side=base, candidate_side=candidate, diff=diff,
        criteria=[(name, base_results.get(name), candidate_results.get(name)) for name in names],
    )  # fmt: skip


def in_words(difference: Mapping[str, Any]) -> str:
    """What the adjusted p of a difference means."""
    p = difference["p_adjusted"]
    if p is None:
        return "Nothing can be tested."
    shown = "adjusted p < 0.001" if p < 0.001 else f"adjusted p = {p:.3f}"  # noqa: PLR2004
    if difference["verdict"] != "no_significant_change":
        return f"Chance hardly explains it ({shown})."
    text = f"Chance may explain it ({shown})."
    if (smallest := difference["smallest_detectable"]) is not None:
        text += f" A true change of {number(smallest, 3)} would be found with 80\u202f%."
    return text


def _choices(batches: list[dict[str, Any]], found: Mapping[str, Any] | None) -> list[Any]:
    """Batches that have ended, and the compared ones if they are older."""
    ended = [one for one in batches if one["finished_at"]]
    known = {one["id"] for one in ended}
    compared = [] if found is None else [found["base"], found["candidate"]]
    older = [one for one in compared if one["id"] not in known]
    return ended + [
        {**one, "evaluator": None, "dataset": None, "created_at": None} for one in older
    ]


async def _distributions(api: Api, batch_id: str) -> dict[str, list[int]]:
    """How many rows of each criterion have a score in each tenth."""
    criteria = (await api.get(f"/v1/batches/{batch_id}"))["summary"]["criteria"]
    return {one["name"]: one["distribution"] for one in criteria if one["distribution"]}


async def _side(api: Api, batch_id: str, row: str) -> dict[str, Any]:
    """A row of a batch: its result, its case and its output; None where they are not kept."""
    batch = await api.get(f"/v1/batches/{batch_id}")
    index = read_count(row, otherwise=-1)
    result = {} if index < 0 else await find_result(api, batch_id, index) or {}
    case = await find_item(api, batch["dataset"], result.get("item_id"))
    made = (result.get("generated") or {}).get("output")
    output = (case or {}).get("output") if made is None else made
    return {
        "batch": batch,
        "result": result,
        "case": case,
        "output": None if output is None else as_text(output),
    }


PAGES = (
    ("/compare", compare, "GET"),
    ("/compare/rows", compare_rows, "GET"),
    ("/compare/row", compare_row, "GET"),
)
