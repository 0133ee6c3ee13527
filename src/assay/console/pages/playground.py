"""Playground: one case, judged at once by criteria from the catalogue."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from assay.console.api_calls import JSONL, Api
from assay.console.forms import read_fields, to_fields
from assay.console.views import page

CASE_FIELDS = ("input", "output", "reference", "context")
COMMON = ("type", "judge")
"""Fields of a criterion that the form shows elsewhere."""
FIRST = "rubric"
DATASETS_SHOWN = 100


async def playground(request: Request, api: Api) -> Response:
    """The form, empty or with a case that a link brings."""
    catalogue = (await api.get("/v1/criteria"))["data"]
    given = {name: request.query_params.get(name, "") for name in CASE_FIELDS}
    datasets = await api.get_or_problem("/v1/datasets", limit=DATASETS_SHOWN)
    return page(
        request, "playground.html", catalogue=catalogue, case=given,
        criteria=[_form(catalogue, FIRST, 0)], models=(await api.get("/v1/models"))["data"],
        datasets=datasets["data"],
    )  # fmt: skip


async def criterion(request: Request, api: Api) -> Response:
    """The fields of one more criterion."""
    catalogue = (await api.get("/v1/criteria"))["data"]
    query = request.query_params
    place = int(query["place"]) if query.get("place", "").isdigit() else 0
    form = _form(catalogue, query.get("type", FIRST), place)
    return page(request, "criterion_form.html", form=form, models=None)


async def judge(request: Request, api: Api) -> Response:
    """The evaluation, with the request as curl would send it."""
    form = await request.form()
    if form.get("action") == "add":
        path = f"/v1/datasets/{form.get('dataset', '')}/items"
        made = await api.call("POST", path, case_of(form), media_type=JSONL)
        return page(request, "added.html", dataset=made)
    document = request_of(form, (await api.get("/v1/criteria"))["data"])
    if form.get("action") == "save":
        made = await api.post("/v1/evaluators", {
            "name": str(form.get("evaluator_name", "")), "criteria": document["criteria"],
            **({"judge": document["judge"]} if "judge" in document else {}),
        })  # fmt: skip
        return page(request, "saved.html", evaluator=made)
    evaluation = await api.post("/v1/evaluations", document)
    url = f"{request.url.scheme}://{request.headers.get('host', '')}/v1/evaluations"
    body = shlex.quote(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    curl = f"curl -s {url} -H 'Content-Type: application/json' -d {body}"
    return page(request, "evaluation.html", evaluation=evaluation, curl=curl)


def request_of(form: FormData, catalogue: list[dict[str, Any]]) -> dict[str, Any]:
    """The request that a form stands for; raises `FormFault`."""
    document = case_of(form)
    places = sorted({int(key.split(".")[0][1:]) for key in form if key[:1] == "c" and "." in key})
    document["criteria"] = [_criterion(form, catalogue, place) for place in places]
    if model := str(form.get("model") or ""):
        document["judge"] = {"models": [model]}
    return document


def case_of(form: FormData) -> dict[str, Any]:
    """The case in a form."""
    document: dict[str, Any] = {}
    for name in CASE_FIELDS:
        value = str(form.get(name) or "")
        if value or name == "output":
            document[name] = [value] if name == "context" else value
    return document


def _criterion(form: FormData, catalogue: list[dict[str, Any]], place: int) -> dict[str, Any]:
    type_ = str(form.get(f"c{place}.type"))
    schema = _entry(catalogue, type_)["schema"]
    return {"type": type_, **read_fields(form, schema, f"c{place}.", COMMON)}


def _form(catalogue: list[dict[str, Any]], type_: str, place: int) -> Mapping[str, Any]:
    entry = _entry(catalogue, type_)
    return {
        "place": place,
        "entry": entry,
        "fields": to_fields(entry["schema"], _example(entry), COMMON),
    }


def _example(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The criterion of the entry's example, as defaults of the required fields."""
    for one in entry["example"].get("criteria", ()):
        if isinstance(one, dict) and one.get("type") == entry["type"]:
            return one
    return {}


def _entry(catalogue: list[dict[str, Any]], type_: str) -> dict[str, Any]:
    return next((one for one in catalogue if one["type"] == type_), catalogue[0])


PAGES = (
    ("/playground", playground, "GET"),
    ("/playground/criterion", criterion, "GET"),
    ("/playground", judge, "POST"),
)
