"""/v1/datasets: cases with a name and versions, that batches run over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict, Field
from starlette.responses import StreamingResponse

from assay.api.dataset_items import CHUNK_ITEMS, DatasetItem, item_document, next_chunk
from assay.api.evaluators import VERSION, VERSION_SCHEMA, VERSIONS_PAGE, Description, Name
from assay.api.judged_request import deadline_of
from assay.api.problem_codes import BODY, JSON_BODY, RECORD
from assay.api.responses import ListResponse, Shape
from assay.api.routes import (
    ERASE,
    add_route,
    flag,
    json_response,
    list_document,
    page_document,
    text_parameters,
)
from assay.api.services import Services
from assay.api.uploads import Uploads
from assay.api.validation import validate
from assay.catalog.item_files import READERS
from assay.catalog.item_schema import check_schema, schema_faults
from assay.criteria.frozen import Frozen
from assay.domain.completion import Caller
from assay.domain.errors import RequestError
from assay.domain.exact_json import dumps
from assay.domain.ids import shown_time
from assay.domain.policy import Deadline
from assay.domain.records import (
    DATASET_ID_KIND,
    VERSION_MAX,
    DatasetStore,
    DatasetVersion,
    ItemFilter,
)
from assay.domain.row_files import Row
from assay.http.body import read_json, require_media_type
from assay.http.limits import Limits
from assay.http.openapi import query_parameter
from assay.http.pagination import Paging
from assay.http.problems import BAD_LINES_MAX, bad_lines, invalid_request
from assay.http.readers import ReaderPlaces

PAGE = Paging(largest=100, default=20, cursor_pattern=DATASET_ID_KIND + "_[0-9a-f]{32}")
ITEMS_PAGE = Paging(largest=1_000, default=100, cursor_pattern="[0-9]{1,18}")
NDJSON = "application/x-ndjson"


ITEM_FILTERS = {
    "split": "Only items of this split.",
    "group": "Only items of this group.",
    "id": "Only the item with this id.",
}


class DatasetRequest(Frozen):
    """A new dataset, without items."""

    name: Name
    description: Description = ""
    schema_: dict[str, Any] | None = Field(
        default=None, alias="schema", description="A JSON Schema that every item conforms to."
    )


class DatasetResponse(Shape):
    """One version of a dataset."""

    model_config = ConfigDict(serialize_by_alias=True)

    id: str
    object: Literal["dataset"]
    name: str
    version: int = Field(description="0 before the first upload.")
    description: str
    schema_: dict[str, Any] | None = Field(alias="schema")
    items: int
    created_at: str


class DatasetListResponse(ListResponse[DatasetResponse]):
    """Datasets, or the versions of one, newest first."""


class DatasetItemListResponse(ListResponse[DatasetItem]):
    """Items, in the order of the upload."""


class SplitResponse(Shape):
    """A split, and how many items it has."""

    split: str | None
    items: int


class SplitListResponse(Shape):
    """All splits of a version, by name."""

    object: Literal["list"]
    data: list[SplitResponse]


class Datasets:
    """The resource of datasets."""

    def __init__(self, services: Services, limits: Limits) -> None:
        self._services = services
        self._limits = limits
        self._uploads = Uploads(services.upload_bytes_max)
        self._readers = ReaderPlaces()

    def router(self) -> APIRouter:
        """Its routes."""
        router = APIRouter(tags=["datasets"])
        route = partial(add_route, router)
        base, one, items = "/v1/datasets", "/v1/datasets/{name}", "/v1/datasets/{name}/items"
        about = "A version; without it, the newest one."
        version = query_parameter("version", about, VERSION_SCHEMA)
        listed, uploaded = (*RECORD, "invalid_request"), (*BODY, *RECORD, "conflict")
        made = (*JSON_BODY, *RECORD, "conflict")
        created = partial(route, "POST", status=201, body=DatasetRequest)
        created(base, self.create_dataset, DatasetResponse, made)
        many = partial(route, "GET", response=DatasetListResponse, codes=listed)
        many(base, self.list_datasets, page=PAGE)
        route("GET", one, self.get_dataset, DatasetResponse, listed, parameters=[version])
        route(
            "DELETE", one, self.delete_dataset, None, (*listed, "forbidden"), status=204,
            parameters=[ERASE],
        )  # fmt: skip
        many(one + "/versions", self.list_dataset_versions, page=VERSIONS_PAGE)
        wanted = [query_parameter(name, text) for name, text in ITEM_FILTERS.items()]
        route(
            "GET", items, self.list_items, DatasetItemListResponse, listed, page=ITEMS_PAGE,
            downloads=[NDJSON], parameters=[version, *wanted],
        )  # fmt: skip
        splits = one + "/splits"
        route("GET", splits, self.list_splits, SplitListResponse, listed, parameters=[version])
        route("PUT", items, self.replace_items, DatasetResponse, uploaded, uploads=READERS)
        route("POST", items, self.append_items, DatasetResponse, uploaded, uploads=READERS)
        return router

    async def create_dataset(self, request: Request) -> Response:
        """Make a dataset; its items are uploaded."""
        tenant = await self._services.admit(request)
        wanted = validate(DatasetRequest, (await read_json(request)).document)
        if wanted.schema_ is not None:
            evaluator, terms = self._services.evaluator, self._terms(request)
            await check_schema(evaluator, wanted.schema_, "/schema", *terms)
        stores = await self._services.open_stores()
        made = await stores.datasets.create(tenant, wanted.name, wanted.description, wanted.schema_)
        return json_response(_document(made), 201, {"location": f"/v1/datasets/{made.name}"})

    async def list_datasets(self, request: Request) -> Response:
        """List the newest version of each dataset, the newest datasets first."""
        tenant = await self._services.admit(request)
        cursor, limit = PAGE.cursor(request), PAGE.limit(request)
        stores = await self._services.open_stores()
        found = await stores.datasets.page(tenant, cursor, limit + 1)
        return json_response(list_document([_document(one) for one in found], limit))

    async def get_dataset(self, request: Request, name: str) -> Response:
        """Read the newest version, or `?version=`."""
        return json_response(_document((await self._requested(request, name))[1]))

    async def list_dataset_versions(self, request: Request, name: str) -> Response:
        """List versions, the newest first."""
        store, found = await self._requested(request, name)
        before, limit = int(VERSIONS_PAGE.cursor(request) or VERSION_MAX), PAGE.limit(request)
        versions = await store.versions(request.state.tenant, found.name, before, limit + 1)
        documents = [_document(one) for one in versions]
        return json_response(list_document(documents, limit, "version"))

    async def delete_dataset(self, request: Request, name: str) -> Response:
        """Delete all versions. The name stays reserved for 30 days; `?erase=true` frees it."""
        tenant = await self._services.admit(request)
        erase = flag(request, "erase")
        stores = await self._services.open_stores()
        if not await stores.datasets.delete(tenant, name, erase=erase):
            raise _MISSING
        return Response(status_code=204)

    async def list_items(self, request: Request, name: str) -> Response:
        """List the items of the newest version, or of `?version=`.

        By `?split=`, `?group=` and `?id=`. All of them with `Accept: application/x-ndjson`.
        """
        cursor, limit = ITEMS_PAGE.cursor(request), ITEMS_PAGE.limit(request)
        store, version = await self._requested(request, name)
        given = text_parameters(request, ITEM_FILTERS)
        ids = (given["id"],) if "id" in given else ()
        wanted = ItemFilter(split=given.get("split"), group=given.get("group"), ids=ids)
        if NDJSON in request.headers.get("accept", ""):
            request.state.held.enter_context(self._readers.held(request.state.tenant))
            lines = _lines(store, version, int(cursor or 0), wanted)
            return StreamingResponse(lines, media_type=NDJSON)
        found = await store.items(version, after=int(cursor or 0), limit=limit + 1, wanted=wanted)
        next_cursor = str(found[limit - 1].place) if len(found) > limit else None
        return json_response(page_document(list(map(item_document, found[:limit])), next_cursor))

    async def list_splits(self, request: Request, name: str) -> Response:
        """Count the items of each split, of the newest version or of `?version=`."""
        store, version = await self._requested(request, name)
        counts = await store.splits(version)
        data = [{"split": split, "items": count} for split, count in counts.items()]
        return json_response({"object": "list", "data": data})

    async def replace_items(self, request: Request, name: str) -> Response:
        """Upload the items of the next version; one bad row rejects all of them."""
        return await self._upload(request, name, append=False)

    async def append_items(self, request: Request, name: str) -> Response:
        """Upload items that the next version has beside those of the newest one."""
        return await self._upload(request, name, append=True)

    async def _upload(self, request: Request, name: str, *, append: bool) -> Response:
        store, dataset = await self._requested(request, name)
        media_type = require_media_type(request, tuple(READERS))
        upload = await store.open_upload(dataset)
        try:
            async with self._uploads.file(request) as file:
                rows = READERS[media_type](file, self._limits.max_body_bytes)
                beside = dataset.uploads if append else ()
                await self._add(request, store, dataset, upload, rows, beside)
            version = await store.publish(upload, append=append)
        except BaseException:
            # Also where the caller hangs up: what is left of an upload is never a version.
            await asyncio.shield(store.discard(upload))
            raise
        return json_response(_document(version))

    async def _add(
        self,
        request: Request,
        store: DatasetStore,
        dataset: DatasetVersion,
        upload: int,
        rows: Iterator[tuple[int, Row]],
        beside: Sequence[int],
    ) -> None:
        """Add all rows; raises `RequestError` with the numbers of those that cannot be used."""
        bad: dict[int, str] = {}
        empty = True
        while chunk := await asyncio.to_thread(next_chunk, rows, self._limits):
            empty = False
            bad |= chunk.bad
            if dataset.schema is not None and chunk.sent:
                lines, rows_sent = list(chunk.sent), chunk.sent.values()
                faults = await schema_faults(
                    self._services.evaluator, dataset.schema, rows_sent, *self._terms(request)
                )
                bad |= {lines[index]: fault for index, fault in faults}
            if not bad:
                added = await store.add_items(upload, chunk.items, beside=beside)
                bad |= dict.fromkeys(added.clashes, "/id: belongs to a different item")
            if len(bad) > BAD_LINES_MAX:
                break
        if bad:
            raise bad_lines(bad)
        if empty:
            raise RequestError("invalid_request", "The upload has no items.")

    def _terms(self, request: Request) -> tuple[Caller, Deadline]:
        caller = Caller(request.state.tenant, request.state.request_id)
        return caller, deadline_of(None, self._limits)

    async def _requested(self, request: Request, name: str) -> tuple[DatasetStore, DatasetVersion]:
        tenant = await self._services.admit(request)
        version = request.query_params.get("version")
        if version is not None and not VERSION.fullmatch(version):
            raise invalid_request("", "version must be the number of a version")
        datasets = (await self._services.open_stores()).datasets
        found = await datasets.find(tenant, name, int(version) if version else None)
        if found is None:
            raise _MISSING
        return datasets, found


_MISSING = RequestError("not_found", "No dataset has this name and version.")


async def _lines(
    store: DatasetStore, version: DatasetVersion, after: int, wanted: ItemFilter
) -> AsyncIterator[bytes]:
    while items := await store.items(version, after=after, limit=CHUNK_ITEMS, wanted=wanted):
        after = items[-1].place
        yield b"".join(dumps(item_document(item)) + b"\n" for item in items)


def _document(version: DatasetVersion) -> dict[str, Any]:
    return {
        "id": version.id,
        "object": "dataset",
        "name": version.name,
        "version": version.version,
        "description": version.description,
        "schema": version.schema,
        "items": version.items,
        "created_at": shown_time(version.created_ms),
    }
