"""Batches as values: the request, its progress, and the result of each row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from assay.domain.events import LiveScored

BatchStatus = Literal["open", "running", "completed", "decided", "cancelled", "failed"]
RowStatus = Literal["scored", "partial", "unscored", "failed"]
"""All criteria scored; some; none, with the reason; or no evaluation at all, with the error."""

SettleOutcome = Literal["stored", "completed", "known", "missing"]
"""Stored; stored, and it was the batch's last; there was a result before; the batch is gone."""

ROW_STATUSES: tuple[RowStatus, ...] = ("scored", "partial", "unscored", "failed")
ENDED: frozenset[BatchStatus] = frozenset({"completed", "decided", "cancelled", "failed"})
BATCH_ID_KIND = "batch"
"""The first part of a batch's id."""
BATCH_ID = re.compile(BATCH_ID_KIND + r"_[0-9a-f]{32}")
"""The form of an id, which becomes part of keys."""


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch to be created; `request` is the JSON of its tenant, criteria and judge.

    `shown` is the small JSON that is read with the batch each time, and `webhook` that of the
    target and its secret, or empty. What is `kept` is copied to the records once it has ended;
    from its start until then it does not expire. With a `seed`, rows are handed out in the random
    order that follows from it, and the batch ends when its gates are decided. One that `grows`
    takes rows while it runs, until it is sealed.
    """

    id: str
    tenant: str
    created_ms: int
    expires_ms: int
    request: bytes
    webhook: bytes = b""
    shown: bytes = b"{}"
    kept: bool = False
    seed: int | None = None
    grows: bool = False


@dataclass(frozen=True, slots=True)
class NewRow:
    """A row to be added: `line` is its place in the upload, `document` its checked JSON."""

    line: int
    item_id: str
    document: bytes


@dataclass(frozen=True, slots=True)
class BadRow:
    """A rejected row: its line and the reason, which contains no text of the row."""

    line: int
    message: str
    item_id: str | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """The outcome of adding rows: how many are new, and how many were there already."""

    accepted: int = 0
    known: int = 0
    refused: tuple[BadRow, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as it stands; times in milliseconds since 1970, 0 if not reached yet.

    `sums` are over all settled rows; `webhook_state` is `none`, `waiting`, `due` or the outcome.
    `shown` is what it was made with. One that is `kept` is copied to the records: it is `uncopied`
    before, and `recorded` if it was read from there. `gates` is what is known of each gate, if the
    batch may stop early.
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
    parked: int = 0
    """Rows that wait for a provider's batch API."""
    rows_per_s: float = 0.0
    by_status: Mapping[RowStatus, int] = field(default_factory=dict)
    sums: Mapping[str, int] = field(default_factory=dict)
    webhook_state: str = "none"
    error: str = ""
    shown: bytes = b"{}"
    kept: bool = False
    uncopied: bool = False
    recorded: bool = False
    gates: Sequence[Mapping[str, Any]] = ()

    @property
    def ended(self) -> bool:
        return self.status in ENDED


@dataclass(frozen=True, slots=True)
class Claim:
    """A row that one worker holds.

    `entry` names the delivery and `key` the row. `attempt` counts earlier attempts, `deliveries`
    earlier workers that died with the row, `stalls` those that were ended because their event loop
    stood still. `payload` is None if the row's content is gone.
    """

    batch_id: str
    entry: str
    index: int
    key: str
    attempt: int
    deliveries: int
    payload: NewRow | None
    stalls: int = 0
    resumed: bool = False
    """Whether answers that it waited for have come."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """Rows of running batches without a result: for workers, and waiting for a provider's job."""

    rows: int
    parked: int = 0


@dataclass(frozen=True, slots=True)
class RowResult:
    """The result of a row: its JSON, and what it adds to the sums of its batch.

    `gate_scores` has its score for each gate, if the batch may stop early; None is unscored, and
    empty is unscored for all of them.
    """

    item_id: str
    status: RowStatus
    body: bytes
    sums: Mapping[str, int] = field(default_factory=dict)
    tally: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)
    gate_scores: Sequence[float | None] = ()
    live: Sequence[LiveScored] = ()
    """What is told once the result is stored, if the row is live traffic."""


@dataclass(frozen=True, slots=True)
class FinishedRows:
    """The finished rows that follow the first `first` ones of a batch's random order.

    `state` is that of the stopping rules after the first ones; empty before any.
    """

    total: int
    first: int
    state: bytes
    scores: Sequence[Sequence[float | None]]
    """As in `RowResult.gate_scores`."""


@dataclass(frozen=True, slots=True)
class GateStep:
    """What the first `finished` rows of the order say; `status` is how the batch ends by it."""

    finished: int
    state: bytes
    gates: Sequence[Mapping[str, Any]]
    status: Literal["decided", "completed"] | None


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
    """Results in the order of the items; the next page starts at `cursor`."""

    results: Sequence[StoredResult]
    cursor: int
    has_more: bool


@dataclass(frozen=True, slots=True)
class WebhookClaim:
    """The right to call a webhook; `tries` includes this call."""

    tries: int
    webhook: bytes
