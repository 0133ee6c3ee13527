"""Datasets: uploads, a preview of the items, versions and splits."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from assay.console.api_calls import Api, Download
from assay.console.forms import read_json, read_texts
from assay.console.pages.tables import table
from assay.console.views import go, page

CASE_FIELDS = (
    "input", "output", "reference", "context", "tools", "expected_tools", "metadata", "fields",
    "sample",
)  # fmt: skip
ITEMS_SHOWN, ITEMS_AT_ONCE = 50, 1_000
VERSIONS_SHOWN = 100
GROUPING = ("split", "group")
FILTERS = ("version", *GROUPING)


async def datasets(request: Request, api: Api) -> Response:
    """All datasets, newest first."""
    found = await api.get("/v1/datasets", cursor=request.query_params.get("cursor"))
    return page(request, "datasets.html", found=found)


async def create(request: Request, api: Api) -> Response:
    """Make a dataset, whose items are uploaded then."""
    form = await request.form()
    document: dict[str, Any] = read_texts(form, ("name", "description"))
    if (schema := read_json(form, "schema")) is not None:
        document["schema"] = schema
    made = await api.post("/v1/datasets", document)
    return go(request, f"datasets/{made['name']}")


async def dataset(request: Request, api: Api) -> Response:
    """One version, the newest or `?version=`, with some of its items."""
    path = _path(request)
    query = {name: request.query_params.get(name) for name in (*FILTERS, "cursor")}
    one, versions, items = await asyncio.gather(
        api.get(path, version=query["version"]),
        api.get(f"{path}/versions", limit=VERSIONS_SHOWN),
        api.get_or_problem(f"{path}/items", limit=ITEMS_SHOWN, **query),
    )
    return page(
        request, "dataset.html", one=one, versions=versions, items=items, query=query,
        newest=versions["data"][0]["version"] if versions["data"] else one["version"],
    )  # fmt: skip


async def splits(request: Request, api: Api) -> Response:
    """How many items each split has."""
    version = request.query_params.get("version")
    found = await api.get(f"{_path(request)}/splits", version=version)
    return page(request, "splits.html", splits=found["data"], name=request.path_params["name"],
                version=version)  # fmt: skip


async def item(request: Request, api: Api) -> Response:
    """One item, in whole."""
    query = {name: request.query_params.get(name) for name in ("version", "id")}
    found = (await api.get(f"{_path(request)}/items", **query))["data"]
    return page(
        request, "item.html", item=found[0] if found else None, query=query,
        name=request.path_params["name"], case_fields=CASE_FIELDS,
    )  # fmt: skip


async def download(request: Request, api: Api) -> Response:
    """All items that the query names."""
    name = request.path_params["name"]
    if request.path_params["kind"] == "csv":
        path, query = f"{_path(request)}/items", request.query_params
        columns = ("id", *CASE_FIELDS, *GROUPING)
        return await table(api, path, name, "csv", query, columns=columns, limit=ITEMS_AT_ONCE)
    return Download(api, f"{_path(request)}/items", name, "jsonl")


async def delete(request: Request, api: Api) -> Response:
    """Delete a dataset."""
    await api.call("DELETE", _path(request))
    return go(request, "datasets")


async def find_item(api: Api, dataset: str | None, item_id: str | None) -> Any:
    """The case of a batch's row; None where the batch had no dataset, or it is deleted since."""
    if not (dataset and item_id):
        return None
    name, _, version = dataset.partition("@")
    found = await api.get_or_problem(f"/v1/datasets/{name}/items", version=version, id=item_id)
    return next(iter(found["data"]), None)


def _path(request: Request) -> str:
    return f"/v1/datasets/{request.path_params['name']}"


PAGES = (
    ("/datasets", datasets, "GET"),
    ("/datasets", create, "POST"),
    ("/datasets/{name}", dataset, "GET"),
    ("/datasets/{name}/splits", splits, "GET"),
    ("/datasets/{name}/item", item, "GET"),
    ("/datasets/{name}/items.{kind}", download, "GET"),
    ("/datasets/{name}/delete", delete, "POST"),
)
