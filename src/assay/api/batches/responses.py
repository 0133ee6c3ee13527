"""The responses about batches: their OpenAPI schemas and their JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

import orjson
from pydantic import ConfigDict, Field

from assay.api.responses import EXACT, EvaluationResponse, ListResponse, Shape
from assay.batches.comparison import BatchComparison, ChangedRow
from assay.batches.gates import certain_verdicts, parse_gates
from assay.batches.summary import NANO, summarize
from assay.domain.batches import BadRow, Batch, BatchStatus, StoredResult, Sums
from assay.domain.completion import Usage, doc
from assay.domain.exact_json import loads
from assay.domain.ids import now_ms, shown_time
from assay.judging.generation import Generated

BAD_ROWS_SHOWN_MAX = 100
SHOWN = ("name", "evaluator", "dataset", "generated_by", "retry_of", "rule")
"""What a batch was made with, and shows as it is."""
USAGE = tuple(each.name for each in fields(Usage))


class BatchCountsResponse(Shape):
    """Rows by their result; `pending` rows are neither done nor cancelled."""

    total: int
    pending: int
    scored: int = Field(description="Every criterion is scored.")
    partial: int = Field(description="Some criteria are scored.")
    unscored: int = Field(description="No criterion is scored; each says why.")
    failed: int = Field(description="There is no evaluation; the result says why.")
    cancelled: int
    rejected: int = Field(description="Bad rows, which do not count in `total`.")
    retried: int = Field(description="Attempts repeated after a transient failure.")
    waiting: int = Field(
        description="Of the pending rows: those that wait for a provider's batch API."
    )


class GateResponse(Shape):
    """A gate of a batch, and what is known of it."""

    criterion: str | None
    min_score: float | None
    min_pass_rate: float | None
    verdict: Literal["passed", "failed", "undecided"]
    interval: tuple[float, float] = Field(
        description="Where the mean over all rows lies: for certain or, in a batch that may stop "
        "early, with a probability of 1 - alpha over the number of gates."
    )
    rows: int = Field(
        description="Rows that this rests on; in a batch that may stop early, the first ones of "
        "its random order."
    )
    statement: str


class SavedResponse(Shape):
    """What a batch saved by its early end."""

    rows: int = Field(description="Rows that were not judged.")
    cost_usd: float = Field(description="Estimated from the rows that were judged.")


class StopResponse(Shape):
    """How a batch may stop early, and what it saved by that."""

    alpha: float
    seed: int
    saved: SavedResponse | None = Field(description="Null before the batch is `decided`.")


class BatchResponse(Shape):
    """A batch as it stands."""

    id: str
    object: Literal["batch"]
    status: BatchStatus
    created_at: str
    started_at: str | None
    finished_at: str | None
    expires_at: str
    counts: BatchCountsResponse
    score: float | None = Field(description="Mean score of the rows scored so far.")
    pass_rate: float | None
    cost_usd: float
    usage: dict[str, int]
    simulated: bool
    rows_per_s: float | None
    estimated_end_at: str | None
    summary: dict[str, Any] | None = Field(
        description="By criterion: mean with its 95 % confidence interval, pass rate, and unscored "
        "share by reason. Null in lists."
    )
    gates: list[GateResponse] | None = Field(description="Null in lists.")
    stop_when_certain: StopResponse | None
    bad_rows: list[dict[str, Any]]
    webhook: dict[str, Any] | None
    error: str | None
    name: str | None
    evaluator: str | None = Field(description="The evaluator that the criteria are from.")
    dataset: str | None = Field(description="The dataset whose items are the rows.")
    generated_by: str | None = Field(description="The model that makes the outputs.")
    retry_of: str | None = Field(description="The batch whose unscored rows are asked again.")
    rule: dict[str, str] | None = Field(
        description="The rule whose live traffic the rows are: it takes rows for an hour."
    )
    metadata: dict[str, Any]


class BatchListResponse(ListResponse[BatchResponse]):
    """Batches, newest first."""


class ModelForecast(Shape):
    """What a batch would take of one model; the first of its judge that is asked."""

    model: str
    calls: float
    input_tokens: float
    output_tokens: float
    cost_usd: float | None = Field(description="Null where no price is known.")
    duration_s: float | None = Field(description="By its quota; null where it has none.")


class ForecastResponse(Shape):
    """What a batch would take, estimated from some of its rows."""

    object: Literal["batch.forecast"]
    rows: int
    sampled_rows: int
    models: list[ModelForecast]
    calls: float
    is_upper_bound: bool = Field(
        description="Whether a judge is a cascade, or a criterion has a condition: then every tier "
        "is taken to be asked, and every condition to hold."
    )
    cost_usd: float | None
    cost_usd_ci95: tuple[float, float] | None = Field(
        description="What the sampled rows leave open; outputs are taken to be as long as earlier "
        "ones, or as long as they may be."
    )
    duration_s: float | None


class UploadResponse(Shape):
    """How many rows of an upload were accepted, and which were not."""

    object: Literal["batch.upload"]
    accepted: int = Field(description="New rows.")
    known: int = Field(description="Rows that the batch already had, with the same content.")
    rejected: int
    bad_rows: list[dict[str, Any]] = Field(
        description="The first rejected rows: line, id, message."
    )


@dataclass(frozen=True, slots=True)
class BatchComparisonResponse(BatchComparison):
    """Two batches compared by item."""

    __pydantic_config__: ClassVar[ConfigDict] = EXACT


class ChangedRowListResponse(ListResponse[ChangedRow]):
    """Rows of a criterion that changed, the worst first."""


class ComparisonProgressResponse(Shape):
    """A comparison that is being computed: ask again after `Retry-After`."""

    object: Literal["batch.comparison.progress"]
    rows_read: int
    rows: int = Field(description="Of both batches.")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchItemResponse(EvaluationResponse):
    """The evaluation of a row, with the row's id and index."""

    item_id: str
    item_index: int
    generated: Generated | None = field(
        default=None, metadata=doc("The output that the batch made, and what it took.")
    )
    group: str | None = None


class RowErrorResponse(Shape):
    """Why there is no evaluation of a row."""

    code: str
    message: str


class FailedItemResponse(Shape):
    """A row without an evaluation."""

    item_id: str
    item_index: int
    object: Literal["evaluation"]
    status: Literal["failed"]
    error: RowErrorResponse


class BatchItemListResponse(ListResponse[BatchItemResponse | FailedItemResponse]):
    """Results in the order of the items."""


def batch_document(
    batch: Batch, *, sums: Sums | None = None, bad: Sequence[BadRow] = ()
) -> dict[str, Any]:
    """A batch as callers read it; with its summary if the sums are given."""
    shown = loads(batch.shown)
    rate = _rate(batch)
    open_rows = batch.total - batch.settled
    summary = None if sums is None else summarize(shown.get("criteria", ()), sums)
    rows = {} if summary is None else summary["rows"]
    ends_ms = 0
    if batch.status == "running" and rate:
        ends_ms = now_ms() + round(open_rows / rate * 1_000)
    webhook = shown.get("webhook_url")
    return {
        "id": batch.id,
        "object": "batch",
        "status": batch.status,
        "created_at": _time(batch.created_ms),
        "started_at": _time(batch.started_ms),
        "finished_at": _time(batch.finished_ms),
        "expires_at": _time(batch.expires_ms),
        "counts": {
            "total": batch.total,
            "pending": 0 if batch.ended else open_rows,
            **batch.by_status,
            "cancelled": open_rows if batch.ended else 0,
            "rejected": batch.rejected,
            "retried": batch.retried,
            "waiting": 0 if batch.ended else batch.parked,
        },
        "score": rows.get("mean"),
        "pass_rate": rows.get("pass_rate"),
        "cost_usd": batch.sums["cost_nano_usd"] / NANO,
        "usage": {name: batch.sums[name] for name in USAGE},
        "simulated": batch.sums["simulated"] > 0,
        "rows_per_s": rate,
        "estimated_end_at": _time(ends_ms),
        "summary": summary,
        "gates": None if sums is None else _gates(batch, shown, sums),
        "stop_when_certain": _stop(batch, shown.get("stop_when_certain"), open_rows),
        "bad_rows": [_bad_row(row) for row in bad],
        "webhook": {"url": webhook, "state": batch.webhook_state} if webhook else None,
        "error": batch.error or None,
        **{name: shown.get(name) for name in SHOWN},
        "metadata": shown.get("metadata") or {},
    }


def _gates(batch: Batch, shown: Mapping[str, Any], sums: Sums) -> list[dict[str, Any]]:
    """The gates with what is known of them, by their stopping rules or else by the sums."""
    gates = shown.get("gates") or ()
    known = batch.gates
    if not known:
        names = [criterion["name"] for criterion in shown["criteria"]]
        parsed = parse_gates(gates, names)
        known = certain_verdicts(parsed, sums.tally, batch.total, batch.settled)
    return [{**gate, **verdict} for gate, verdict in zip(gates, known, strict=True)]


def _stop(batch: Batch, stop: Mapping[str, Any] | None, open_rows: int) -> dict[str, Any] | None:
    if stop is None:
        return None
    saved = None
    if batch.status == "decided":
        cost_usd = batch.sums["cost_nano_usd"] / NANO / batch.settled * open_rows
        saved = {"rows": open_rows, "cost_usd": cost_usd}
    return {**stop, "saved": saved}


def render_upload(accepted: int, known: int, bad: Sequence[BadRow]) -> bytes:
    """The JSON of an upload's response."""
    return orjson.dumps(
        {
            "object": "batch.upload",
            "accepted": accepted,
            "known": known,
            "rejected": len(bad),
            "bad_rows": [_bad_row(row) for row in bad[:BAD_ROWS_SHOWN_MAX]],
        }
    )


def _bad_row(row: BadRow) -> dict[str, Any]:
    return {"line": row.line, "id": row.item_id, "message": row.message}


def render_result(result: StoredResult) -> bytes:
    """A result with its id and index, put in front of the stored JSON without parsing it."""
    head = orjson.dumps({"item_id": result.item_id, "item_index": result.index})
    return head[:-1] + b"," + result.body[1:]


def _rate(batch: Batch) -> float | None:
    """Recent rows per second, or the average since the start; None if none is known yet."""
    if batch.rows_per_s and batch.status == "running":
        return batch.rows_per_s
    seconds = ((batch.finished_ms or now_ms()) - batch.started_ms) / 1_000
    return batch.settled / seconds if batch.started_ms and batch.settled and seconds > 0 else None


def _time(at_ms: int) -> str | None:
    return shown_time(at_ms) if at_ms else None
