"""PUT /v1/batches/{id}/items: rows as JSON Lines, read as they come, a few in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from assay.api.batches.lines import Line, lines_of
from assay.api.batches.requests import BatchRow
from assay.api.batches.responses import AddedAnswer, render_added
from assay.api.batches.services import Batches
from assay.api.validation import validate
from assay.domain.batches import Added, BadRow, NewRow
from assay.domain.errors import FieldError, RequestError
from assay.http.body import check_structure
from assay.http.openapi import problems
from assay.http.problems import Problem, ProblemError

CHUNK_ROWS = 200
CHUNK_BYTES = 512 * 1_024
"""Rows go to the store in pieces of this size; a piece is checked and packed in a thread."""
BAD_ROWS_MAX = 1_000
"""An upload with more bad rows is stopped: it is not of the right kind, and nobody reads them."""
NDJSON = ("application/x-ndjson", "application/jsonl", "application/jsonlines")


@dataclass(slots=True)
class UploadReport:
    """What came of an upload so far."""

    accepted: int = 0
    known: int = 0
    rejected: int = 0
    bad: list[BadRow] = field(default_factory=list)

    def count(self, added: Added, bad: Sequence[BadRow]) -> None:
        self.accepted += added.accepted
        self.known += added.known
        self.rejected += len(bad) + len(added.refused)
        self.bad += [*bad, *added.refused]


def batch_items_router(batches: Batches) -> APIRouter:
    """The route that rows are uploaded by."""
    router = APIRouter(tags=["batches"])

    @router.put(
        "/v1/batches/{batch_id}/items",
        operation_id="upload_batch_items",
        response_model=None,
        responses={
            200: {"model": AddedAnswer},
            **problems(
                "unauthenticated", "not_found", "request_timeout", "conflict", "body_too_large",
                "unsupported_media_type", "invalid_request", "internal", "overloaded",
                "store_unavailable",
            ),
        },
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    NDJSON[0]: {
                        "schema": {"type": "string", "description": "A row (BatchRow) a line."}
                    }
                },
            }
        },
    )  # fmt: skip
    async def upload_batch_items(request: Request, batch_id: str) -> Response:
        """Add rows; repeating an upload is harmless, rows are known by their id."""
        batch = await batches.found(request, batch_id)
        _check_headers(request)
        if batch.status != "open":
            raise RequestError("conflict", f"The batch is {batch.status}, not open.")
        upload = UploadReport()
        async for chunk in _chunks(lines_of(request.stream(), batches.rules.row_bytes_max)):
            upload.count(*await _add(batches, batch.id, chunk))
            if upload.rejected > BAD_ROWS_MAX:
                raise _too_many(upload)
        await batches.store.durable(batch.id)
        added = Added(upload.accepted, upload.known)
        return Response(
            render_added(added, upload.bad, upload.rejected), media_type="application/json"
        )

    return router


async def add_inline(
    batches: Batches, batch_id: str, items: Sequence[dict[str, Any]]
) -> tuple[Added, Sequence[BadRow]]:
    """Add the rows of a request's own body."""
    upload = UploadReport()
    for start in range(0, len(items), CHUNK_ROWS):
        lines = [
            Line(start + place, document=item)
            for place, item in enumerate(items[start : start + CHUNK_ROWS], start=1)
        ]
        upload.count(*await _add(batches, batch_id, lines))
    return Added(upload.accepted, upload.known), upload.bad


async def _add(
    batches: Batches, batch_id: str, lines: Sequence[Line]
) -> tuple[Added, Sequence[BadRow]]:
    rows, bad = await asyncio.to_thread(checked, lines)
    # Without a good row as well: the batch may have been started or removed since.
    added = await batches.store.add(batch_id, rows)
    refused = [*bad, *added.refused]
    if refused:
        await batches.store.report(batch_id, refused)
    return added, bad


def checked(lines: Sequence[Line]) -> tuple[list[NewRow], list[BadRow]]:
    """The rows in lines, and what is wrong with the others."""
    rows: list[NewRow] = []
    bad: list[BadRow] = []
    for line in lines:
        found = _row(line)
        if isinstance(found, NewRow):
            rows.append(found)
        else:
            bad.append(found)
    return rows, bad


def _row(line: Line) -> NewRow | BadRow:
    if line.fault:
        return BadRow(line.number, line.fault)
    document = line.document
    item_id: str | None = None
    try:
        if document is None:
            document = orjson.loads(line.content)
        if not isinstance(document, dict):
            return BadRow(line.number, "must be a JSON object")
        item_id = _shown_id(document.get("id"))
        check_structure(document)
        row = validate(BatchRow, document)
        return NewRow(line.number, row.id, orjson.dumps(row.document()))
    except orjson.JSONDecodeError as error:
        return BadRow(line.number, f"not valid JSON: {error}")
    except ProblemError as refused:
        return BadRow(line.number, _told(refused.problem), item_id)
    except (ValidationError, UnicodeEncodeError, TypeError):
        return BadRow(line.number, "holds what JSON cannot", item_id)


def _shown_id(value: Any) -> str | None:
    """The row's id where it may be told; anything else is the caller's text at any length."""
    if isinstance(value, str | int) and not isinstance(value, bool) and len(str(value)) <= 256:  # noqa: PLR2004  # ITEM_ID_CHARS_MAX
        return str(value)
    return None


def _told(problem: Problem) -> str:
    if not problem.errors:
        return problem.detail
    first = problem.errors[0]
    return f"{first.pointer}: {first.message}" if first.pointer else first.message


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


def _too_many(upload: UploadReport) -> ProblemError:
    faults = tuple(FieldError(f"/{row.line}", row.message) for row in upload.bad)
    detail = (
        f"More than {BAD_ROWS_MAX} rows are bad, so the upload was stopped; "
        f"{upload.accepted} rows were taken. Pointers are line numbers."
    )
    return ProblemError(Problem("invalid_request", detail, faults))


def _check_headers(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if kind not in NDJSON or encoding != "identity":
        detail = "Send rows as 'Content-Type: application/x-ndjson', without a Content-Encoding."
        raise ProblemError(Problem("unsupported_media_type", detail))
