"""/v1/datasets: cases with a name and versions, that batches run over."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict, Field

from assay.api.batches.requests import GROUP_CHARS_MAX, ItemId
from assay.api.evaluators import VERSION, VERSIONS_PAGE, Description, Name
from assay.api.judged_request import deadline_of
from assay.api.problem_codes import BODY, JSON_BODY, RECORD
from assay.api.requests import CaseFields, OptionalOutput, present
from assay.api.responses import ListResponse, Shape
from assay.api.routes import add_route, flag, json_response, list_document, text_parameters
from assay.api.services import Services
from assay.api.uploads import Uploads
from assay.api.validation import field_names, first_fault, validate
from assay.catalog.item_files import READERS, Row
from assay.catalog.item_schema import check_schema, schema_faults
from assay.criteria.frozen import Frozen
from assay.domain.completion import Caller
from assay.domain.errors import RequestError
from assay.domain.exact_json import dumps, loads
from assay.domain.ids import shown_time
from assay.domain.policy import Deadline
from assay.domain.records import (
    DATASET_ID_KIND,
    VERSION_MAX,
    DatasetStore,
    DatasetVersion,
    ItemFilter,
    NewItem,
    StoredItem,
)
from assay.http.body import check_structure, read_json, require_media_type
from assay.http.limits import Limits
from assay.http.pagination import Paging
from assay.http.problems import BAD_LINES_MAX, bad_lines, invalid_request

PAGE = Paging(largest=100, default=20, cursor_pattern=DATASET_ID_KIND + "_[0-9a-f]{32}")
ITEMS_PAGE = Paging(largest=1_000, default=100, cursor_pattern="[0-9]{1,18}")
CHUNK_ITEMS = 200
CHUNK_BYTES = 1024 * 1024


class DatasetRequest(Frozen):
    """A new dataset, without items."""

    name: Name
    description: Description = ""
    schema_: dict[str, Any] | None = Field(
        default=None, alias="schema", description="A JSON Schema that every item conforms to."
    )


class DatasetItem(CaseFields):
    """An item: a case, whose output may be missing where a batch generates it."""

    id: ItemId | None = None
    output: OptionalOutput = None  # type: ignore[assignment]
    group: Annotated[str, Field(min_length=1, max_length=GROUP_CHARS_MAX)] | None = Field(
        default=None, description="Groups similar items, such as answers to one question."
    )
    split: Annotated[str, Field(min_length=1, max_length=GROUP_CHARS_MAX)] | None = Field(
        default=None, description="What the item is for, such as `calibration` or `test`."
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


class Datasets:
    """The resource of datasets."""

    def __init__(self, services: Services, limits: Limits) -> None:
        self._services = services
        self._limits = limits
        self._uploads = Uploads(services.upload_bytes_max)

    def router(self) -> APIRouter:
        """Its routes."""
        router = APIRouter(tags=["datasets"])
        route = partial(add_route, router)
        base, one, items = "/v1/datasets", "/v1/datasets/{name}", "/v1/datasets/{name}/items"
        listed, uploaded = (*RECORD, "invalid_request"), (*BODY, *RECORD, "conflict")
        made = (*JSON_BODY, *RECORD, "conflict")
        created = partial(route, "POST", status=201, body=DatasetRequest)
        created(base, self.create_dataset, DatasetResponse, made)
        many = partial(route, "GET", response=DatasetListResponse, codes=listed)
        many(base, self.list_datasets, page=PAGE)
        route("GET", one, self.get_dataset, DatasetResponse, listed)
        route("DELETE", one, self.delete_dataset, None, (*listed, "forbidden"), status=204)
        many(one + "/versions", self.list_dataset_versions, page=VERSIONS_PAGE)
        route("GET", items, self.list_items, DatasetItemListResponse, listed, page=ITEMS_PAGE)
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
        """List the items of the newest version, or of `?version=`, by `?split=` and `?group=`."""
        cursor, limit = ITEMS_PAGE.cursor(request), ITEMS_PAGE.limit(request)
        store, version = await self._requested(request, name)
        given = text_parameters(request, ("split", "group"))
        wanted = ItemFilter(split=given.get("split"), group=given.get("group"))
        found = await store.items(version, after=int(cursor or 0), limit=limit + 1, wanted=wanted)
        more = len(found) > limit
        return json_response(
            {
                "object": "list",
                "data": [item_document(item) for item in found[:limit]],
                "has_more": more,
                "next_cursor": str(found[limit - 1].place) if more else None,
            }
        )

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
        while chunk := await asyncio.to_thread(_next_chunk, rows, self._limits):
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


@dataclass(slots=True)
class _Chunk:
    """A few rows of an upload: as items, as they were sent, and what is wrong with others."""

    items: list[NewItem] = field(default_factory=list)
    sent: dict[int, Any] = field(default_factory=dict)
    bad: dict[int, str] = field(default_factory=dict)


def _next_chunk(rows: Iterator[tuple[int, Row]], limits: Limits) -> _Chunk | None:
    """The next rows, or None at the end; for a thread."""
    chunk, size = _Chunk(), 0
    for line, row in rows:
        try:
            item = _item(line, row, limits)
        except RequestError as error:
            chunk.bad[line] = first_fault(error)
        except (UnicodeEncodeError, TypeError):  # orjson's, which may quote the row
            chunk.bad[line] = "contains a value that JSON cannot represent"
        else:
            chunk.items.append(item)
            chunk.sent[line] = row
            size += len(item.body)
        if len(chunk.items) + len(chunk.bad) >= CHUNK_ITEMS or size >= CHUNK_BYTES:
            return chunk
    return chunk if chunk.items or chunk.bad else None


def _item(line: int, row: Row, limits: Limits) -> NewItem:
    if isinstance(row, str):
        raise RequestError("invalid_request", row)
    check_structure(row)
    # A column of another tool may be called like the sample, and be none.
    others = {
        name: value
        for name, value in row.items()
        if name not in _OF_ITEM or (name == "sample" and not isinstance(value, dict))
    }
    given = {name: row[name] for name in row.keys() - others.keys()}
    item = validate(DatasetItem, given, limits.image_hosts)
    shown = present({**vars(item), "fields": {**item.fields, **others}})
    id_ = shown.pop("id", None)
    body = dumps(shown)
    if len(body) > limits.max_body_bytes:
        raise RequestError("invalid_request", f"must have at most {limits.max_body_bytes} bytes")
    digest = hashlib.sha256(body).hexdigest()
    # The first half of a hash is as good as all of it where nobody gains from a collision.
    return NewItem(line, id_ or digest[:32], digest, body, item.group, item.split, item.metadata)


_OF_ITEM = frozenset(field_names(DatasetItem))


def item_document(item: StoredItem) -> dict[str, Any]:
    """An item as callers read it."""
    return {"id": item.id, **loads(item.body)}


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
