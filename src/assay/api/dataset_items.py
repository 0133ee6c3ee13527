"""Items of a dataset: made of the rows of an upload, and read back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

from assay.api.batches.requests import GROUP_CHARS_MAX, ItemId
from assay.api.requests import CaseFields, OptionalOutput, present
from assay.api.validation import field_names, first_fault, validate
from assay.domain.errors import RequestError
from assay.domain.exact_json import dumps, loads
from assay.domain.records import NewItem, StoredItem
from assay.domain.row_files import Row
from assay.http.body import check_structure
from assay.http.limits import Limits

CHUNK_ITEMS = 200
CHUNK_BYTES = 1024 * 1024


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


_OF_ITEM = frozenset(field_names(DatasetItem))


@dataclass(slots=True)
class Chunk:
    """A few rows of an upload: as items, as they were sent, and what is wrong with others."""

    items: list[NewItem] = field(default_factory=list)
    sent: dict[int, Any] = field(default_factory=dict)
    bad: dict[int, str] = field(default_factory=dict)


def next_chunk(rows: Iterator[tuple[int, Row]], limits: Limits) -> Chunk | None:
    """The next rows, or None at the end; for a thread."""
    chunk, size = Chunk(), 0
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
    # The first half of a hash is as good as all of it where a collision is of no use to a caller.
    return NewItem(line, id_ or digest[:32], digest, body, item.group, item.split, item.metadata)


def item_document(item: StoredItem) -> dict[str, Any]:
    """An item as callers read it."""
    return {"id": item.id, **loads(item.body)}
