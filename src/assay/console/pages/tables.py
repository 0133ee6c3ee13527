"""The tables of pages as files: every entry of a list of the API, as CSV or JSON Lines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from assay.console.api_calls import DOWNLOADS, Api, attachment
from assay.http.csv_row import csv_row

LISTS = {
    "evaluators": "/v1/evaluators",
    "datasets": "/v1/datasets",
    "batches": "/v1/batches",
    "draws": "/v1/labels/draws",
    "labels": "/v1/labels",
    "calibrations": "/v1/calibrations",
    "models": "/v1/models",
    "usage": "/v1/usage",
    "audit": "/v1/audit",
}
WITHOUT_PAGES = frozenset({"models", "usage"})
PAGE = 100


async def download(request: Request, api: Api) -> Response:
    """A list that a page shows, in whole; the query of the page that links to it applies."""
    name, kind = request.path_params["name"], request.path_params["kind"]
    if name not in LISTS or kind not in ("csv", "jsonl"):
        raise HTTPException(404)
    query = dict(request.query_params)
    return await table(api, LISTS[name], name, kind, query, paged=name not in WITHOUT_PAGES)


async def table(
    api: Api,
    path: str,
    name: str,
    kind: str,
    query: Mapping[str, str],
    *,
    columns: Sequence[str] = (),
    limit: int = PAGE,
    paged: bool = True,
) -> Response:
    """A list of the API as a file; raises `ApiError` before anything is sent.

    Without `columns`, a table has the fields of its first entries: where all have the same.
    """
    query = {**query, "limit": str(limit)} if paged else query
    first = await api.get(path, **query)

    async def lines() -> AsyncIterator[bytes]:
        shape = columns or _shape(first["data"])
        if kind == "csv":
            yield csv_row(shape).encode()
        found = first
        while True:
            for entry in found["data"]:
                yield _line(entry, shape, kind)
            if not found.get("next_cursor"):
                return
            found = await api.get(path, **{**query, "cursor": found["next_cursor"]})

    headers = {"content-disposition": attachment(name, kind)}
    return StreamingResponse(lines(), media_type=DOWNLOADS[kind], headers=headers)


def _shape(entries: list[dict[str, Any]]) -> list[str]:
    """The columns: all fields of the first entries, in their order."""
    return list(dict.fromkeys(name for entry in entries for name in entry if name != "object"))


def _line(entry: Mapping[str, Any], shape: Sequence[str], kind: str) -> bytes:
    if kind == "jsonl":
        return orjson.dumps(entry) + b"\n"
    values = (entry.get(name) for name in shape)
    cells = (orjson.dumps(v).decode() if isinstance(v, dict | list) else v for v in values)
    return csv_row(cells).encode()


PAGES = (("/tables/{name}.{kind}", download, "GET"),)
