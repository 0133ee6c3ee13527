"""Jobs of providers' batch APIs: many calls sent at once, and answered within a day."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from assay.domain.batches import BatchStatus
from assay.domain.completion import Completion, Prompt

CallState = Literal["waiting", "answered", "undelivered", "asked"]
"""Not answered yet; by the provider's job; not by it; not by it, but by a call of its own."""


@dataclass(frozen=True, slots=True)
class DeferredCall:
    """A call of a row: the provider's request, for whom it is, and what is reserved for it.

    `key` stands for the row, the model and the question as it was put.
    """

    key: str
    row: str
    model: str
    body: bytes
    tenant: str
    criteria: tuple[str, ...] = ()
    reservation: str = ""


@dataclass(frozen=True, slots=True)
class DeferredAnswer:
    """How far a call is; `answer` is the JSON of what it was answered."""

    state: CallState
    answer: bytes = b""


@dataclass(frozen=True, slots=True)
class ProviderJob:
    """A job, noted before it is sent under its `token`; `id` is the provider's, once known.

    `since_ms` is when it was noted and `sent_ms` when it was last sent. A job found without its
    token is not `proven` to be ours, and `others` are those that were not.
    """

    token: str
    model: str
    tenant: str
    since_ms: int
    sent_ms: int
    id: str = ""
    proven: bool = True
    cancelled: bool = False
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outbox:
    """A batch with its calls that are to be sent: the age of the oldest, by model.

    `unparked` rows are evaluated now or will be: they may have more calls.
    """

    status: BatchStatus | None
    tenant: str = ""
    unparked: int = 0
    ages_ms: Mapping[str, int] | None = None


class DeferredCalls(Protocol):
    """Keeps the calls of batches until they are answered, for all processes.

    Every call raises `StoreUnavailable` if the store does not answer.
    """

    async def find(self, batch_id: str, key: str) -> DeferredAnswer | None: ...

    async def put(self, batch_id: str, call: DeferredCall) -> bool:
        """Put a call down for a job; False if it was there already, or the batch has ended."""
        ...

    async def keep(self, batch_id: str, key: str, answer: bytes, row: str = "") -> None:
        """Keep the answer to a direct call; `row` is given for one that was never put down."""
        ...

    async def batches(self) -> Sequence[str]:
        """The batches that have calls or jobs."""
        ...

    async def outbox(self, batch_id: str) -> Outbox: ...

    async def jobs(self, batch_id: str) -> Sequence[ProviderJob]: ...

    async def take(
        self, batch_id: str, job: ProviderJob, calls_max: int, bytes_max: int
    ) -> Sequence[str]:
        """Note the job and move calls from the outbox to it, in one step; their keys."""
        ...

    async def keys(self, batch_id: str, job: ProviderJob) -> Sequence[str]:
        """The keys of the job's calls."""
        ...

    async def bodies(self, batch_id: str, keys: Sequence[str]) -> Sequence[tuple[str, bytes]]:
        """The requests of those calls that are not erased and not answered."""
        ...

    async def change(self, batch_id: str, job: ProviderJob) -> None:
        """Store the job as it stands now."""
        ...

    async def resolve(
        self, batch_id: str, key: str, state: CallState, answer: bytes = b""
    ) -> DeferredCall | Literal["known", "gone"]:
        """Store how a waiting call ended and release the rows that wait for nothing else, once."""
        ...

    async def close(self, batch_id: str, job: ProviderJob) -> None:
        """Forget a job."""
        ...

    async def forget(self, batch_id: str) -> Sequence[DeferredCall]:
        """Remove all calls of a batch that has ended; those that were never sent."""
        ...


class JobApi(Protocol):
    """A provider's batch API for one model; what fails is a `ModelError`."""

    calls_max: ClassVar[int]
    bytes_max: ClassVar[int]
    names_jobs: ClassVar[bool]
    """Whether a job is listed with its token; else only its results show whose it is."""

    def body(self, prompt: Prompt[Any]) -> bytes:
        """The request for a prompt, as in a call of its own."""
        ...

    def question(self, prompt: Prompt[Any]) -> bytes:
        """What a prompt asks, whatever the configuration adds to it."""
        ...

    def read(self, answer: bytes) -> Completion[Any]:
        """The answer to a call."""
        ...

    async def submit(self, token: str, calls: Sequence[tuple[str, bytes]]) -> str:
        """Send a job; its id."""
        ...

    async def find(
        self, token: str, since_ms: int, calls: int, others: Sequence[str]
    ) -> str | None:
        """The job that was sent under the token, or one that may be it; never one of `others`."""
        ...

    async def poll(self, id_: str) -> Mapping[str, Any] | None:
        """The job once it has ended; raises `ModelMissing` if there is none."""
        ...

    def is_over_limit(self, job: Mapping[str, Any]) -> bool:
        """Whether the job failed because too many others run: it may be sent again."""
        ...

    def results(
        self, token: str, job: Mapping[str, Any]
    ) -> AsyncIterator[tuple[str, bytes | None]]:
        """The job's calls in any order: the key, and the answer or None for a call that failed."""
        ...

    async def cancel(self, id_: str) -> None: ...

    async def delete(self, job: Mapping[str, Any]) -> None:
        """Remove what the provider keeps of a job that has ended."""
        ...
