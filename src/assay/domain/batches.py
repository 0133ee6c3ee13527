"""Batches as values: what is asked of many rows, how far it is, and what came of each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

BatchStatus = Literal["open", "running", "completed", "cancelled", "failed"]
RowStatus = Literal["scored", "partial", "unscored", "failed"]
"""All criteria scored; some; none, with the reason; or no evaluation at all, with the error."""

SettleOutcome = Literal["stored", "completed", "known", "missing"]
"""Stored; stored, and it was the batch's last; there was a result before; the batch is gone."""

ROW_STATUSES: tuple[RowStatus, ...] = ("scored", "partial", "unscored", "failed")
ENDED: frozenset[BatchStatus] = frozenset({"completed", "cancelled", "failed"})


BATCH_ID_KIND = "batch"


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch to be made; `request` is the JSON of its criteria, judge and metadata as they came.

    `webhook` is the JSON of the target and its secret, or empty.
    """

    id: str
    tenant: str
    created_ms: int
    expires_ms: int
    request: bytes
    webhook: bytes = b""


@dataclass(frozen=True, slots=True)
class NewRow:
    """A row to be added: `line` is its place in the upload, `document` its checked JSON."""

    line: int
    item_id: str
    document: bytes


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was not taken: where it is, and why; the message holds no text of the row."""

    line: int
    message: str
    item_id: str | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """What came of rows that were added: how many are new, how many were there already."""

    accepted: int = 0
    known: int = 0
    refused: tuple[BadRow, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as it stands; times in milliseconds since 1970, 0 where not yet.

    `tally` and `groups` are sums that every settled row added to, see `evaluation.batch_summary`.
    """

    id: str
    tenant: str
    status: BatchStatus
    created_ms: int
    expires_ms: int
    started_ms: int = 0
    finished_ms: int = 0
    total: int = 0
    settled: int = 0
    rejected: int = 0
    retried: int = 0
    rows_per_s: float = 0.0
    by_status: Mapping[RowStatus, int] = field(default_factory=dict)
    sums: Mapping[str, int] = field(default_factory=dict)
    hook: str = "none"
    error: str = ""

    @property
    def ended(self) -> bool:
        return self.status in ENDED


@dataclass(frozen=True, slots=True)
class Claim:
    """A row in the hands of one worker.

    `entry` names the delivery and `key` the row; `attempt` counts what was tried before, and
    `deliveries` how often the row was given to a worker that did not come back. `payload` is None
    where the row's content is gone.
    """

    batch_id: str
    entry: str
    index: int
    key: str
    attempt: int
    deliveries: int
    payload: NewRow | None


@dataclass(frozen=True, slots=True)
class RowResult:
    """What came of a row: its JSON, and what it adds to the sums of its batch."""

    item_id: str
    status: RowStatus
    body: bytes
    sums: Mapping[str, int] = field(default_factory=dict)
    tally: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A row's result, with its place in the batch."""

    index: int
    item_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Sums:
    """The sums of a batch's results: by criterion, and by criterion and group."""

    tally: Mapping[str, int]
    groups: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ResultPage:
    """Results in the order of the items; the next page begins at `cursor`."""

    results: Sequence[StoredResult]
    cursor: int
    has_more: bool


@dataclass(frozen=True, slots=True)
class WebhookClaim:
    """The turn to tell a webhook of a batch's end; `tries` counts this one too."""

    tries: int
    webhook: bytes
