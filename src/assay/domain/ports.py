"""The ports: what the layers require of each other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from assay.domain.batches import (
    Added,
    Backlog,
    BadRow,
    Batch,
    BatchStatus,
    Claim,
    FinishedRows,
    GateStep,
    NewBatch,
    NewRow,
    ResultPage,
    RowResult,
    SettleOutcome,
    Sums,
    WebhookClaim,
)
from assay.domain.completion import CallContext, Completion, Prompt, Usage
from assay.domain.erasure import ErasureTarget
from assay.domain.evaluation import Case, JudgeSpec
from assay.domain.events import Event
from assay.domain.models import Model
from assay.domain.policy import UNLIMITED, Deadline, Quota
from assay.domain.tokens import prompt_tokens

T = TypeVar("T")


class ChatModel(Protocol):
    """Anything that answers a prompt: a provider, or a layer of resilience around one."""

    async def complete(self, prompt: Prompt[T], context: CallContext) -> Completion[T]:
        """Answer before the context's deadline or raise a `ModelError`."""
        ...


def _from_its_size(prompt: Prompt[Any]) -> Usage:
    return Usage(round(prompt_tokens(prompt)), prompt.sampling.max_output_tokens)


@dataclass(frozen=True, slots=True)
class Estimator:
    """What calls to a model are expected to take: `tokens` for one prompt, and its quota."""

    model: Model
    quota: Quota = UNLIMITED
    tokens: Callable[[Prompt[Any]], Usage] = _from_its_size


@dataclass(frozen=True, slots=True)
class PanelMember:
    """A judge of a panel: one model, or a router over several that replace each other.

    `window_tokens` is the largest context window among them; infinite if one is unknown.
    `estimator` is that of the first of them. `fingerprint` stands for the models and for how they
    are asked: it is equal for equal ones.
    """

    spec: JudgeSpec
    chat: ChatModel
    window_tokens: float
    estimator: Estimator
    fingerprint: str = ""


class Images(Protocol):
    """Fetches the images of cases."""

    def loaded(
        self, cases: Sequence[Case], deadline: Deadline
    ) -> AbstractAsyncContextManager[Sequence[Case]]:
        """The cases with every image that they name by its URL, as long as they are in use.

        Raises `InputUnsupported` or `InputUnavailable`.
        """
        ...


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
    """The current state of a configured model; the quota left is None if it is unlimited.

    `refused` is what its API was found to refuse.
    """

    model: Model
    breaker: BreakerState = "closed"
    requests_left: float | None = None
    tokens_left: float | None = None
    refused: frozenset[str] = frozenset()


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
    """An HTTP response, stored to be sent again."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class IdempotencyLease(Protocol):
    """The right to run the request with an idempotency key."""

    async def keep(self, response: StoredResponse) -> None:
        """Store the response for every later request with the key; an outage is ignored."""
        ...

    async def release(self) -> None:
        """Let the next request with the key run; an outage is ignored."""
        ...


class IdempotencyStore(Protocol):
    """Stores responses to requests with an idempotency key, for all processes."""

    async def claim(
        self, tenant: str, key: str, digest: str, deadline: Deadline
    ) -> IdempotencyLease | StoredResponse:
        """The right to run the request, or the response to one that ran; waits while one runs.

        Raises:
            RequestError: `idempotency_key_reused`, the key belongs to a different request.
            DeadlineExceeded: the first request still runs.
            StoreUnavailable: it is not known whether the request ran.
        """
        ...


class EventSink(Protocol):
    """Receives events; must not raise and must not block."""

    def emit(self, event: Event) -> None: ...


class BatchStore(Protocol):
    """Keeps batches and their rows, for all processes.

    Every call raises `StoreUnavailable` if the store does not answer. A change is certain to
    survive a crash of the store once `durable` has returned.
    """

    async def create(self, batch: NewBatch) -> None: ...

    async def add(self, batch_id: str, rows: Sequence[NewRow]) -> Added:
        """Add rows to a batch that is open or grows.

        Raises `RequestError` (`conflict`, `not_found`).
        """
        ...

    async def report(self, batch_id: str, bad: Sequence[BadRow]) -> None:
        """Store the faults of rows that an open batch rejected; each fault counts once."""
        ...

    async def start(self, batch_id: str) -> None:
        """Let workers take the rows; raises `RequestError` (`conflict`, `not_found`)."""
        ...

    async def seal(self, batch_id: str, *, webhook: bool) -> BatchStatus | None:
        """Take no more rows into a batch that grows; it completes with the last of its rows.

        Without `webhook`, its webhook is not called. Returns its status; None if it is gone.
        """
        ...

    async def cancel(self, batch_id: str) -> None:
        """Stop queued rows; raises `RequestError` (`conflict` if it has ended, `not_found`)."""
        ...

    async def delete(self, batch: Batch) -> None: ...

    async def durable(self, batch_id: str) -> None:
        """Return when what was written before is on disk."""
        ...

    async def find(self, tenant: str, batch_id: str) -> Batch | None:
        """The batch as it stands; None if the tenant has no batch with that id."""
        ...

    async def request(self, batch_id: str) -> bytes | None:
        """The `request` that the batch was made with."""
        ...

    async def known_ids(self, batch_id: str, ids: Sequence[str]) -> Collection[str]:
        """Those of the ids that rows of the batch have."""
        ...

    async def page(self, tenant: str, before: str, limit: int) -> Sequence[Batch]:
        """The tenant's batches older than the one with the id `before`, the newest first.

        The batch `before` may be gone; '' starts at the newest.
        """
        ...

    async def bad_rows(self, batch_id: str, limit: int) -> Sequence[BadRow]: ...


class ResultStore(Protocol):
    """Reads the results of the rows of a batch."""

    async def page(self, batch: Batch, cursor: int, limit: int) -> ResultPage:
        """Results from index `cursor` on, in order.

        Before the batch has ended a page stops at the first row without a result, so that no
        cursor passes a row that may still get one.
        """
        ...

    async def sums(self, batch_id: str, *, by_group: bool) -> Sums:
        """The sums of the results so far; those of groups only with `by_group`."""
        ...


class BatchEraser(Protocol):
    """Removes the rows of batches that an erasure names."""

    async def erase(self, batch: Batch, what: ErasureTarget) -> int:
        """Remove rows with their results, and count them; raises `StoreUnavailable`."""
        ...


class JobQueue(Protocol):
    """Hands rows of running batches to workers, each to one, until its result is stored.

    A row whose worker does not `renew` it is handed to another. Every call raises
    `StoreUnavailable`.
    """

    async def active(self) -> Sequence[str]:
        """The batches that have work for workers."""
        ...

    async def backlog(self) -> Backlog:
        """Rows of running batches that have no result yet."""
        ...

    async def claim(
        self, batch_id: str, count: int
    ) -> Sequence[Claim] | BatchStatus | Literal["due"] | None:
        """Rows to work on; the status of a batch that does not run; None for one that is gone.

        `due` asks this worker to decide on the gates before it takes rows, see `finished_rows`.
        """
        ...

    async def finished_rows(self, batch_id: str) -> FinishedRows:
        """The finished rows that the gates of a batch are not decided on yet, in order."""
        ...

    async def decide(self, batch_id: str, first: int, step: GateStep) -> bool:
        """Store what follows from the finished rows from `first` on, and end the batch by it.

        False if another worker has, or the batch has ended: then nothing changes.
        """
        ...

    async def renew(self, claims: Sequence[Claim]) -> None:
        """Renew this worker's hold on the rows."""
        ...

    async def settle(self, claim: Claim, result: RowResult) -> SettleOutcome:
        """Store the result, acknowledge the row and count it, in one step, once."""
        ...

    async def give_back(
        self, claim: Claim, delay_s: float = 0.0, document: bytes | None = None
    ) -> None:
        """Let another worker have the row: at once, or as its next attempt after a delay.

        `document` replaces its content.
        """
        ...

    async def park(
        self, claim: Claim, calls: Collection[str], document: bytes | None = None
    ) -> None:
        """Take the row out of the queue until these calls of it have ended.

        `document` replaces its content.
        """
        ...

    async def count_stall(self, batch_id: str, key: str) -> None:
        """Count a process that was ended, because its event loop stood still, with this row."""
        ...

    async def release(self, batch: Batch, expires_ms: int) -> None:
        """Let a batch that was copied to the records expire."""
        ...

    async def fail(self, batch_id: str, error: str) -> None:
        """End a batch that cannot run."""
        ...

    async def claim_webhook(self, batch_id: str) -> WebhookClaim | None:
        """The right to call the batch's webhook; None if it is not due."""
        ...

    async def record_webhook(
        self, batch_id: str, outcome: str, next_delay_s: float | None = None
    ) -> None:
        """Record the outcome of a call; `next_delay_s` is the time until it is due again."""
        ...

    async def forget(self, batch_id: str) -> None:
        """Remove a batch that needs no more work from the list of active ones."""
        ...
