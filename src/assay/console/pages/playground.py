"""Playground: one case, judged at once by criteria from the catalogue."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from assay.console.api_calls import JSONL, Api
from assay.console.forms import read_count, read_fields, read_json, to_fields
from assay.console.pages.datasets import CASE_FIELDS
from assay.console.views import page

COMMON = ("type", "judge")
"""Fields of a criterion that the form shows elsewhere."""
FIRST = "rubric"
TYPE_FIELD = re.compile(r"c([0-9]{1,9})\.type")
DATASETS_SHOWN = 100


async def playground(request: Request, api: Api) -> Response:
    """The form, empty or with a case that a link brings."""
    catalogue = (await api.get("/v1/criteria"))["data"]
    datasets = await api.get_or_problem("/v1/datasets", limit=DATASETS_SHOWN)
    return page(
        request, "playground.html", catalogue=catalogue, case=await _given(request, api),
        criteria=[_form(catalogue, FIRST, 0)], models=(await api.get("/v1/models"))["data"],
        datasets=datasets["data"], case_fields=CASE_FIELDS,
    )  # fmt: skip


async def criterion(request: Request, api: Api) -> Response:
    """The fields of one more criterion."""
    catalogue = (await api.get("/v1/criteria"))["data"]
    query = request.query_params
    form = _form(catalogue, query.get("type", FIRST), read_count(query.get("place")))
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
    return page(request, "evaluation.html", evaluation=evaluation, curl=_curl(request, document))


def request_of(form: FormData, catalogue: list[dict[str, Any]]) -> dict[str, Any]:
    """The request that a form stands for; raises `FormFault`."""
    document = case_of(form)
    places = sorted({int(found[1]) for key in form if (found := TYPE_FIELD.fullmatch(key))})
    document["criteria"] = [_criterion(form, catalogue, place) for place in places]
    if model := str(form.get("model") or ""):
        document["judge"] = {"models": [model]}
    return document


def case_of(form: FormData) -> dict[str, Any]:
    """The case in a form."""
    document: dict[str, Any] = {}
    for name in CASE_FIELDS:
        value = str(form.get(name) or "")
        if form.get(f"{name}.json"):
            document |= {name: found} if (found := read_json(form, name)) is not None else {}
        elif value or name == "output":
            document[name] = [value] if name == "context" else value
    return document


async def _given(request: Request, api: Api) -> dict[str, Any]:
    """The case that a link brings: its texts, or an item of a dataset, which may be long."""
    query = request.query_params
    if "dataset" not in query:
        return {name: query[name] for name in CASE_FIELDS if query.get(name)}
    path = f"/v1/datasets/{query['dataset']}/items"
    items = await api.get(path, version=query.get("version"), id=query.get("id"))
    item: dict[str, Any] = next(iter(items["data"]), {})
    case = {name: item[name] for name in CASE_FIELDS if item.get(name) not in (None, "")}
    for name in ("reference", "context"):
        match case.get(name):
            case [str() as text]:
                case[name] = text
    return case


def _curl(request: Request, document: Mapping[str, Any]) -> str:
    """The command that sends the request, of any length, from a shell."""
    home = request.headers.get("origin") or f"{request.url.scheme}://{request.headers['host']}"
    body = shlex.quote(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    url = shlex.quote(f"{home}{request.scope.get('app_root_path', '')}/v1/evaluations")
    key = '-H "Authorization: Bearer $ASSAY_API_KEY" ' if request.state.session.signed_in else ""
    # Not as an argument, whose length is limited.
    return (
        f"printf %s {body} |\n  curl -s {url} -H 'Content-Type: application/json' {key}"
        "--data-binary @-"
    )


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
