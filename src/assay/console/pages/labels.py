"""Label: people say what they think of cases, one at a time and by keyboard."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from assay.console.api_calls import Api
from assay.console.forms import read_count, read_number
from assay.console.pages.batches import find_result
from assay.console.views import page

LABELS_AT_ONCE = 1_000
BATCHES_SHOWN = 20
ANNOTATOR_DEFAULT = "me"
LABELS_DEFAULT = 30
KEYS = "123456789"


async def choose(request: Request, api: Api) -> Response:
    """Draws to go on with, and a form for a new one."""
    batches = (await api.get("/v1/batches", limit=BATCHES_SHOWN))["data"]
    draws = await api.get("/v1/labels/draws", cursor=request.query_params.get("cursor"))
    ended = await asyncio.gather(
        *(api.get(f"/v1/batches/{one['id']}") for one in batches if one["finished_at"])
    )
    return page(request, "labels.html", batches=ended, draws=draws)


async def draw(request: Request, api: Api) -> Response:
    """Draw rows, and begin with the first."""
    form = await request.form()
    batch, _, criterion = str(form.get("results", "")).partition(" ")
    made = await api.post("/v1/labels/draws", {
        "batch": batch, "criterion": criterion,
        "labels": read_number(form, "labels") or LABELS_DEFAULT,
    })  # fmt: skip
    root = request.scope.get("root_path", "")
    return RedirectResponse(f"{root}/labels/{made['id']}", HTTPStatus.SEE_OTHER)


async def label(request: Request, api: Api) -> Response:
    """The first case without a label of the annotator, or the one that is asked for."""
    annotator = request.query_params.get("annotator") or _annotator(request, api)
    return await _next(request, api, annotator, last="")


async def say(request: Request, api: Api) -> Response:
    """Add a label, and go on to the next case."""
    form = {name: str(value) for name, value in (await request.form()).items()}
    annotator = form.get("annotator") or ANNOTATOR_DEFAULT
    kind, _, value = form.get("verdict", "").partition(":")
    if kind == "skip":
        return await _next(request, api, annotator, last="", after=form.get("row", ""))
    given: Any = value == "yes" if kind == "passed" else value
    found = await api.get(f"/v1/labels/draws/{request.path_params['draw']}")
    batch = await api.get(f"/v1/batches/{found['batch']}")
    made = await api.post("/v1/labels", {
        "item": _item(found, batch, form.get("item_id", "")), "criterion": found["criterion"],
        "annotator": annotator, kind: given, "comment": form.get("comment", ""),
    })  # fmt: skip
    return await _next(request, api, annotator, last=made["id"])


async def undo(request: Request, api: Api) -> Response:
    """Take back the last label, and show its case again."""
    form = await request.form()
    await api.call("DELETE", f"/v1/labels/{form.get('last', '')}")
    annotator = str(form.get("annotator") or ANNOTATOR_DEFAULT)
    return await _next(request, api, annotator, last="")


async def _next(
    request: Request, api: Api, annotator: str, *, last: str, after: str = ""
) -> Response:
    found = await api.get(f"/v1/labels/draws/{request.path_params['draw']}")
    batch = await api.get(f"/v1/batches/{found['batch']}")
    done = await _labelled(api, found, batch, annotator)
    rows = [row for row in found["data"] if row["item_id"]]
    left = [row for row in rows if row["item_id"] not in done]
    wanted = request.query_params.get("row", "")
    later = [row for row in left if not after or row["row"] > read_count(after)]
    chosen = next((row for row in rows if str(row["row"]) == wanted), None)
    chosen = chosen or next(iter(later or left), None)
    case = result = None
    choices: Sequence[Mapping[str, str]] = ()
    if chosen is not None:
        case = await _case(api, found, chosen)
        row = await find_result(api, found["batch"], chosen["row"]) or {}
        results = (one for one in row.get("results", ()) if one["name"] == found["criterion"])
        result, made = next(results, None), row.get("generated")
        case = case if made is None else {**(case or {}), "output": made["output"]}
        choices = await _choices(api, found, batch)
    return page(
        request, "label.html", draw=found, row=chosen, case=case, result=result, last=last,
        annotator=annotator, done=len(rows) - len(left), total=len(rows), choices=choices,
        shows_verdict=request.query_params.get("verdict") == "shown",
    )  # fmt: skip


async def _labelled(
    api: Api, found: Mapping[str, Any], batch: Mapping[str, Any], annotator: str
) -> set[str]:
    """The items of the draw that the annotator has labelled."""
    of = "dataset" if _has_outputs(batch) else "batch"
    name = (found[of] or "").partition("@")[0]
    items: set[str] = set()
    cursor: str | None = ""
    while cursor is not None:
        listed = await api.get(
            "/v1/labels", **{of: name}, criterion=found["criterion"], annotator=annotator,
            limit=LABELS_AT_ONCE, cursor=cursor,
        )  # fmt: skip
        labelled = (label["item"] for label in listed["data"])
        items |= {item.get("id") or item.get("item_id") for item in labelled}
        cursor = listed["next_cursor"]
    return items


def _has_outputs(batch: Mapping[str, Any]) -> bool:
    """Whether the batch judged the outputs of a dataset: what it made itself is its own."""
    return bool(batch["dataset"]) and not batch["generated_by"]


def _item(found: Mapping[str, Any], batch: Mapping[str, Any], item_id: str) -> dict[str, str]:
    if _has_outputs(batch):
        return {"dataset": found["dataset"], "id": item_id}
    return {"batch": found["batch"], "item_id": item_id}


async def _case(api: Api, found: Mapping[str, Any], row: Mapping[str, Any]) -> Any:
    """The item that is judged; None where the batch had rows of its own."""
    if not found["dataset"]:
        return None
    name, _, version = found["dataset"].partition("@")
    listed = await api.get(f"/v1/datasets/{name}/items", version=version, id=row["item_id"])
    return next(iter(listed["data"]), None)


async def _choices(
    api: Api, found: Mapping[str, Any], batch: Mapping[str, Any]
) -> list[dict[str, str]]:
    """What can be said by the criterion: its labels or levels, else pass and fail."""
    criteria: list[Any] = []
    if batch["evaluator"]:
        name, _, version = batch["evaluator"].partition("@")
        criteria = (await api.get(f"/v1/evaluators/{name}/versions/{version}"))["criteria"]
    given = next(
        (one for one in criteria if isinstance(one, dict)
         and found["criterion"] in (one.get("name"), one.get("type"))), {},
    )  # fmt: skip
    options = given.get("labels") or given.get("levels") or ()
    names = [one if isinstance(one, str) else str(one.get("label", "")) for one in options]
    verdicts = [("label:" + name, name) for name in names]
    verdicts = verdicts or [("passed:yes", "pass"), ("passed:no", "fail")]
    return [
        {"value": value, "label": shown, "key": KEYS[place] if place < len(KEYS) else ""}
        for place, (value, shown) in enumerate(verdicts)
    ]


def _annotator(request: Request, api: Api) -> str:
    _ = request
    return api.identity.key_name or ANNOTATOR_DEFAULT


PAGES = (
    ("/labels", choose, "GET"),
    ("/labels", draw, "POST"),
    ("/labels/{draw}", label, "GET"),
    ("/labels/{draw}", say, "POST"),
    ("/labels/{draw}/undo", undo, "POST"),
)
