"""Which results of a batch a caller wants to see, and the pages of those."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Self

import orjson
from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assay.api.routes import text_parameters
from assay.batches.lasting import LastingBatches
from assay.domain.batches import Batch, ResultPage, StoredResult
from assay.domain.exact_json import loads
from assay.http.openapi import query_parameter
from assay.http.problems import invalid_request

SCANNED_ROWS_MAX = 2_000
"""Rows that one request looks through; its page may then be short, and its cursor goes on."""
SCANNED_BYTES_MAX = 16 * 1_048_576
SCANNED_AT_ONCE = 200
QUERY_CHARS_MAX = 200

Status = Literal["scored", "partial", "unscored", "failed", "skipped"]


class ResultFilter(BaseModel):
    """Results are listed that meet all of this; the fields are parameters of a query."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    criterion: str | None = Field(
        None, description="A criterion, which the other conditions are then about."
    )
    status: Status | None = Field(
        None, description="Of the row as in `counts`, or `scored`, `unscored`, `skipped` of the "
        "criterion."
    )  # fmt: skip
    reason: str | None = Field(
        None, description="Why a criterion is unscored or skipped, or a row failed."
    )
    passed: bool | None = Field(None, description="Whether the evaluation or criterion passed.")
    score_min: float | None = Field(None, ge=0, le=1, description="The lowest score.")
    score_max: float | None = Field(None, ge=0, le=1, description="The highest score.")
    q: str | None = Field(
        None, min_length=1, max_length=QUERY_CHARS_MAX,
        description="A text within an explanation, a label, the item's id or the generated output; "
        "case is ignored.",
    )  # fmt: skip

    @classmethod
    def read(cls, request: Request, batch: Batch) -> Self | None:
        """The filter of a request; None if there is none; raises `RequestError`."""
        given = text_parameters(request, cls.model_fields)
        if not given:
            return None
        names = [criterion["name"] for criterion in loads(batch.shown)["criteria"]]
        if given.get("criterion", names[0]) not in names:
            raise invalid_request("", "criterion must be the name of one of the batch's criteria")
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            fault = error.errors()[0]
            message = re.sub(r"^Input should ", "must ", fault["msg"])
            message = re.sub(r"^String should ", "must ", message)
            raise invalid_request("", f"{fault['loc'][0]} {message}") from None

    @classmethod
    def parameters(cls) -> list[dict[str, Any]]:
        """The OpenAPI parameters."""
        properties = cls.model_json_schema()["properties"]
        return [
            query_parameter(
                name,
                schema["description"],
                next(one for one in schema["anyOf"] if one.get("type") != "null"),
            )
            for name, schema in properties.items()
        ]

    def passes(self, result: StoredResult) -> bool:
        """Whether the result meets the conditions."""
        body = orjson.loads(result.body)
        criteria = body.get("results", ())
        about = [one for one in criteria if self.criterion in (None, one["name"])]
        one, status = body, _row_status(body)
        reasons = [each["reason"] for each in about]
        if self.criterion is not None:
            one = about[0] if about else {}
            status = one.get("status", "")
        elif "error" in body:
            reasons = [body["error"]["code"]]
        score = one.get("score")
        return (
            self.status in (None, status)
            and self.passed in (None, one.get("passed"))
            and (self.reason is None or self.reason in reasons)
            and (self.score_min is None or (score is not None and score >= self.score_min))
            and (self.score_max is None or (score is not None and score <= self.score_max))
            and (self.q is None or self._has_text(result.item_id, body, about))
        )

    def _has_text(
        self, item_id: str, body: Mapping[str, Any], criteria: Sequence[Mapping[str, Any]]
    ) -> bool:
        wanted = (self.q or "").casefold()
        return any(wanted in text.casefold() for text in _texts(item_id, body, criteria))

    def among(self, results: Sequence[StoredResult]) -> list[StoredResult]:
        """Those that pass."""
        return [result for result in results if self.passes(result)]


async def filtered_page(
    lasting: LastingBatches, batch: Batch, wanted: ResultFilter, cursor: int, limit: int
) -> ResultPage:
    """A page of what passes; a short one, or an empty one, where that is rare."""
    found: list[StoredResult] = []
    rows = size = 0
    more = True
    while more and rows < SCANNED_ROWS_MAX and size < SCANNED_BYTES_MAX:
        page = await lasting.page(batch, cursor, SCANNED_AT_ONCE)
        found += await asyncio.to_thread(wanted.among, page.results)
        if len(found) > limit:
            return ResultPage(found[:limit], found[limit - 1].index + 1, has_more=True)
        more, stopped = page.has_more, page.cursor == cursor
        cursor = page.cursor
        if stopped:
            break  # at a row that has no result yet
        rows += SCANNED_AT_ONCE
        size += sum(len(result.body) for result in page.results)
    return ResultPage(found, cursor, has_more=more)


def _row_status(body: Mapping[str, Any]) -> str:
    if body.get("status") != "partial":
        return "scored" if body.get("status") == "completed" else "failed"
    return "partial" if any(one["status"] == "scored" for one in body["results"]) else "unscored"


def _texts(
    item_id: str, body: Mapping[str, Any], criteria: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    yield item_id
    yield (body.get("generated") or {}).get("output") or ""
    for criterion in criteria:
        yield criterion.get("explanation") or ""
        yield criterion.get("label") or ""
