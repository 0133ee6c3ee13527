"""/v1/files: files of rows, which are datasets."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import Field
from starlette.datastructures import UploadFile
from starlette.responses import StreamingResponse

from assay.catalog.item_files import json_lines
from assay.catalog.stores import Stores
from assay.criteria.frozen import Frozen
from assay.domain.errors import FieldError, RequestError
from assay.domain.exact_json import dumps, loads
from assay.domain.ids import new_id, now_ms
from assay.domain.records import DatasetVersion, NewItem, StoredItem, StoredObject
from assay.domain.row_files import Row
from assay.http.body import check_structure, require_media_type
from assay.http.problems import invalid_request
from assay.openai_evals.backend import (
    FILE,
    Backend,
    answer,
    list_answer,
    page_of,
    page_of_objects,
    router_of,
    seconds,
    validated,
)
from assay.openai_evals.errors import not_found

CHUNK_ITEMS = 200
BAD_LINES_MAX = 20
FIELDS_MAX = 8
EXPIRES_S = range(3_600, 2_592_001)
FILE_NAME_CHARS_MAX = 500


class DataRow(Frozen):
    """One row: an item, and the sample if there is one already."""

    item: dict[str, Any]
    sample: dict[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        """The row as a case; without a sample it has none, and no output either."""
        text = (self.sample or {}).get("output_text")
        output = text if isinstance(text, str) else ""
        return {"output": output, "fields": self.item, "sample": self.sample or {}}


class UploadForm(Frozen):
    """The fields of an upload besides its file."""

    purpose: str = Field(pattern="^evals$")
    anchor: str = Field(default="created_at", pattern="^created_at$", alias="expires_after[anchor]")
    seconds: int | None = Field(
        default=None, ge=EXPIRES_S.start, lt=EXPIRES_S.stop, alias="expires_after[seconds]"
    )


class Files:
    """The resource of files."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def router(self) -> APIRouter:
        """Its routes."""
        one = "/{file_id}"
        return router_of(
            "/v1/files",
            ("POST", "", self.create), ("GET", "", self.list), ("GET", one, self.get),
            ("DELETE", one, self.delete), ("GET", one + "/content", self.content),
        )  # fmt: skip

    async def create(self, request: Request) -> Response:
        """Store the lines of a file: all of them, or nothing and the numbers of those at fault."""
        tenant, stores = await self._backend.opened(request)
        require_media_type(request, ("multipart/form-data",))
        try:
            form = await request.form(max_files=1, max_fields=FIELDS_MAX)
        except HTTPException as error:
            raise RequestError(
                "invalid_request", f"The form cannot be read: {error.detail}"
            ) from None
        try:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise invalid_request("/file", "is required")
            fields: dict[str, Any] = {name: form[name] for name in form if name != "file"}
            if str(fields.get("expires_after[seconds]", "")).isdigit():
                fields["expires_after[seconds]"] = int(fields["expires_after[seconds]"])
            wanted = validated(UploadForm, fields)
            id_ = new_id(FILE).replace("_", "-")
            rows = _file_rows(file.file, self._backend.limits.max_body_bytes)
            await store_rows(stores, tenant, id_, rows)
            expires = None if wanted.seconds is None else seconds(now_ms()) + wanted.seconds
            document = {
                "bytes": file.size,
                "filename": (file.filename or "").replace("\0", "")[:FILE_NAME_CHARS_MAX],
                "purpose": wanted.purpose,
                "expires_at": expires,
            }
            return answer(
                shown(await stores.objects.add(tenant, StoredObject(id_, FILE, document)))
            )
        finally:
            await form.close()

    async def list(self, request: Request) -> Response:
        """List files, the newest first."""
        tenant, stores = await self._backend.opened(request)
        page = page_of(request, descending=True)
        found = await page_of_objects(stores, tenant, FILE, page)
        return list_answer([shown(one) for one in found if not _expired(one)], page.limit)

    async def get(self, request: Request, file_id: str) -> Response:
        """Describe a file."""
        tenant, stores = await self._backend.opened(request)
        return answer(shown(await find_file(stores, tenant, file_id)))

    async def delete(self, request: Request, file_id: str) -> Response:
        """Erase a file."""
        tenant, stores = await self._backend.opened(request)
        await find_file(stores, tenant, file_id)
        await _erase(stores, tenant, file_id)
        return answer({"id": file_id, "object": "file", "deleted": True})

    async def content(self, request: Request, file_id: str) -> Response:
        """The lines of a file."""
        tenant, stores = await self._backend.opened(request)
        await find_file(stores, tenant, file_id)
        return StreamingResponse(_lines(stores, tenant, file_id), media_type="application/jsonl")


def shown(stored: StoredObject) -> dict[str, Any]:
    """A file as callers read it."""
    return {
        "id": stored.id,
        "object": "file",
        "created_at": seconds(stored.created_ms),
        "status": "processed",
        "status_details": None,
        **stored.document,
    }


async def find_file(stores: Stores, tenant: str, file_id: str) -> StoredObject:
    """A file that has not expired; raises `RequestError`."""
    found = await stores.objects.find(tenant, FILE, file_id)
    if found is not None and _expired(found):
        await _erase(stores, tenant, file_id)
        found = None
    if found is None:
        raise not_found("file", file_id)
    return found


def _expired(stored: StoredObject) -> bool:
    expires = stored.document["expires_at"]
    return expires is not None and expires <= seconds(now_ms())


async def _erase(stores: Stores, tenant: str, file_id: str) -> None:
    await stores.datasets.delete(tenant, file_id, erase=True)
    await stores.objects.delete(tenant, FILE, file_id)


async def store_rows(
    stores: Stores, tenant: str, name: str, rows: Iterator[tuple[int, Row | DataRow]]
) -> int:
    """Make a dataset of rows, and count them; raises `RequestError` with those at fault."""
    dataset = await stores.datasets.create(tenant, name, "", None)
    try:
        return await _stored(stores, dataset, rows)
    except BaseException:
        await asyncio.shield(stores.datasets.delete(tenant, name, erase=True))
        raise


async def _stored(
    stores: Stores, dataset: DatasetVersion, rows: Iterator[tuple[int, Row | DataRow]]
) -> int:
    upload = await stores.datasets.open_upload(dataset)
    bad: list[FieldError] = []
    numbered = enumerate(rows)
    while len(bad) < BAD_LINES_MAX and (chunk := await asyncio.to_thread(_next_chunk, numbered)):
        bad += chunk.bad
        if not bad:
            await stores.datasets.add_items(upload, chunk.items)
    if bad:
        raise RequestError("invalid_request", bad[0].message, bad)
    published = await stores.datasets.publish(upload, append=False)
    if not published.items:
        raise RequestError("invalid_request", "There are no rows.")
    return published.items


@dataclass(slots=True)
class _Chunk:
    items: list[NewItem]
    bad: list[FieldError]


def _next_chunk(rows: Iterator[tuple[int, tuple[int, Row | DataRow]]]) -> _Chunk | None:
    """The next rows, each with its number, or None at the end; for a thread."""
    chunk = _Chunk([], [])
    for number, (line, row) in rows:
        try:
            body = dumps(_checked(row).document())
            # Two equal lines are two rows, so the number of the row is the id.
            item = NewItem(line, str(number), hashlib.sha256(body).hexdigest(), body)
            chunk.items.append(item)
        except (RequestError, UnicodeEncodeError, TypeError) as error:
            said = error.message if isinstance(error, RequestError) else "holds what is not JSON"
            chunk.bad.append(FieldError("/file", f"Line {line}: {said}"))
        if len(chunk.items) + len(chunk.bad) >= CHUNK_ITEMS:
            break
    return chunk if chunk.items or chunk.bad else None


def _checked(row: Row | DataRow) -> DataRow:
    if isinstance(row, str):
        raise RequestError("invalid_request", row)
    if isinstance(row, DataRow):
        return row
    found = validated(DataRow, row)
    check_structure(found.document())
    return found


def _file_rows(file: IO[bytes], row_bytes_max: int) -> Iterator[tuple[int, Row]]:
    file.seek(0)
    return json_lines(file, row_bytes_max)


def row_document(item: StoredItem) -> dict[str, Any]:
    """A stored row as it was sent."""
    body: Mapping[str, Any] = loads(item.body)
    sample = {"sample": body["sample"]} if body["sample"] else {}
    return {"item": body["fields"], **sample}


async def stored_rows(
    stores: Stores, tenant: str, name: str, after: int = 0
) -> AsyncIterator[StoredItem]:
    """The rows of a dataset in order."""
    dataset = await stores.datasets.find(tenant, name)
    while dataset is not None:
        found = await stores.datasets.items(dataset, after=after, limit=CHUNK_ITEMS)
        for item in found:
            yield item
        if len(found) < CHUNK_ITEMS:
            return
        after = found[-1].place


async def _lines(stores: Stores, tenant: str, name: str) -> AsyncIterator[bytes]:
    async for item in stored_rows(stores, tenant, name):
        yield dumps(row_document(item)) + b"\n"
