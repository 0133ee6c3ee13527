"""PUT /v1/batches/{id}/items: rows as JSON Lines, read as a stream with two chunks in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from assay.api.batches.lines import Line, read_lines
from assay.api.batches.requests import ITEM_ID_CHARS_MAX, BatchRow
from assay.api.batches.responses import UploadResponse, render_upload
from assay.api.batches.services import Batches
from assay.api.problem_codes import BATCH, BODY
from assay.api.validation import first_fault, validate
from assay.catalog.item_files import JSON_LINES
from assay.domain.batches import Added, BadRow, Batch, NewBatch, NewRow
from assay.domain.errors import FieldError, RequestError
from assay.domain.exact_json import decode_fault, dumps
from assay.domain.targets import NO_HOSTS, AllowedHosts
from assay.http.body import check_count, check_structure, require_media_type, with_exact_numbers
from assay.http.openapi import problems

CHUNK_ROWS = 200
CHUNK_BYTES = 512 * 1_024
"""Rows go to the store in chunks of this size, which are checked in a thread."""
UPLOAD_BAD_ROWS_MAX = 1_000
"""An upload with more bad rows is stopped: it is probably the wrong file."""

CheckedRows = tuple[list[NewRow], list[BadRow]]


@dataclass(slots=True)
class UploadReport:
    """How many rows of an upload were accepted so far, and what is wrong with the others."""

    accepted: int = 0
    known: int = 0
    bad: list[BadRow] = field(default_factory=list)

    def count(self, added: Added, bad: Sequence[BadRow]) -> None:
        self.accepted += added.accepted
        self.known += added.known
        self.bad += [*bad, *added.refused]


def batch_items_router(batches: Batches) -> APIRouter:
    """The route that rows are uploaded to."""
    router = APIRouter(tags=["batches"])

    @router.put(
        "/v1/batches/{batch_id}/items",
        operation_id="upload_batch_items",
        response_model=None,
        responses={200: {"model": UploadResponse}, **problems(*BATCH, *BODY, "conflict")},
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    JSON_LINES[0]: {
                        "schema": {"type": "string", "description": "One row (BatchRow) per line."}
                    }
                },
            }
        },
    )
    async def upload_batch_items(request: Request, batch_id: str) -> Response:
        """Add rows; to repeat an upload is harmless, since rows are known by their id."""
        batch = await batches.requested(request, batch_id)
        require_media_type(request, JSON_LINES)
        if batch.status != "open":
            raise RequestError("conflict", f"The batch is {batch.status}, not open.")
        report = UploadReport()
        lines = read_lines(request.stream(), batches.limits.max_body_bytes)
        async with (
            aclosing(_checked(lines, batches.limits.image_hosts)) as checked,
            aclosing(one_ahead(checked)) as chunks,
        ):
            async for rows, bad in chunks:
                await _add(batches, batch, rows, bad, report)
                if len(report.bad) > UPLOAD_BAD_ROWS_MAX:
                    raise _too_many_bad_rows(report)
        await batches.store.durable(batch.id)
        body = render_upload(report.accepted, report.known, report.bad)
        return Response(body, media_type="application/json")

    return router


async def add_inline(
    batches: Batches, batch: Batch | NewBatch, items: Sequence[dict[str, Any]]
) -> UploadReport:
    """Add the rows of a request's own body."""
    report = UploadReport()
    for start in range(0, len(items), CHUNK_ROWS):
        lines = [
            Line(number, document=item)
            for number, item in enumerate(items[start : start + CHUNK_ROWS], start + 1)
        ]
        rows, bad = await asyncio.to_thread(check_rows, lines, batches.limits.image_hosts)
        await _add(batches, batch, rows, bad, report)
    return report


async def _add(
    batches: Batches,
    batch: Batch | NewBatch,
    rows: Sequence[NewRow],
    bad: Sequence[BadRow],
    report: UploadReport,
) -> None:
    # Also without a good row: the batch may have been started or deleted since.
    size = sum(len(row.document) for row in rows)
    await batches.storage.add_bytes(batch.tenant, batch.id, size)
    added = await batches.store.add(batch.id, rows)
    if rows and added.accepted < len(rows):
        # Which rows were known is not told: they count at the average of the chunk.
        unused = size * (len(rows) - added.accepted) // len(rows)
        await batches.storage.add_bytes(batch.tenant, batch.id, -unused)
    report.count(added, bad)
    if refused := [*bad, *added.refused]:
        await batches.store.report(batch.id, refused)


async def one_ahead(chunks: AsyncIterator[CheckedRows]) -> AsyncGenerator[CheckedRows]:
    """The chunks; while the store takes one, the next is read and checked."""
    following = asyncio.create_task(_next(chunks))
    try:
        while (chunk := await following) is not None:
            following = asyncio.create_task(_next(chunks))
            yield chunk
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def _next(chunks: AsyncIterator[CheckedRows]) -> CheckedRows | None:
    return await anext(chunks, None)


async def _checked(
    lines: AsyncIterator[Line], image_hosts: AllowedHosts
) -> AsyncGenerator[CheckedRows]:
    async for chunk in _chunks(lines):
        yield await asyncio.to_thread(check_rows, chunk, image_hosts)


def check_rows(lines: Sequence[Line], image_hosts: AllowedHosts = NO_HOSTS) -> CheckedRows:
    """The rows in lines, and what is wrong with the others."""
    checked = [_row(line, image_hosts) for line in lines]
    rows = [row for row in checked if isinstance(row, NewRow)]
    bad = [row for row in checked if isinstance(row, BadRow)]
    return rows, bad


def _row(line: Line, image_hosts: AllowedHosts) -> NewRow | BadRow:
    if line.fault:
        return BadRow(line.number, line.fault)
    document = line.document
    item_id: str | None = None
    try:
        if document is None:
            check_count(line.content)
            document = orjson.loads(line.content)
        if not isinstance(document, dict):
            return BadRow(line.number, "must be a JSON object")
        item_id = _shown_id(document.get("id"))
        check_structure(document)
        if line.document is None:
            document = with_exact_numbers(document, line.content)
        row = validate(BatchRow, document, image_hosts)
        return NewRow(line.number, row.id, dumps(row.document()))
    except orjson.JSONDecodeError as error:
        return BadRow(line.number, f"must be valid JSON: {decode_fault(error, line.content)}")
    except RequestError as error:
        return BadRow(line.number, first_fault(error), item_id)
    except (UnicodeEncodeError, TypeError):  # orjson's, which may quote the row
        return BadRow(line.number, "contains a value that JSON cannot represent", item_id)


def _shown_id(value: Any) -> str | None:
    """The row's id if it may be shown; anything else is the caller's text of any length."""
    if not isinstance(value, str | int) or isinstance(value, bool):
        return None
    text = str(value)
    return text if len(text) <= ITEM_ID_CHARS_MAX else None


async def _chunks(lines: AsyncIterator[Line]) -> AsyncIterator[Sequence[Line]]:
    chunk: list[Line] = []
    size = 0
    async for line in lines:
        chunk.append(line)
        size += len(line.content)
        if len(chunk) >= CHUNK_ROWS or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _too_many_bad_rows(report: UploadReport) -> RequestError:
    detail = (
        f"The upload was stopped after more than {UPLOAD_BAD_ROWS_MAX} bad rows; "
        f"{report.accepted} rows were accepted. The pointers are line numbers."
    )
    faults = [FieldError(f"/{row.line}", row.message) for row in report.bad]
    return RequestError("invalid_request", detail, faults)
