"""/v1/labels: what people say of cases, to compare judges with."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Request, Response
from pydantic import Field, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from assay.api.batches.requests import ItemId
from assay.api.batches.services import Batches
from assay.api.problem_codes import JSON_BODY, RECORD
from assay.api.requests import CaseFields, EvaluatorReference, Metadata
from assay.api.responses import ListResponse, Shape
from assay.api.routes import add_route, flag, json_response, list_document, text_parameters
from assay.api.validation import first_fault, validate
from assay.catalog.item_files import JSON_LINES, json_lines
from assay.catalog.labels import case_digest, item_digests
from assay.catalog.stores import Stores
from assay.criteria.frozen import Frozen
from assay.criteria.locations import require_one
from assay.domain.errors import RequestError
from assay.domain.ids import new_id, now_ms, shown_time
from assay.domain.labels import LABEL_ID_KIND, SCORE_MAX, HumanLabel
from assay.domain.row_files import Row
from assay.http.body import read_json, require_media_type
from assay.http.openapi import query_flag, query_parameter
from assay.http.pagination import Paging
from assay.http.problems import bad_lines, invalid_request

PAGE = Paging(largest=1_000, default=100, cursor_pattern=LABEL_ID_KIND + "_[0-9a-f]{32}")
LABELS_MAX = 1_000
"""Labels of one request, which are added in one transaction."""
NAME_CHARS_MAX = 256
COMMENT_CHARS_MAX = 10_000
JSON = "application/json"
FILTERS = {
    "dataset": "dataset", "batch": "batch", "item": "item_id", "criterion": "criterion",
    "annotator": "annotator",
}  # fmt: skip
"""Parameters of the query, and the fields that they filter by."""
_VALUES = ("passed", "label", "score", "preference")
_ITEMS = ({"dataset", "id"}, {"batch", "item_id"}, {"case"})

Given = Annotated[str, Field(min_length=1, max_length=NAME_CHARS_MAX)]


class LabelledItem(Frozen):
    """What is labelled: an item of a dataset or a batch, or a case itself."""

    dataset: EvaluatorReference | None = Field(
        default=None, description="With `id`: a dataset, or a version of it, such as `faq@3`."
    )
    id: ItemId | None = None
    batch: Given | None = Field(default=None, description="With `item_id`: a batch.")
    item_id: ItemId | None = None
    case: CaseFields | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if self.model_fields_set not in _ITEMS:
            raise PydanticCustomError(
                "one_item", "must have dataset and id, batch and item_id, or case"
            )
        return self


class LabelRequest(Frozen):
    """What an annotator says of an item by one criterion; exactly one value."""

    item: LabelledItem
    criterion: Given
    passed: StrictBool | None = None
    label: Given | None = None
    score: float | None = Field(default=None, ge=-SCORE_MAX, le=SCORE_MAX)
    preference: Literal["a", "b", "tie"] | None = None
    annotator: Given
    comment: str = Field(default="", max_length=COMMENT_CHARS_MAX)
    metadata: Metadata = Field(default={}, description="Returned unchanged, at most 16 KB.")
    random_sample: StrictBool = Field(
        default=False,
        description="Whether the item was drawn at random: only such labels correct a mean.",
    )

    @model_validator(mode="after")
    def _has_one_value(self) -> Self:
        require_one(self, *_VALUES)
        return self


class LabelResponse(Shape):
    """A label."""

    id: str
    object: Literal["label"]
    item: dict[str, str] = Field(
        description="The item, and `digest`, a hash of its case: the label is of that content."
    )
    criterion: str
    passed: bool | None
    label: str | None
    score: float | None
    preference: str | None
    annotator: str
    comment: str
    metadata: dict[str, Any]
    random_sample: bool
    superseded_by: str | None = Field(description="The annotator's later label of the item.")
    created_at: str


class LabelListResponse(ListResponse[LabelResponse]):
    """Labels, newest first; those of one upload in its order."""


class HumanLabels:
    """The resource of labels."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self._services = batches.services
        self._limits = batches.limits

    def router(self) -> APIRouter:
        """Its routes."""
        router = APIRouter(tags=["labels"])
        route = partial(add_route, router)
        codes = (*JSON_BODY, *RECORD, "store_unavailable")
        answer = LabelResponse | LabelListResponse
        create = partial(route, "POST", "/v1/labels", self.create_labels, answer, codes)
        create(body=LabelRequest, status=201, uploads=JSON_LINES[:1])
        listed, one = (*RECORD, "invalid_request"), "/v1/labels/{label_id}"
        wanted = [query_parameter(name, f"Only labels of this {name}.") for name in FILTERS]
        superseded = query_flag("superseded", "Labels that were corrected, not those that stand.")
        route(
            "GET", "/v1/labels", self.list_labels, LabelListResponse, listed, page=PAGE,
            parameters=[*wanted, superseded],
        )  # fmt: skip
        route("DELETE", one, self.delete_label, None, (*RECORD, "forbidden"), status=204)
        return router

    async def create_labels(self, request: Request) -> Response:
        """Add a label, or all of many as JSON Lines; a correction supersedes the earlier one."""
        tenant = await self._services.admit(request)
        if require_media_type(request, (JSON, *JSON_LINES)) == JSON:
            (label,) = await self._added(tenant, [(0, (await read_json(request)).document)])
            return json_response(_document(label), 201)
        content = io.BytesIO(await request.body())
        rows = list(islice(json_lines(content, self._limits.max_body_bytes), LABELS_MAX + 1))
        labels = await self._added(tenant, rows)
        return json_response(
            list_document([_document(label) for label in labels], len(labels)), 201
        )

    async def list_labels(self, request: Request) -> Response:
        """List labels that stand, or with `?superseded=true` those that were corrected.

        Filtered by `dataset`, `batch`, `item`, `criterion` and `annotator`.
        """
        tenant = await self._services.admit(request)
        cursor, limit, superseded = (
            PAGE.cursor(request),
            PAGE.limit(request),
            flag(request, "superseded"),
        )
        given = text_parameters(request, FILTERS)
        wanted = {FILTERS[name]: value for name, value in given.items()}
        store = (await self._services.open_stores()).labels
        found = await store.page(tenant, cursor, limit + 1, superseded=superseded, wanted=wanted)
        return json_response(list_document([_document(label) for label in found], limit))

    async def delete_label(self, request: Request, label_id: str) -> Response:
        """Remove a label; one that it superseded stays superseded."""
        tenant = await self._services.admit(request)
        store = (await self._services.open_stores()).labels
        if not await store.delete(tenant, label_id):
            raise RequestError("not_found", "No label has this id.")
        return Response(status_code=204)

    async def _added(self, tenant: str, rows: Sequence[tuple[int, Row]]) -> list[HumanLabel]:
        """Add the labels of the rows; raises `RequestError` with the fault of every line."""
        if not rows or len(rows) > LABELS_MAX:
            raise invalid_request("", f"The request must have from 1 to {LABELS_MAX} labels")
        bad: dict[int, RequestError] = {}
        wanted: dict[int, LabelRequest] = {}
        for line, row in rows:
            if isinstance(row, str):
                bad[line] = RequestError("invalid_request", row)
                continue
            try:
                wanted[line] = validate(LabelRequest, row)
            except RequestError as error:
                bad[line] = error
        stores = await self._services.open_stores()
        digests = await self._digests(stores, tenant, wanted)
        missing = invalid_request("/item", "there is no such item")
        bad |= {line: missing for line in wanted if line not in digests}
        if 0 in bad:
            raise bad[0]
        if bad:
            raise bad_lines({line: first_fault(error) for line, error in bad.items()})
        labels = [_label(one, digests[line]) for line, one in wanted.items()]
        await stores.labels.add(tenant, labels)
        return labels

    async def _digests(
        self, stores: Stores, tenant: str, wanted: Mapping[int, LabelRequest]
    ) -> dict[int, str]:
        """The hash of the case by line, where the item is there.

        It is empty for an item of a batch, where nothing else ever gets its id.
        """
        items = {line: one.item for line, one in wanted.items()}
        named = [(item.dataset, item.id) for item in items.values() if item.dataset and item.id]
        found = await item_digests(stores, tenant, named)
        rows = {(item.batch, item.item_id or "") for item in items.values() if item.batch}
        known = await self._known(tenant, rows)
        digests: dict[int, str] = {}
        for line, item in items.items():
            if item.case is not None:
                digests[line] = case_digest(vars(item.case))
            elif item.batch:
                if (item.batch, item.item_id) in known:
                    digests[line] = ""
            elif digest := found.get((item.dataset or "", item.id or "")):
                digests[line] = digest
        return digests

    async def _known(self, tenant: str, rows: set[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of the rows, each a batch and an id, that there are."""
        known: set[tuple[str, str]] = set()
        for batch_id in {batch_id for batch_id, _ in rows}:
            with suppress(RequestError):  # there is no such batch
                batch = await self._batches.found(tenant, batch_id)
                ids = [id_ for owner, id_ in rows if owner == batch_id]
                found = await self._batches.lasting.known_ids(batch, ids)
                known |= {(batch_id, id_) for id_ in found}
        return known


def _label(wanted: LabelRequest, digest: str) -> HumanLabel:
    item, values = wanted.item, wanted.model_dump(exclude={"item"})
    dataset = (item.dataset or "").partition("@")[0]
    item_id = item.id or item.item_id or ""
    return HumanLabel(
        new_id(LABEL_ID_KIND), now_ms(), digest,
        dataset=dataset, batch=item.batch or "", item_id=item_id, **values,
    )  # fmt: skip


def _document(label: HumanLabel) -> dict[str, Any]:
    if label.dataset:
        item = {"dataset": label.dataset, "id": label.item_id}
    else:
        item = {"batch": label.batch, "item_id": label.item_id} if label.batch else {}
    return {
        "id": label.id,
        "object": "label",
        "item": {**item, **({"digest": label.digest} if label.digest else {})},
        **{name: getattr(label, name) for name in (*_VALUES, "criterion", "annotator")},
        "comment": label.comment,
        "metadata": label.metadata,
        "random_sample": label.random_sample,
        "superseded_by": label.superseded_by,
        "created_at": shown_time(label.created_ms),
    }
