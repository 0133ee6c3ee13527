"""The seams of the house: what the layers ask of each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from assay.domain.batches import (
    Added,
    BadRow,
    Batch,
    BatchStatus,
    Claim,
    NewBatch,
    NewRow,
    ResultPage,
    RowResult,
    SettleOutcome,
    Sums,
    WebhookClaim,
)
from assay.domain.completion import CallContext, Completion, Model, Prompt
from assay.domain.evaluation import JudgeSpec
from assay.domain.events import Event
from assay.domain.policy import Deadline

T = TypeVar("T")


class ChatModel(Protocol):
    """Anything that answers a prompt: a provider, or a layer of resilience around one."""

    async def complete(self, prompt: Prompt[T], context: CallContext) -> Completion[T]:
        """Answer before the context's deadline or raise a `ModelError`."""
        ...


@dataclass(frozen=True, slots=True)
class PanelMember:
    """One that judges: a model, or a router over several that may stand in for each other.

    `window_tokens` is the largest window among them; infinite where one is unknown.
    """

    spec: JudgeSpec
    chat: ChatModel
    window_tokens: float


class Judges(Protocol):
    """Finds the models that a judge specification names."""

    def panel(self, spec: JudgeSpec) -> Sequence[PanelMember]:
        """One member, or each model of a panel as a member of its own.

        Raises `RequestError` (`unknown_model`) for a name that is not configured.
        """
        ...


BreakerState = Literal["closed", "open", "half_open", "forced_open", "disabled"]


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A configured model as it stands now; what is left of its quota is None where unlimited."""

    model: Model
    breaker: BreakerState = "closed"
    requests_left: float | None = None
    tokens_left: float | None = None


BreakerCommand = Literal["forced_open", "disabled", "reset"]
"""What an operator can do: refuse every call, let every call through, or go back to normal."""


class ModelDirectory(Protocol):
    """The configured models, as `/v1/models` shows and steers them."""

    async def statuses(self) -> Sequence[ModelStatus]: ...

    async def set_breaker(self, model_id: str, command: BreakerCommand) -> ModelStatus:
        """Set a model's breaker in all processes.

        Raises `RequestError` (`not_found`) for a model not configured, and `StoreUnavailable`.
        """
        ...


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """An HTTP answer as it was first given, kept to be given again."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class IdempotencyLease(Protocol):
    """The right to run the one request that an idempotency key stands for."""

    async def keep(self, answer: StoredResponse) -> None:
        """Give `answer` to every later request with the key; a store that fails is passed over."""
        ...

    async def release(self) -> None:
        """Let the next request with the key run; a store that fails is passed over."""
        ...


class IdempotencyStore(Protocol):
    """Remembers the answers of requests that carry an idempotency key, for all processes."""

    async def claim(
        self, tenant: str, key: str, digest: str, deadline: Deadline
    ) -> IdempotencyLease | StoredResponse:
        """The right to run the request, or the answer of the one that ran; waits while one runs.

        Raises:
            RequestError: `idempotency_key_reused`, the key stands for a request of other content.
            DeadlineExceeded: the first request still runs.
            StoreUnavailable: nobody can say whether it ran.
        """
        ...


class EventSink(Protocol):
    """Takes facts; must not raise and must not block."""

    def emit(self, event: Event) -> None: ...


class BatchStore(Protocol):
    """Keeps batches and their rows, for all processes.

    Every call raises `StoreUnavailable` where the store does not answer. What a call that changes
    something has returned is on disk, as far as the store can say so.
    """

    async def create(self, batch: NewBatch) -> None: ...

    async def add(self, batch_id: str, rows: Sequence[NewRow]) -> Added:
        """Add rows to an open batch; raises `RequestError` (`conflict`, `not_found`)."""
        ...

    async def report(self, batch_id: str, bad: Sequence[BadRow]) -> None:
        """Keep what is wrong with rows that an open batch did not take; each fault counts once."""
        ...

    async def start(self, batch_id: str) -> None:
        """Let workers take the rows; raises `RequestError` (`conflict`)."""
        ...

    async def cancel(self, batch_id: str) -> None:
        """Stop queued rows; raises `RequestError` (`conflict`) where the batch has ended."""
        ...

    async def delete(self, batch: Batch) -> None: ...

    async def durable(self, batch_id: str) -> None:
        """Return when what was written before is on disk."""
        ...

    async def find(self, tenant: str, batch_id: str) -> Batch | None:
        """The batch as it stands; None where the tenant has none of that id."""
        ...

    async def request(self, batch_id: str) -> bytes | None:
        """The `request` that the batch was made with."""
        ...

    async def page(
        self, tenant: str, before: str, limit: int
    ) -> Sequence[tuple[Batch, bytes | None]]:
        """The tenant's batches older than the one with the id `before`, the newest first.

        Each comes with its `request`. The batch `before` may be gone; '' starts at the newest.
        """
        ...

    async def bad_rows(self, batch_id: str, limit: int) -> Sequence[BadRow]: ...


class ResultStore(Protocol):
    """Reads what came of the rows of a batch."""

    async def page(self, batch: Batch, cursor: int, limit: int) -> ResultPage:
        """Results from index `cursor` on, in order.

        Before the batch has ended a page stops at the first row without a result, so that no
        cursor passes a row that may still get one.
        """
        ...

    async def sums(self, batch_id: str, *, by_group: bool) -> Sums:
        """The sums of the results so far; those of groups only where asked for."""
        ...


class JobQueue(Protocol):
    """Hands rows of running batches to workers, each to one, until its result is stored.

    A row whose worker does not `renew` it is handed to another. Every call raises
    `StoreUnavailable`.
    """

    async def active(self) -> Sequence[str]:
        """The batches that workers have something to do for."""
        ...

    async def backlog(self) -> int:
        """Rows of running batches that have no result yet."""
        ...

    async def claim(self, batch_id: str, count: int) -> Sequence[Claim] | BatchStatus | None:
        """Rows to work on; the status of a batch that does not run; None for one that is gone."""
        ...

    async def renew(self, claims: Sequence[Claim]) -> None:
        """Say that this worker is still at work on these rows."""
        ...

    async def settle(self, claim: Claim, result: RowResult) -> SettleOutcome:
        """Store the result, acknowledge the row and count it, in one step, once."""
        ...

    async def give_back(self, claim: Claim, delay_s: float = 0.0) -> None:
        """Let another worker have the row: at once, or as its next attempt after a delay."""
        ...

    async def fail(self, batch_id: str, error: str) -> None:
        """End a batch that cannot run."""
        ...

    async def claim_webhook(self, batch_id: str) -> WebhookClaim | None:
        """The right to tell the batch's webhook of its end; None where it is not due."""
        ...

    async def record_webhook(
        self, batch_id: str, outcome: str, next_delay_s: float | None = None
    ) -> None:
        """Note how telling went; `next_delay_s` is when it is due again."""
        ...

    async def forget(self, batch_id: str) -> None:
        """Take an ended batch that has nothing more to do off the list of active ones."""
        ...
